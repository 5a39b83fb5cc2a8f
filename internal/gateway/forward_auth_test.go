package gateway

import (
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/rule"
)

func pemOf(d *device) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: d.Certificate.Certificate[0]}))
}

// askFor asks about a request as another server would.
func (h *house) askFor(set map[string][]string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", "/verify", nil)
	r.Header = http.Header{"X-Forwarded-Host": {"a.example.com"}, "X-Forwarded-Method": {"GET"}, "X-Forwarded-Uri": {"/page?q=1"}}
	for name, values := range set {
		if r.Header[name] = values; values == nil {
			delete(r.Header, name)
		}
	}
	w := httptest.NewRecorder()
	h.ForwardAuth(DefaultForwardHeader).ServeHTTP(w, r)
	return w
}

// Another server's visitors are judged as ours are, whichever way it writes
// their certificate, and its mistakes are nobody's way in.
func TestForwardAuth(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var log lines
	lan, err := rule.ParseNetwork("lan")
	must(t, err)
	h := w.openConfig(Options{Log: log.logger()}, Config{Networks: rule.Networks{{Name: lan, Prefixes: []netip.Prefix{netip.MustParsePrefix("192.168.1.0/24"), netip.MustParsePrefix("0.0.0.0/8")}}}, Sites: []Site{
		{Host: "a.example.com", List: allow(t, "ben")}, {Host: "open.example.com", List: allow(t, "strangers")},
		{Host: "lan.example.com", List: allow(t, "network:lan")}, {Host: "db.example.com", List: allow(t, "ben"), Tunnel: &pipe{}},
	}})
	ben, carla, revoked := w.enrol("ben/laptop"), w.enrol("carla"), w.enrol("ben/old")
	w.revoke(revoked)
	forged := w.mint(w.clients, clientTemplate("ben"))
	cert := func(v ...string) map[string][]string { return map[string][]string{"X-Client-Cert": v} }
	with := func(m map[string][]string, name string, values ...string) map[string][]string {
		m[name] = values
		return m
	}
	good := url.PathEscape(pemOf(ben))
	for sentence, c := range map[string]struct {
		set  map[string][]string
		code string // "" for yes
	}{
		"percent-encoded PEM, as nginx":        {set: cert(good)},
		"base64, as Traefik and Caddy":         {set: cert(base64.StdEncoding.EncodeToString(ben.Leaf.Raw))},
		"between colons, as RFC 9440":          {set: cert(":" + base64.StdEncoding.EncodeToString(ben.Leaf.Raw) + ":")},
		"PEM with spaces for lines":            {set: cert(strings.ReplaceAll(pemOf(ben), "\n", " "))},
		"no certificate":                       {set: nil, code: "no-certificate"},
		"a variable of Caddy's without value":  {set: cert("{http.request.tls.client.certificate_der_base64}"), code: "no-certificate"},
		"an empty field":                       {set: cert(""), code: "no-certificate"},
		"somebody not on the list":             {set: cert(url.PathEscape(pemOf(carla))), code: "not-on-list"},
		"a revoked certificate":                {set: cert(url.PathEscape(pemOf(revoked))), code: "revoked"},
		"a forgery":                            {set: cert(url.PathEscape(pemOf(forged))), code: "not-in-ledger"},
		"another authority's":                  {set: cert(url.PathEscape(pemOf(w.mint(newIssuer(t, "x", nil), clientTemplate("ben"))))), code: "unknown-issuer"},
		"nonsense":                             {set: cert("nonsense"), code: "bad-request"},
		"two certificates":                     {set: cert(good, good), code: "bad-request"},
		"a site for strangers":                 {set: map[string][]string{"X-Forwarded-Host": {"open.example.com"}}},
		"the host in capitals and with a port": {set: with(cert(good), "X-Forwarded-Host", "A.Example.com:443")},
		"a host that is not ours":              {set: with(cert(good), "X-Forwarded-Host", "b.example.com"), code: "unknown-host"},
		"a tcp site":                           {set: with(cert(good), "X-Forwarded-Host", "db.example.com"), code: "unknown-host"},
		"two hosts":                            {set: with(cert(good), "X-Forwarded-Host", "a.example.com", "open.example.com"), code: "bad-request"},
		"no host":                              {set: with(cert(good), "X-Forwarded-Host"), code: "bad-request"},
		"no method":                            {set: with(cert(good), "X-Forwarded-Method"), code: "bad-request"},
		"no path":                              {set: with(cert(good), "X-Forwarded-Uri"), code: "bad-request"},
		"an ambiguous path":                    {set: with(cert(good), "X-Forwarded-Uri", "/a/%2e%2e/b"), code: "bad-request"},
		"a reserved path":                      {set: with(cert(good), "X-Forwarded-Uri", "/.postern/renew"), code: "bad-request"},
		"an address that the visitor made up":  {set: map[string][]string{"X-Forwarded-Host": {"lan.example.com"}, "X-Forwarded-For": {"192.168.1.7"}}, code: "no-certificate"},
		"an identity that the visitor made up": {set: map[string][]string{"X-Postern-Identity": {"ben"}}, code: "no-certificate"},
		"another origin's form":                {set: with(with(cert(good), "X-Forwarded-Method", "POST"), "Origin", "https://evil.example.com"), code: "cross-site"},
		"another origin's WebSocket":           {set: with(with(cert(good), "Sec-Websocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), "Origin", "https://evil.example.com"), code: "cross-site"},
		"its own WebSocket":                    {set: with(with(cert(good), "Sec-Websocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), "Origin", "https://a.example.com")},
		"a field of another server's":          {set: map[string][]string{"X-Forwarded-Tls-Client-Cert": {good}, "X_client_cert": {good}}, code: "no-certificate"},
	} {
		t.Run(sentence, func(t *testing.T) {
			got := h.askFor(c.set)
			if c.code != "" {
				if got.Code != http.StatusForbidden || got.Header().Get("X-Postern-Code") != c.code || got.Header().Get("X-Postern-Identity") != "" {
					t.Fatalf("%d %v %s", got.Code, got.Header(), got.Body)
				}
				return
			}
			if got.Code != http.StatusOK {
				t.Fatalf("%d %v %s", got.Code, got.Header(), got.Body)
			}
			want := ""
			if c.set["X-Client-Cert"] != nil {
				want = "ben/laptop"
			}
			if id := got.Header().Get("X-Postern-Identity"); id != want {
				t.Errorf("the identity is %q", id)
			}
		})
	}
	if h.count("postern_alarms_total") != 1 || !strings.Contains(log.String(), `via="forward auth"`) {
		t.Errorf("alarms %v, log:\n%s", h.count("postern_alarms_total"), log.String())
	}
}

// On a host of ours only those on its list may ask, and what they ask with
// arrives.
func TestForwardAuthOnAHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.open(Options{}, Site{Host: "a.example.com", List: allow(t, "ben")},
		Site{Host: "auth.example.com", Stealth: true, List: allow(t, "services/nginx"), ForwardHeader: DefaultForwardHeader})
	ben, nginx := w.enrol("ben/laptop"), w.enrol("services/nginx")
	ask := func(c *http.Client) (*http.Response, error) {
		req, err := http.NewRequest("GET", "https://auth.example.com/verify", nil)
		must(t, err)
		req.Header = http.Header{"X-Forwarded-Host": {"a.example.com"}, "X-Forwarded-Method": {"GET"}, "X-Forwarded-Uri": {"/"}, "X-Client-Cert": {url.PathEscape(pemOf(ben))}}
		return c.Do(req)
	}
	resp, err := ask(client(t, h.addr, w.clientTLS(nginx, "auth.example.com")))
	if err != nil || resp.StatusCode != 200 || resp.Header.Get("X-Postern-Identity") != "ben/laptop" {
		t.Fatalf("%v %v", resp, err)
	}
	read(t, resp)
	if resp, err := ask(client(t, h.addr, w.clientTLS(ben, "auth.example.com"))); err == nil {
		t.Errorf("somebody who is let in elsewhere asks: %d", resp.StatusCode)
	}
	if resp, err := ask(client(t, h.addr, w.clientTLS(nil, "auth.example.com"))); err == nil {
		t.Errorf("a stranger asks: %d", resp.StatusCode)
	}
}

// Whatever is in the field, it is read as one certificate or refused.
func FuzzReadForwarded(f *testing.F) {
	f.Add("-----BEGIN CERTIFICATE-----%0AMIIB%0A-----END CERTIFICATE-----")
	f.Add(":AAAA:")
	f.Add("%zz")
	f.Fuzz(func(t *testing.T, s string) {
		if c, err := readForwarded(s); (c == nil) == (err == nil) {
			t.Errorf("%q: %v, %v", s, c, err)
		}
	})
}

// Each answer is judged anew: by the roster of this moment, and by the rates of
// whoever asks. Where an address would decide, nobody passes.
func TestForwardAuthDecidesEachTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	lan, err := rule.ParseNetwork("lan")
	must(t, err)
	byAddress, err := rule.ParseCondition(`client.address != "1.2.3.4"`)
	must(t, err)
	deny, err := rule.Parse([]string{"ben"}, []string{"network:lan"})
	must(t, err)
	var log lines
	h := w.openConfig(Options{Log: log.logger()}, Config{Networks: rule.Networks{{Name: lan, Prefixes: []netip.Prefix{netip.MustParsePrefix("192.168.1.0/24")}}}, Sites: []Site{
		{Host: "a.example.com", List: allow(t, "ben")},
		{Host: "rate.example.com", List: allow(t, "ben"), Policy: Policy{Limits: []Limit{{Per: PerIdentity, Count: 2, Interval: time.Hour, Concurrent: 1}, {Per: PerAddress, Count: 1, Interval: time.Hour}}}},
		{Host: "deny.example.com", List: deny},
		{Host: "when.example.com", List: allow(t, "ben"), Policy: Policy{When: byAddress}},
		{Host: "audit.example.com", List: allow(t, "nobody"), Policy: Policy{Audit: true}},
	}})
	ben := w.enrol("ben/laptop")
	ask := func(host string) string {
		got := h.askFor(map[string][]string{"X-Client-Cert": {url.PathEscape(pemOf(ben))}, "X-Forwarded-Host": {host}})
		if got.Code == http.StatusOK {
			return "yes"
		}
		return got.Header().Get("X-Postern-Code")
	}
	for i, c := range []struct{ host, want string }{
		{"a.example.com", "yes"}, {"rate.example.com", "yes"}, {"rate.example.com", "yes"}, {"rate.example.com", "rate-limited"},
		{"deny.example.com", "not-on-list"}, {"when.example.com", "condition"}, {"audit.example.com", "yes"},
	} {
		if got := ask(c.host); got != c.want {
			t.Errorf("%d, %s: %s, want %s", i, c.host, got, c.want)
		}
	}
	if !strings.Contains(log.String(), "would_refuse=not-on-list") || h.count("postern_would_refuse_total", "site", "audit.example.com") != 1 {
		t.Errorf("what would be refused is not told:\n%s", log.String())
	}
	w.revoke(ben)
	if got := ask("a.example.com"); got != "revoked" {
		t.Errorf("revoked: %s", got)
	}
}
