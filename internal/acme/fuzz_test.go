package acme

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/postern-project/postern/internal/authority"
)

// What is taken for an identifier of a certificate is written in one way.
func FuzzCertID(f *testing.F) {
	f.Add("aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE") // RFC 9773 section 4.1
	f.Add("a.b.c")
	f.Add("..")
	f.Fuzz(func(t *testing.T, id string) {
		aki, serial, err := parseCertID(id)
		if err != nil {
			if aki != nil || !serial.IsZero() {
				t.Errorf("%q is refused and gives %x %s", id, aki, serial)
			}
			return
		}
		number := serial.Bytes()
		if number[0]&0x80 != 0 {
			number = append([]byte{0}, number...)
		}
		if again := base64.RawURLEncoding.EncodeToString(aki) + "." + base64.RawURLEncoding.EncodeToString(number); again != id {
			t.Errorf("%q is also %q", id, again)
		}
	})
}

// No text that this server has not given out is a nonce of its.
func FuzzNonces(f *testing.F) {
	key := bytes.Repeat([]byte{7}, 32)
	mine := testNonces(f, key)
	f.Add(mine.new())
	f.Add("")
	f.Add(strings.Repeat("A", 44))
	other := testNonces(f, bytes.Repeat([]byte{8}, 32))
	f.Add(other.new())
	f.Fuzz(func(t *testing.T, s string) {
		n := testNonces(t, bytes.Repeat([]byte{9}, 32))
		if n.take(s) {
			t.Errorf("%q is taken and was never given out", s)
		}
		own := n.new()
		if own != s && own != strings.TrimSpace(s) && !n.take(own) {
			t.Errorf("after %q a good nonce is refused", s)
		}
	})
}

// A certificate that a challenge server shows gives a digest or nothing.
func FuzzDigestIn(f *testing.F) {
	f.Add([]byte{0x04, 0x20}, "a.example", true)
	f.Add(append([]byte{0x04, 0x20}, make([]byte, 32)...), "a.example", true)
	f.Fuzz(func(t *testing.T, value []byte, host string, critical bool) {
		c := &x509.Certificate{DNSNames: []string{host}}
		c.Extensions = append(c.Extensions, pkixExtension(value, critical))
		digest, err := digestIn(c, authority.ACMEIdentifier{Type: "dns", Value: host})
		if err == nil && (len(digest) != 32 || !critical || len(value) != 34 || !bytes.Equal(value[2:], digest)) {
			t.Errorf("%x, critical %t, gives %x", value, critical, digest)
		}
	})
}

// Whatever is sent to whatever address, the answer is a problem document that
// blames the sender, or something that needs no signature; nothing is issued.
func FuzzEveryAddress(f *testing.F) {
	w := newWorld(f)
	paths := []string{
		"directory", "new-nonce", "new-account", "new-order", "revoke-cert", "key-change", "account/x", "account/x/orders", "order/x",
		"order/x/finalize", "authorization/x", "challenge/x/http-01", "certificate/x", "renewal-info/x", "elsewhere",
	}
	empty := base64.RawURLEncoding.EncodeToString([]byte("{}"))
	for i := range paths {
		f.Add(i, "POST", "application/jose+json", `{"protected":"`+empty+`","payload":"","signature":""}`)
		f.Add(i, "GET", "", "")
	}
	f.Fuzz(func(t *testing.T, where int, method, kind, body string) {
		r, err := http.NewRequest(method, w.base()+"/"+paths[(where%len(paths)+len(paths))%len(paths)], strings.NewReader(body))
		if err != nil {
			return
		}
		r.Header.Set("Content-Type", kind)
		r.RemoteAddr = "192.0.2.1:1234"
		got := httptest.NewRecorder()
		w.acme.ServeHTTP(got, r)
		switch {
		case got.Code >= 500:
			t.Errorf("%s %s %q: %d %s", method, r.URL.Path, body, got.Code, got.Body)
		case got.Code >= 400:
			var p struct{ Type, Detail string }
			if err := json.Unmarshal(got.Body.Bytes(), &p); method != http.MethodHead && (err != nil || !strings.HasPrefix(p.Type, "urn:ietf:params:acme:error:")) {
				t.Errorf("%s %s %q: %d %s", method, r.URL.Path, body, got.Code, got.Body)
			}
		case got.Code != http.StatusOK && got.Code != http.StatusNoContent:
			t.Errorf("%s %s %q: %d", method, r.URL.Path, body, got.Code)
		}
	})
}

func pkixExtension(value []byte, critical bool) pkix.Extension {
	return pkix.Extension{Id: oidACMEIdentifier, Critical: critical, Value: value}
}
