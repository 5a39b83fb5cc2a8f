package profile

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"
)

// Encode makes the very bytes that the standard library makes.
func TestEncodeAgreesWithTheStandardLibrary(t *testing.T) {
	h := newHouse(t, "example.com")
	for name, change := range map[string]func(*x509.Certificate){
		"as it is": func(*x509.Certificate) {},
		"a wildcard and addresses": func(c *x509.Certificate) {
			c.DNSNames = append(c.DNSNames, "*.example.com")
			c.IPAddresses = []net.IP{net.ParseIP("10.0.0.1"), net.ParseIP("fd00::1")}
		},
		"no host": func(c *x509.Certificate) { c.DNSNames = nil },
		"every address to ask": func(c *x509.Certificate) {
			c.CRLDistributionPoints = []string{"http://pki.example.com/crl/clients-1/3.crl"}
			c.OCSPServer = []string{"http://pki.example.com/ocsp"}
			c.IssuingCertificateURL = []string{"http://pki.example.com/issuers/clients-1.crt"}
		},
		"an issuer's address alone":    func(c *x509.Certificate) { c.IssuingCertificateURL = []string{"http://pki.example.com/issuers/x.crt"} },
		"a name that is not printable": func(c *x509.Certificate) { c.Subject.CommonName = "under_score" },
		"a long name": func(c *x509.Certificate) {
			c.URIs = []*url.URL{{Scheme: "spiffe", Host: "example.com", Path: "/" + strings.Repeat("long/", 90) + "x"}}
		},
		"a date after 2049":    func(c *x509.Certificate) { c.NotAfter = time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC) },
		"a high serial number": func(c *x509.Certificate) { c.SerialNumber = new(big.Int).SetBytes(bytes.Repeat([]byte{0xff}, 19)) },
		"a responder for OCSP": func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
			c.ExtraExtensions = []pkix.Extension{{Id: []int{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}, Value: []byte{5, 0}}}
		},
	} {
		p, r := request(t, h, Server)
		template, err := p.Template(r)
		if err != nil {
			t.Fatal(err)
		}
		change(template)
		want := encode(t, template, r.Issuer, r.PublicKey, h.serversKey)
		got, err := Encode(template, r.Issuer)
		if err != nil || !bytes.Equal(got, want.RawTBSCertificate) {
			t.Errorf("%s: %v\n%x\n%x", name, err, got, want.RawTBSCertificate)
		}
	}
}

func TestEncodeRefusesAUsageOfNobody(t *testing.T) {
	h := newHouse(t, "example.com")
	p, r := request(t, h, Server)
	template, err := p.Template(r)
	if err != nil {
		t.Fatal(err)
	}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
	if _, err := Encode(template, r.Issuer); err == nil {
		t.Error("any usage was encoded")
	}
}
