package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"testing"

	"github.com/postern-project/postern/internal/jws"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/permit"
)

// A finalize payload that is taken is for the order's hosts, every one and no
// other, and is signed by its own key.
func FuzzParseACMECSR(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	payload := func(c x509.CertificateRequest) []byte {
		der, err := x509.CreateCertificateRequest(rand.Reader, &c, key)
		if err != nil {
			f.Fatal(err)
		}
		text, err := json.Marshal(finalizing{CSR: base64.RawURLEncoding.EncodeToString(der)})
		if err != nil {
			f.Fatal(err)
		}
		return text
	}
	f.Add(payload(x509.CertificateRequest{DNSNames: []string{"a.example.com"}}))
	f.Add(payload(x509.CertificateRequest{DNSNames: []string{"a.example.com", "b.example.com"}}))
	f.Add(payload(x509.CertificateRequest{}))
	f.Add([]byte(`{"csr":"AAAA"}`))
	f.Add([]byte(`{"csr":`))
	hosts := []permit.Host{{DNS: "a.example.com"}}
	f.Fuzz(func(t *testing.T, payload []byte) {
		csr, err := ParseACMECSR(payload, hosts, jws.Key{})
		if err != nil {
			return
		}
		for _, name := range csr.DNSNames {
			if h, err := permit.ParseHost("dns", name); err != nil || h != hosts[0] {
				t.Errorf("%s was let in beside the order", name)
			}
		}
		if len(csr.URIs)+len(csr.EmailAddresses)+len(csr.IPAddresses) > 0 || csr.CheckSignature() != nil {
			t.Errorf("%+v", csr)
		}
	})
}

// A request to revoke gives a certificate and a reason that a list can carry.
func FuzzParseRevoking(f *testing.F) {
	h := newHouse(f, "")
	der := base64.RawURLEncoding.EncodeToString(h.issue("ben/phone").Chain[0])
	f.Add([]byte(`{"certificate":"` + der + `","reason":1}`))
	f.Add([]byte(`{"certificate":"` + der + `","reason":-1}`))
	f.Add([]byte(`{"certificate":"` + der + `","reason":258}`))
	f.Add([]byte(`{"certificate":"AAAA"}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		leaf, why, err := parseRevoking(payload)
		if err != nil {
			if leaf != nil {
				t.Error("refused, and a certificate all the same")
			}
			return
		}
		if again, err := ledger.ParseReason(why.String()); err != nil || again != why || leaf == nil {
			t.Errorf("%q gives reason %v", payload, why)
		}
	})
}
