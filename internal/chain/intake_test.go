package chain

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	mathrand "math/rand/v2"
	"strconv"
	"testing"
	"time"
)

// What strangers send as a request is refused with an error, at once, whatever
// it is.
func TestHostileRequests(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	request := func(names int) []byte {
		template := &x509.CertificateRequest{}
		for i := range names {
			template.DNSNames = append(template.DNSNames, "host-"+strconv.Itoa(i)+".example.com")
		}
		der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	honest := request(1)
	if _, err := ParseCSR(honest); err != nil {
		t.Fatal(err)
	}
	refused := func(what string, data []byte) {
		t.Helper()
		begun := time.Now()
		if _, err := ParseCSR(data); err == nil {
			t.Errorf("%s was taken", what)
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("%s took %s", what, took)
		}
	}
	refused("ten thousand names", request(10_000))
	for n := range honest {
		refused("a request cut off at "+strconv.Itoa(n), honest[:n])
	}
	changed := bytes.Clone(honest)
	changed[len(changed)/2] ^= 1
	refused("a request whose names were changed", changed)
	refused("a sequence in a sequence, without end", bytes.Repeat([]byte{0x30, 0x80}, MaxDER/2))
	nested := []byte{}
	for range 2000 {
		length := len(nested)
		nested = append([]byte{0x30, 0x82, byte(length >> 8), byte(length)}, nested...)
	}
	refused("two thousand sequences in each other", nested)
	refused("a length of four gigabytes", []byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0})
	chance := mathrand.New(mathrand.NewPCG(1, 2))
	for range 2000 {
		noise := make([]byte, 1+chance.IntN(300))
		for i := range noise {
			noise[i] = byte(chance.Uint32())
		}
		noise[0] = 0x30
		refused("noise", noise)
	}
}
