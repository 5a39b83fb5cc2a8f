package explain

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// now is the moment at which the tests judge. What is good is good for so long
// that programs with a clock of their own agree.
var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return now }

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

// issue has parent issue a certificate; a nil parent is the key itself.
func issue(t testing.TB, cn string, parent *entity, changes ...change) *entity {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(0x5eed), Subject: pkix.Name{CommonName: cn},
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
		NotBefore: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2096, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	for _, c := range changes {
		c(template)
	}
	key := newKey(t)
	issuer, signer := template, crypto.Signer(key)
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

func ca(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign }

func expired(c *x509.Certificate) {
	c.NotBefore, c.NotAfter = time.Date(2010, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
}

func server(names ...string) change {
	return func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		for _, n := range names {
			if ip := net.ParseIP(n); ip != nil {
				c.IPAddresses = append(c.IPAddresses, ip)
			} else {
				c.DNSNames = append(c.DNSNames, n)
			}
		}
	}
}

func client(c *x509.Certificate) {
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	c.URIs = []*url.URL{{Scheme: "spiffe", Host: "example.com", Path: "/" + c.Subject.CommonName}}
}

func pemOf(es ...*entity) string {
	var b strings.Builder
	for _, e := range es {
		pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: e.Raw})
	}
	return b.String()
}

func keyPEM(t testing.TB, key crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func certs(es ...*entity) []*x509.Certificate {
	var out []*x509.Certificate
	for _, e := range es {
		out = append(out, e.Certificate)
	}
	return out
}

// pair returns the chain that es are, leaf first, with the leaf's key.
func pair(es ...*entity) tls.Certificate {
	c := tls.Certificate{PrivateKey: es[0].key}
	for _, e := range es {
		c.Certificate = append(c.Certificate, e.Raw)
	}
	return c
}

// golden compares a report's text with testdata/NAME.txt, and checks what must
// hold of every report's text.
func golden(t *testing.T, name string, r Report, replace ...string) {
	t.Helper()
	var b strings.Builder
	if err := r.WriteText(&b, false); err != nil {
		t.Fatal(err)
	}
	got := strings.NewReplacer(replace...).Replace(b.String())
	checkText(t, b.String())
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, diff)
	}
}
