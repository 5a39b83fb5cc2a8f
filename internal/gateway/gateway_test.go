package gateway

import (
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/refusal"
	"github.com/postern-project/postern/internal/roster"
)

// Everybody who is not good and on the list is told why, in one code, and
// nothing behind the site is reached.
func TestWhoIsLetIn(t *testing.T) {
	w := newWorld(t)
	stranger := newIssuer(t, "clients-1", nil)
	reached := false
	var log lines
	h := w.open(Options{Log: log.logger()}, Site{Host: "pw.example.com", List: allow(t, "ben", "group:family"),
		Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { reached = true; whoami(rw, r) })})
	changed := func(change func(*x509.Certificate)) *x509.Certificate {
		c := clientTemplate("ben/phone")
		change(c)
		return c
	}
	suspended := w.enrol("ben/tablet")
	w.append(ledger.IdentitySuspended{Name: name(t, "ben/tablet")})
	revoked := w.enrol("ben/old")
	w.revoke(revoked)
	family := w.enrol("anna/phone")
	w.append(ledger.GroupJoined{Group: group(t, "family"), Name: name(t, "anna")})
	selfMade := func() *device {
		template := clientTemplate("ben/phone")
		key := newKey(t)
		d := w.mint(&issuer{template, key}, template)
		d.Certificate.Certificate = [][]byte{sign(t, template, &issuer{template, key}, key.Public())}
		d.PrivateKey = key
		return d
	}
	distrusted := newIssuer(t, "clients-0", w.root, x509.ExtKeyUsageClientAuth)
	w.append(ledger.IssuerAdded{Name: "clients-0", Use: ledger.UseClients, Certificate: distrusted.cert.Raw})
	honest := w.record(w.mint(distrusted, clientTemplate("ben/laptop")), "ben/laptop")
	w.append(ledger.IssuerDistrusted{Issuer: distrusted.id(), Reason: ledger.ReasonKeyCompromise})
	lost := w.enrol("ben/phone")
	lost.PrivateKey = newKey(t)

	for sentence, c := range map[string]struct {
		device *device
		code   refusal.Code
	}{
		"a device on the list":                           {w.enrol("ben/phone"), ""},
		"the name on the list itself":                    {w.enrol("ben"), ""},
		"a device whose name is in a listed group":       {family, ""},
		"a certificate of an issuer distrusted since":    {honest, ""},
		"nobody at all":                                  {nil, refusal.NoCertificate},
		"a self-made certificate":                        {selfMade(), refusal.SelfSigned},
		"a certificate of another authority, same name":  {w.mint(stranger, clientTemplate("ben/phone")), refusal.UnknownIssuer},
		"a server's certificate":                         {w.mint(w.servers, changed(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })), refusal.WrongPurpose},
		"a certificate for mail":                         {w.mint(w.clients, changed(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection} })), refusal.WrongPurpose},
		"a certificate without a purpose":                {w.mint(w.clients, changed(func(c *x509.Certificate) { c.ExtKeyUsage = nil })), refusal.WrongPurpose},
		"an expired certificate":                         {w.record(w.mint(w.clients, changed(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = ago(time.Hour), ago(time.Minute) })), "ben/phone"), refusal.Expired},
		"a certificate of next year":                     {w.record(w.mint(w.clients, changed(func(c *x509.Certificate) { c.NotBefore = ago(-time.Hour) })), "ben/phone"), refusal.NotYetValid},
		"a forgery made with the issuer's own key":       {w.mint(w.clients, clientTemplate("ben/phone")), refusal.NotInLedger},
		"a forgery made with a distrusted issuer's key":  {w.mint(distrusted, clientTemplate("ben/phone")), refusal.IssuerDistrusted},
		"a certificate that the root itself signed":      {w.mint(w.root, clientTemplate("ben/phone")), refusal.NotInLedger},
		"a revoked certificate":                          {revoked, refusal.Revoked},
		"a suspended device":                             {suspended, refusal.Suspended},
		"a known device that is not on the list":         {w.enrol("carla/phone"), refusal.NotOnList},
		"a name that only begins like one on the list":   {w.enrol("benno"), refusal.NotOnList},
		"a recorded certificate without a name":          {w.record(w.mint(w.clients, changed(func(c *x509.Certificate) { c.URIs = nil })), "ben/phone"), refusal.NoIdentity},
		"a recorded certificate with two names":          {w.record(w.mint(w.clients, changed(func(c *x509.Certificate) { c.URIs = append(c.URIs, c.URIs[0]) })), "ben/phone"), refusal.NoIdentity},
		"a name of another trust domain":                 {w.record(w.mint(w.clients, changed(func(c *x509.Certificate) { c.URIs[0].Host = "example.org" })), "ben/phone"), refusal.NoIdentity},
		"the name as a DNS name and the common name":     {w.record(w.mint(w.clients, changed(func(c *x509.Certificate) { c.URIs, c.DNSNames = nil, []string{"ben"} })), "ben/phone"), refusal.NoIdentity},
		"a certificate that the ledger has as another's": {w.record(w.mint(w.clients, clientTemplate("ben/phone")), "carla/phone"), refusal.NoIdentity},
		"a name with a percent-encoded slash":            {w.record(w.mint(w.clients, changed(func(c *x509.Certificate) { c.URIs[0] = rawURI(t, "spiffe://example.com/ben%2Fphone") })), "ben/phone"), refusal.NoIdentity},
	} {
		t.Run(sentence, func(t *testing.T) {
			reached = false
			resp, body := h.get(c.device, "pw.example.com", "/")
			if c.code == "" {
				if resp.StatusCode != http.StatusOK || body != "hello "+c.device.name.String() {
					t.Fatalf("got %s and %q, want a greeting", resp.Status, body)
				}
				return
			}
			var p problem
			if err := json.Unmarshal([]byte(body), &p); err != nil {
				t.Fatalf("got %s and %q: %v", resp.Status, body, err)
			}
			info := refusal.Lookup(c.code)
			if p.Code != c.code || resp.StatusCode != info.Status || p.Reference.IsZero() || p.Remedy == "" || p.Status != info.Status {
				t.Errorf("refused with %+v, status %d, want code %q", p, resp.StatusCode, c.code)
			}
			if reached {
				t.Error("the handler was reached")
			}
			if !resp.Close || resp.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("the refusal may be kept or the connection used again: %v", resp.Header)
			}
			if h.count("postern_refusals_total", "code", string(c.code), "site", "pw.example.com") == 0 {
				t.Error("the refusal was not counted")
			}
			eventually(t, "a line in the log with the reference", func() bool {
				for line := range strings.SplitSeq(log.String(), "\n") {
					if strings.Contains(line, p.Reference.String()) {
						return strings.Contains(line, "level=ERROR") == info.Alarm && strings.Contains(line, "code="+string(c.code))
					}
				}
				return false
			})
		})
	}
	if got := h.count("postern_alarms_total"); got != 3 {
		t.Errorf("%v alarms, want one for each of the three forgeries", got)
	}
	if resp, err := client(t, h.addr, w.clientTLS(lost, "pw.example.com")).Get("https://pw.example.com/"); err == nil {
		t.Errorf("somebody without the key got %s", resp.Status)
	}
}

// I1: no list, no roster and no issuers mean nobody.
func TestNothingMeansNobody(t *testing.T) {
	w := newWorld(t)
	ben := w.enrol("ben")
	h := w.open(Options{},
		Site{Host: "empty.example.com", Handler: whoami},
		Site{Host: "unknown.example.com", Handler: whoami, List: allow(t, "group:nobody-made-this")},
		Site{Host: "behind.example.com", List: allow(t, "ben")})
	for host, want := range map[string]int{"empty.example.com": 403, "unknown.example.com": 403, "behind.example.com": 503} {
		if resp, body := h.get(ben, host, "/"); resp.StatusCode != want {
			t.Errorf("%s: %s %s, want %d", host, resp.Status, body, want)
		}
	}
	h = w.open(Options{Roster: roster.New()}, Site{Host: "pw.example.com", Handler: whoami, List: allow(t, "enrolled")})
	if resp, body := h.get(ben, "pw.example.com", "/"); resp.StatusCode == http.StatusOK {
		t.Errorf("with an empty roster: %s %s", resp.Status, body)
	}
	if _, err := New(Options{Certificate: w.certificate}); err == nil {
		t.Error("a gateway without a roster was made")
	}
}

// A browser is shown a page, a program gets problem details.
func TestARefusalSpeaksToWhoAsks(t *testing.T) {
	w := newWorld(t)
	h := w.openConfig(Options{}, Config{JoinURL: "https://join.example.com/join",
		Sites: []Site{{Host: "pw.example.com", Handler: whoami, List: allow(t, "ben")}}})
	for sentence, c := range map[string]struct{ accept, kind, text string }{
		"a browser":            {"text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", "text/html; charset=utf-8", "No certificate was shown"},
		"curl":                 {"*/*", "application/problem+json", `"code":"no-certificate"`},
		"a program for JSON":   {"application/json", "application/problem+json", `"join":"https://join.example.com/join"`},
		"a browser, capitals":  {"application/json, TEXT/HTML", "text/html; charset=utf-8", "https://join.example.com/join"},
		"nothing was accepted": {"", "application/problem+json", `"type":"urn:postern:refusal:no-certificate"`},
	} {
		t.Run(sentence, func(t *testing.T) {
			r, err := http.NewRequest("GET", "https://pw.example.com/", nil)
			must(t, err)
			r.Header["Accept"] = []string{c.accept}
			resp, err := client(t, h.addr, w.clientTLS(nil, "pw.example.com")).Do(r)
			must(t, err)
			body := read(t, resp)
			if resp.Header.Get("Content-Type") != c.kind || !strings.Contains(body, c.text) {
				t.Errorf("got %v and %s, want %s with %q", resp.Header, body, c.kind, c.text)
			}
		})
	}
}

// What a site is open to strangers for, it is for them alone: nobody's name
// is passed on unless the certificate is good.
func TestStrangersAreStrangers(t *testing.T) {
	w := newWorld(t)
	revoked := w.enrol("ben")
	w.revoke(revoked)
	h := w.open(Options{}, Site{Host: "open.example.com", Handler: whoami, List: allow(t, "strangers")})
	for sentence, c := range map[string]struct {
		device *device
		status int
		body   string
	}{
		"a stranger":              {nil, 200, "hello "},
		"somebody known":          {w.enrol("anna"), 200, "hello anna"},
		"somebody revoked":        {revoked, 200, "hello "},
		"a forger, who may not":   {w.mint(w.clients, clientTemplate("ben")), 403, ""},
		"another authority's own": {w.mint(newIssuer(t, "other", nil), clientTemplate("ben")), 200, "hello "},
	} {
		if resp, body := h.get(c.device, "open.example.com", "/"); resp.StatusCode != c.status || c.body != "" && body != c.body {
			t.Errorf("%s got %s %q, want %d %q", sentence, resp.Status, body, c.status, c.body)
		}
	}
}

// A configuration that cannot be is refused, and the old one stays.
func TestConfigureRefuses(t *testing.T) {
	w := newWorld(t)
	ben := w.enrol("ben")
	h := w.open(Options{}, Site{Host: "pw.example.com", Handler: whoami, List: allow(t, "ben")})
	for sentence, c := range map[string]Config{
		"two sites of one name":           {Sites: []Site{{Host: "a.example.com"}, {Host: "A.example.com."}}},
		"a site of the public side":       {PublicHost: "a.example.com", Public: whoami, Sites: []Site{{Host: "a.example.com:443"}}},
		"a URL for a host":                {Sites: []Site{{Host: "https://a.example.com/"}}},
		"no host":                         {Sites: []Site{{}}},
		"a TLS version that nobody wants": {Sites: []Site{{Host: "a.example.com", MinVersion: 0x0301}}},
		"a public host without an answer": {PublicHost: "join.example.com"},
	} {
		if err := h.Configure(c); err == nil {
			t.Errorf("%s was accepted", sentence)
		}
	}
	if resp, _ := h.get(ben, "pw.example.com", "/"); resp.StatusCode != http.StatusOK {
		t.Errorf("the old configuration is gone: %s", resp.Status)
	}
}

// A panic ends one request; the connection's others and the gateway go on.
func TestAPanicClosesOneRequest(t *testing.T) {
	w := newWorld(t)
	var log lines
	h := w.open(Options{Log: log.logger()}, Site{Host: "pw.example.com", List: allow(t, "ben"), Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/early":
			panic("early")
		case "/late":
			rw.Write(make([]byte, 100))
			rw.(http.Flusher).Flush()
			panic("late")
		}
		whoami(rw, r)
	})})
	c := w.clientTLS(w.enrol("ben"), "pw.example.com")
	c.NextProtos = []string{"h2"}
	hc := client(t, h.addr, c)
	if resp, _ := fetch(t, hc, "https://pw.example.com/early"); resp.StatusCode != http.StatusInternalServerError || resp.ProtoMajor != 2 {
		t.Errorf("an early panic: %s by %s", resp.Status, resp.Proto)
	}
	if resp, err := hc.Get("https://pw.example.com/late"); err == nil {
		if _, err := readAll(resp); err == nil {
			t.Error("a late panic looks like a whole answer")
		}
	}
	if resp, _ := fetch(t, hc, "https://pw.example.com/"); resp.StatusCode != http.StatusOK {
		t.Errorf("after the panics: %s", resp.Status)
	}
	if n := strings.Count(log.String(), "handler panicked"); n != 2 {
		t.Errorf("%d panics in the log, want 2:\n%s", n, log.String())
	}
}

func ago(d time.Duration) time.Time { return time.Now().Add(-d) }

func rawURI(tb testing.TB, s string) *url.URL {
	u, err := url.Parse(s)
	must(tb, err)
	return u
}
