package profile

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/identity"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// An authority of one root and two issuers, made on the spot.
type house struct {
	root             *x509.Certificate
	clients, servers *x509.Certificate
	clientsKey       crypto.Signer
	serversKey       crypto.Signer
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func trustDomain(t testing.TB, s string) identity.TrustDomain {
	t.Helper()
	d, err := identity.ParseTrustDomain(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func name(t testing.TB, s string) identity.Name {
	t.Helper()
	n, err := identity.ParseName(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func encode(t testing.TB, template, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newHouse(t testing.TB, domain string) house {
	t.Helper()
	d := trustDomain(t, domain)
	rootKey := newKey(t)
	template, err := RootTemplate(d, rootKey.Public(), noon)
	if err != nil {
		t.Fatal(err)
	}
	h := house{root: encode(t, template, template, rootKey.Public(), rootKey)}
	if err := CheckAuthority(h.root, template, h.root); err != nil {
		t.Fatal(err)
	}
	issuer := func(name string, u Usage) (*x509.Certificate, crypto.Signer) {
		key := newKey(t)
		template, err := IssuerTemplate(d, name, u, key.Public(), h.root, noon, "http://pki.example.com")
		if err != nil {
			t.Fatal(err)
		}
		c := encode(t, template, h.root, key.Public(), rootKey)
		if err := CheckAuthority(c, template, h.root); err != nil {
			t.Fatal(err)
		}
		return c, key
	}
	h.clients, h.clientsKey = issuer("clients-1", Client)
	h.servers, h.serversKey = issuer("servers-1", Server)
	return h
}

func (h house) issuer(u Usage) (*x509.Certificate, crypto.Signer) {
	if u == Server {
		return h.servers, h.serversKey
	}
	return h.clients, h.clientsKey
}

func TestEveryKindOfCertificatePassesTheLints(t *testing.T) {
	for _, domain := range []string{"example.com", "postern.internal", strings.Repeat("a", 200) + ".example"} {
		h := newHouse(t, domain)
		for _, profileName := range Names() {
			p, err := Builtin(profileName)
			if err != nil {
				t.Fatal(err)
			}
			for _, who := range []string{"ben/phone", "services/" + strings.Repeat("long-name/", 20) + "end"} {
				r := Request{ID: trustDomain(t, domain).ID(name(t, who)), PublicKey: newKey(t).Public(), Now: noon}
				var key crypto.Signer
				r.Issuer, key = h.issuer(p.Usage())
				if p.Usage() == Server {
					r.DNSNames = []string{"LOCALHOST", "pw.home.arpa.", "*.orders.internal", "bücher.internal"}
					r.IPs = []netip.Addr{netip.MustParseAddr("::1"), netip.MustParseAddr("192.168.1.2")}
				}
				template, err := p.Template(r)
				if err != nil {
					t.Fatalf("%s, %s: %v", domain, profileName, err)
				}
				c := encode(t, template, r.Issuer, r.PublicKey, key)
				if err := p.Check(c, r); err != nil {
					t.Errorf("%s, %s: %v", domain, profileName, err)
				}
				verify(t, h, c)
			}
		}
	}
}

// verify asks Go's verifier, which knows name constraints, whether c holds.
func verify(t *testing.T, h house, c *x509.Certificate) {
	t.Helper()
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(h.root)
	intermediates.AddCert(h.clients)
	intermediates.AddCert(h.servers)
	if _, err := c.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, CurrentTime: noon, KeyUsages: c.ExtKeyUsage}); err != nil {
		t.Error(err)
	}
}

func BenchmarkCheck(b *testing.B) {
	h := newHouse(b, "example.com")
	p, _ := Builtin("device")
	r := Request{ID: trustDomain(b, "example.com").ID(name(b, "ben/phone")), PublicKey: newKey(b).Public(), Now: noon, Issuer: h.clients}
	template, err := p.Template(r)
	if err != nil {
		b.Fatal(err)
	}
	c := encode(b, template, r.Issuer, r.PublicKey, h.clientsKey)
	for b.Loop() {
		if err := p.Check(c, r); err != nil {
			b.Fatal(err)
		}
	}
}
