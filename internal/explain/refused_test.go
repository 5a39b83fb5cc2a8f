package explain

import (
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/chain"
	"github.com/postern-project/postern/internal/refusal"
)

func record(t *testing.T, code refusal.Code) Record {
	t.Helper()
	ref, err := refusal.ParseReference("K7QM-2XPA")
	if err != nil {
		t.Fatal(err)
	}
	return Record{
		Reference: ref, Time: time.Date(2026, 11, 23, 15, 4, 5, 0, time.UTC), Code: code,
		Site: "pw.example.com", Host: "pw.example.com", Method: "GET", Path: "/", Address: "203.0.113.9",
		Name: "anna/phone", Serial: "5eed", Issuer: "clients-1", IssuerKeyID: "0123abcd", Subject: "CN=anna/phone",
		NotAfter: time.Date(2027, 11, 23, 0, 0, 0, 0, time.UTC),
	}
}

func TestRefusalStepByStep(t *testing.T) {
	golden(t, "refusal-revoked", Refusal(record(t, refusal.Revoked)))
	bare := record(t, refusal.NoCertificate)
	bare.Name, bare.Serial, bare.Issuer, bare.IssuerKeyID, bare.Subject, bare.NotAfter = "", "", "", "", "", time.Time{}
	golden(t, "refusal-no-certificate", Refusal(bare))
	hostile := record(t, refusal.UnknownIssuer)
	hostile.Path, hostile.Subject, hostile.Detail = "/\x1b[2J", "CN=\x1b]0;x\x07", "\u202eissuer"
	golden(t, "refusal-hostile", Refusal(hostile))
}

func TestEveryCodeIsExplained(t *testing.T) {
	for _, info := range refusal.All() {
		r := Refusal(record(t, info.Code))
		faults := chain.Faults(r.Steps)
		if r.OK || len(faults) != 1 || faults[0].Code != info.Code || r.Advice != fill(info.OperatorRemedy, "anna/phone", "5eed") {
			t.Errorf("%s: OK %v, faults %+v, advice %q", info.Code, r.OK, faults, r.Advice)
		}
		last := r.Steps[len(r.Steps)-1]
		if !strings.Contains(last.Detail, info.Sentence) {
			t.Errorf("%s: the last step is %+v", info.Code, last)
		}
	}
}

// The remedy is a command to copy: it holds what the record knows, and stands
// there once.
func TestTheRemedyOfARefusalIsFilledIn(t *testing.T) {
	for name, c := range map[string]struct {
		code refusal.Code
		edit func(*Record)
		want string
	}{
		"a serial and a name":     {refusal.Revoked, nil, "'postern show 5eed' says when and why. To let the device in again, invite it: 'postern invite anna/phone'."},
		"a suspension":            {refusal.Suspended, nil, "'postern reinstate anna/phone' lifts it"},
		"a group":                 {refusal.NotOnList, nil, "'postern group add GROUP anna/phone'"},
		"a name merely claimed":   {refusal.Expired, func(r *Record) { r.Claims = "spiffe://example.com/anna/phone" }, "'postern invite NAME/DEVICE'"},
		"a name for the shell":    {refusal.Expired, func(r *Record) { r.Name = "x';reboot'" }, "'postern invite NAME/DEVICE'"},
		"no name and no serial":   {refusal.Revoked, func(r *Record) { r.Name, r.Serial = "", "" }, "'postern show SERIAL'"},
		"a serial that is no hex": {refusal.Revoked, func(r *Record) { r.Serial = "$(reboot)" }, "'postern show SERIAL'"},
	} {
		t.Run(name, func(t *testing.T) {
			rec := record(t, c.code)
			if c.edit != nil {
				c.edit(&rec)
			}
			r := Refusal(rec)
			var b strings.Builder
			r.WriteText(&b, false)
			if text := strings.Join(strings.Fields(b.String()), " "); strings.Count(text, c.want) != 1 || strings.Contains(text, "To do:") {
				t.Errorf("want %q once in:\n%s", c.want, b.String())
			}
		})
	}
}

// A visitor without a certificate whose application is down was not checked
// for one.
func TestRefusalClaimsNothingAboutAMissingCertificate(t *testing.T) {
	rec := record(t, refusal.UpstreamDown)
	rec.Subject, rec.Serial, rec.Name = "", "", ""
	for _, s := range Refusal(rec).Steps {
		if s.Title == passed[refusal.Revoked] || s.Title == passed[refusal.NoCertificate] {
			t.Errorf("claims %+v", s)
		}
	}
}

func TestParseAddress(t *testing.T) {
	for name, c := range map[string]struct {
		in, want string // want "" is refused
	}{
		"a name":                   {"example.com", "example.com:443"},
		"a name and a port":        {"example.com:8443", "example.com:8443"},
		"upper case and a dot":     {"EXAMPLE.com.", "example.com:443"},
		"an international name":    {"bücher.example:1", "xn--bcher-kva.example:1"},
		"IPv4":                     {"192.0.2.1", "192.0.2.1:443"},
		"IPv4 and a port":          {"192.0.2.1:8443", "192.0.2.1:8443"},
		"IPv6 without brackets":    {"2001:db8::1", "[2001:db8::1]:443"},
		"IPv6 in brackets":         {"[::1]", "[::1]:443"},
		"IPv6 and a port":          {"[::1]:8443", "[::1]:8443"},
		"IPv6 with a zone":         {"[fe80::1%eth0]:8443", "[fe80::1%eth0]:8443"},
		"a URL":                    {"https://example.com/path", "example.com:443"},
		"a URL with an IPv6 host":  {"https://[::1]:8443/", "[::1]:8443"},
		"localhost":                {"localhost:8443", "localhost:8443"},
		"nothing":                  {"", ""},
		"a port too large":         {"example.com:65536", ""},
		"port zero":                {"example.com:0", ""},
		"a port in letters":        {"example.com:https", ""},
		"a path":                   {"example.com/path", ""},
		"an escape sequence":       {"\x1b[2J", ""},
		"a bracket not closed":     {"[::1", ""},
		"a space":                  {"exa mple.com", ""},
		"another scheme":           {"ftp://example.com", ""},
		"a name with a user":       {"me@example.com", ""},
		"three hundred characters": {strings.Repeat("a", 300), ""},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := ParseAddress(c.in)
			if (err == nil) != (c.want != "") || err == nil && a.String() != c.want {
				t.Errorf("got %v, %v, want %q", a, err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "\x1b") {
				t.Errorf("the error steers the terminal: %q", err)
			}
		})
	}
}

func TestAMissingBracketIsNamed(t *testing.T) {
	if _, err := ParseAddress("[::1"); err == nil || !strings.Contains(err.Error(), "closing bracket ] is missing") {
		t.Errorf("%v", err)
	}
}

// What ParseAddress accepts is, printed, read as the same address.
func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"example.com", "[::1]:8443", "https://a.b:1/x", "fe80::1%eth0", "bücher.example"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s)
		if err != nil {
			return
		}
		again, err := ParseAddress(a.String())
		if err != nil || again != a {
			t.Fatalf("%q is %v, which is read as %v, %v", s, a, again, err)
		}
		if chain.Escape(a.String()) != a.String() {
			t.Fatalf("%q holds control characters", a)
		}
	})
}
