package chain

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/url"
	"testing"
	"time"
)

// now is the moment at which the tests judge.
var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// An entity is a certificate with its key.
type entity struct {
	*x509.Certificate
	key crypto.Signer
}

type change func(*x509.Certificate)

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// sign has parent issue template for key; a nil parent is the key itself.
func sign(t testing.TB, template *x509.Certificate, key crypto.Signer, parent *entity) *entity {
	t.Helper()
	if template.SerialNumber == nil {
		template.SerialNumber = big.NewInt(0x5eed)
	}
	issuer, signer := template, key
	if parent != nil {
		issuer, signer = parent.Certificate, parent.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &entity{c, key}
}

func authority(t testing.TB, cn string, parent *entity, changes ...change) *entity {
	t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: cn}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:  x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(9, 0, 0),
	}
	for _, c := range changes {
		c(template)
	}
	return sign(t, template, newKey(t), parent)
}

func leaf(t testing.TB, cn string, parent *entity, changes ...change) *entity {
	t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: cn}, KeyUsage: x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		URIs:                  []*url.URL{{Scheme: "spiffe", Host: "example.com", Path: "/ben/phone"}},
		NotBefore:             now.AddDate(0, -1, 0), NotAfter: now.AddDate(0, 11, 0),
	}
	for _, c := range changes {
		c(template)
	}
	return sign(t, template, newKey(t), parent)
}

func usages(u ...x509.ExtKeyUsage) change { return func(c *x509.Certificate) { c.ExtKeyUsage = u } }

func dates(from, to time.Time) change {
	return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = from, to }
}

func hosts(names ...string) change { return func(c *x509.Certificate) { c.DNSNames = names } }

var (
	past   = dates(now.AddDate(-3, 0, 0), now.AddDate(0, 0, -3))
	future = dates(now.AddDate(1, 0, 0), now.AddDate(2, 0, 0))
	server = usages(x509.ExtKeyUsageServerAuth)
	client = usages(x509.ExtKeyUsageClientAuth)
)

// forge returns a certificate signed with another key than its issuer's.
func forge(t testing.TB, cn string, parent *entity, changes ...change) *entity {
	t.Helper()
	fake := &entity{parent.Certificate, newKey(t)}
	// CreateCertificate compares the keys of issuer and signer, so the issuer
	// is a twin with the other key.
	twin := *parent.Certificate
	twin.PublicKey = fake.key.Public()
	fake.Certificate = &twin
	return leaf(t, cn, fake, changes...)
}

// house is what a Postern authority looks like.
type house struct{ root, clients, servers *entity }

func newHouse(t testing.TB) house {
	t.Helper()
	root := authority(t, "Example root", nil, func(c *x509.Certificate) { c.MaxPathLen = 1 })
	zero := func(c *x509.Certificate) { c.MaxPathLenZero = true }
	return house{root, authority(t, "clients-1", root, zero, client), authority(t, "servers-1", root, zero, server)}
}

func (h house) anchors() Anchors {
	return Anchors{Roots: certs(h.root), Intermediates: certs(h.clients, h.servers)}
}

func certs(es ...*entity) []*x509.Certificate {
	var out []*x509.Certificate
	for _, e := range es {
		out = append(out, e.Certificate)
	}
	return out
}
