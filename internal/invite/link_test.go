package invite

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestParseLink(t *testing.T) {
	tail := "/join#" + fixed.String() + "." + Pin{}.String()
	cases := map[string]struct{ text, base string }{
		"a host":                      {"https://join.example.com" + tail, "https://join.example.com"},
		"a host in capitals":          {"https://Join.Example.COM" + tail, "https://join.example.com"},
		"a port":                      {"https://localhost:8444" + tail, "https://localhost:8444"},
		"the port that goes unsaid":   {"https://localhost:443" + tail, "https://localhost"},
		"a port with a zero in front": {"https://localhost:08444" + tail, "https://localhost:8444"},
		"an IPv6 literal":             {"https://[2001:DB8::1]:8444" + tail, "https://[2001:db8::1]:8444"},
		"an IPv6 literal alone":       {"https://[::1]" + tail, "https://[::1]"},
		"quotes around it":            {"\"https://a.example" + tail + "\"\n", "https://a.example"},
		"angle brackets around it":    {" <https://a.example" + tail + "> ", "https://a.example"},
		"plain HTTP":                  {"http://a.example" + tail, ""},
		"no scheme":                   {"a.example" + tail, ""},
		"a user in front":             {"https://me@a.example" + tail, ""},
		"a query":                     {"https://a.example/join?x=1#" + fixed.String() + "." + Pin{}.String(), ""},
		"another path":                {"https://a.example/other#" + fixed.String() + "." + Pin{}.String(), ""},
		"a folder in front":           {"https://a.example/x" + tail, ""},
		"no fragment":                 {"https://a.example/join", ""},
		"a fragment without a pin":    {"https://a.example/join#" + fixed.String(), ""},
		"a fragment with more in it":  {"https://a.example" + tail + "&x", ""},
		"a port past the last":        {"https://a.example:65536" + tail, ""},
		"port zero":                   {"https://a.example:0" + tail, ""},
		"a zone in the address":       {"https://[fe80::1%25$(id)]" + tail, ""},
		"a host a shell would run":    {"https://a.example;id" + tail, ""},
		"nothing":                     {"", ""},
		"a link without end":          {"https://" + strings.Repeat("a", MaxLink) + tail, ""},
	}
	for name, c := range cases {
		got, err := ParseLink(c.text)
		switch {
		case c.base == "" && err == nil:
			t.Errorf("%s: %q was read as %v", name, c.text, got)
		case c.base != "" && (err != nil || got != Link{c.base, fixed, Pin{}}):
			t.Errorf("%s: ParseLink(%q) = %v, %v", name, c.text, got, err)
		case err != nil && strings.Contains(err.Error(), fixed.String()):
			t.Errorf("%s: the error repeats the code: %v", name, err)
		}
	}
}

func TestHost(t *testing.T) {
	cases := map[string][2]string{
		"https://a.example":          {"a.example", "443"},
		"https://a.example:8444":     {"a.example", "8444"},
		"https://[2001:db8::1]":      {"2001:db8::1", "443"},
		"https://[2001:db8::1]:8444": {"2001:db8::1", "8444"},
	}
	for base, want := range cases {
		if host, port := (Link{Base: base}).Host(); host != want[0] || port != want[1] {
			t.Errorf("%s: got %s and %s, want %s", base, host, port, want)
		}
	}
}

func TestPinNamesTheKeyOfTheRoot(t *testing.T) {
	root, other := certificate(t), certificate(t)
	pin := PinOf(root)
	sum := sha256.Sum256(root.RawSubjectPublicKeyInfo)
	if pin.b != [20]byte(sum[:20]) || !pin.Fits(root) {
		t.Error("the pin does not fit its own root")
	}
	if pin.Fits(other) {
		t.Error("the pin fits another root")
	}
	if (Pin{}).Fits(root) {
		t.Error("the zero pin fits a root")
	}
	if got, err := ParsePin(pin.String()); err != nil || got != pin {
		t.Errorf("ParsePin(%s) = %v, %v", pin, got, err)
	}
}

func certificate(t *testing.T) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func FuzzParseLink(f *testing.F) {
	f.Add("https://[2001:db8::1]:8444/join#" + fixed.String() + "." + Pin{}.String())
	f.Add("https://a.example/join#x.y")
	f.Fuzz(func(t *testing.T, s string) {
		l, err := ParseLink(s)
		if err != nil {
			return
		}
		if again, err := ParseLink(l.String()); err != nil || again != l {
			t.Errorf("%q prints as %q and reads back as %v, %v", s, l, again, err)
		}
		if u, err := url.Parse(l.Base); err != nil || u.Scheme != "https" || u.Path != "" || u.User != nil {
			t.Errorf("%q was read as the base %q", s, l.Base)
		}
		if strings.ContainsAny(l.String(), " \t\n\"'`$\\;|&<>()") {
			t.Errorf("%q was read as %q, which a shell would take apart", s, l)
		}
	})
}
