package gateway

import (
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-project/postern/internal/refusal"
)

// In audit mode only what was proved is passed on as an identity, and neither
// a forgery nor a request that can be misread passes.
func TestAuditLetsPassAndLogs(t *testing.T) {
	w := newWorld(t)
	ben, anna, revoked := w.enrol("ben/phone"), w.enrol("anna/phone"), w.enrol("ben/old")
	w.revoke(revoked)
	forged := w.mint(w.clients, clientTemplate("ben/phone"))
	other := newIssuer(t, "other", nil)
	foreign := w.mint(other, clientTemplate("ben/phone"))
	j, err := OpenJournal(filepath.Join(t.TempDir(), "refusals.jsonl"), JournalOptions{})
	must(t, err)
	defer j.Close()
	var log lines
	seen := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		io.WriteString(rw, "as "+r.Header.Get("X-Postern-Identity"))
	})
	enforced := route(t, "/enforced/", "ben")
	h := w.open(Options{Log: log.logger(), Journal: j}, Site{Host: "app.example.com", Handler: seen, List: allow(t, "ben"), Policy: Policy{Audit: true}, Routes: []Route{enforced}})
	for sentence, c := range map[string]struct {
		who  *device
		path string
		want string
		code refusal.Code
	}{
		"whom the list names":              {ben, "/", "as ben/phone", ""},
		"whom it does not, under its name": {anna, "/", "as anna/phone", refusal.NotOnList},
		"nobody":                           {nil, "/", "as ", refusal.NoCertificate},
		"a revoked one as nobody":          {revoked, "/", "as ", refusal.Revoked},
		"another authority's as nobody":    {foreign, "/", "as ", refusal.UnknownIssuer},
		"a forgery not at all":             {forged, "/", "not-in-ledger", ""},
		"an ambiguous path not at all":     {ben, "/a//b", "ambiguous-path", ""},
		"a route that enforces":            {anna, "/enforced/", "not-on-list", ""},
	} {
		t.Run(sentence, func(t *testing.T) {
			before := h.count("postern_would_refuse_total", "code", string(c.code))
			_, body := h.ask(c.who, "app.example.com", "GET", c.path)
			if body != c.want && string(refusalIn(body)) != c.want {
				t.Errorf("%q, want %s", body, c.want)
			}
			if c.code != "" && h.count("postern_would_refuse_total", "code", string(c.code)) != before+1 {
				t.Errorf("%s was not counted", c.code)
			}
		})
	}
	h.stop()
	if got := log.String(); !strings.Contains(got, "would_refuse=not-on-list reference=") {
		t.Errorf("not logged: %s", got)
	}
	recent, err := j.Recent(100)
	must(t, err)
	audited := 0
	for _, r := range recent {
		if r.Audit {
			audited++
		}
	}
	if audited != 4 {
		t.Errorf("%d of %d records are of audit mode", audited, len(recent))
	}
}

func TestStealthKnowsNoAudit(t *testing.T) {
	w := newWorld(t)
	anna := w.enrol("anna/phone")
	h := w.open(Options{}, Site{Host: "app.example.com", Handler: whoami, Stealth: true, List: allow(t, "ben"), Policy: Policy{Audit: true}})
	for _, d := range []*device{nil, anna} {
		conn, err := h.dial(w.clientTLS(d, "app.example.com"))
		if err == nil {
			io.WriteString(conn, "GET / HTTP/1.1\r\nHost: app.example.com\r\n\r\n")
			if n, err := conn.Read(make([]byte, 1)); err == nil {
				t.Errorf("%d bytes were answered", n)
			}
		}
	}
}

func TestPreflights(t *testing.T) {
	w := newWorld(t)
	ben := w.enrol("ben/phone")
	app := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Access-Control-Allow-Origin", "*")
		rw.Header().Set("Access-Control-Expose-Headers", "X-Secret")
		io.WriteString(rw, r.Method+" reached the application")
	})
	policy := Policy{CORS: &CORS{Origins: []string{"https://front.example"}, Methods: []string{"PUT"}, Headers: []string{"content-type"}}}
	api := route(t, "PUT /api/", "ben")
	api.Policy = policy
	reading := route(t, "GET /api/", "ben")
	reading.Policy = policy
	open := route(t, "/open/", "strangers")
	open.Policy = Policy{CORS: &CORS{Origins: []string{AnyOrigin}}}
	h := w.open(Options{}, Site{Host: "app.example.com", Handler: app, List: allow(t, "ben"), Routes: []Route{api, reading, open}})
	for sentence, c := range map[string]struct {
		who                            *device
		method, path, origin, requests string
		status                         int
		allowed, credentials, body     string
	}{
		"a preflight needs no identity":                         {nil, "OPTIONS", "/api/x", "https://front.example", "PUT", 204, "https://front.example", "true", ""},
		"another origin's is refused":                           {nil, "OPTIONS", "/api/x", "https://evil.example", "PUT", 403, "", "", "origin-not-allowed"},
		"a sandboxed page's is refused":                         {nil, "OPTIONS", "/api/x", "null", "PUT", 403, "", "", "origin-not-allowed"},
		"an origin in other letters is another":                 {nil, "OPTIONS", "/api/x", "https://FRONT.example", "PUT", 403, "", "", "origin-not-allowed"},
		"an origin that begins alike is another":                {nil, "OPTIONS", "/api/x", "https://front.example.evil.example", "PUT", 403, "", "", "origin-not-allowed"},
		"for a method without a policy it is any other request": {nil, "OPTIONS", "/api/x", "https://front.example", "DELETE", 403, "", "", "no-certificate"},
		"without what makes a preflight too":                    {nil, "OPTIONS", "/api/x", "https://front.example", "", 403, "", "", "no-certificate"},
		"where there is no policy too":                          {nil, "OPTIONS", "/x", "https://front.example", "GET", 403, "", "", "no-certificate"},
		"and with an identity it passes":                        {ben, "OPTIONS", "/x", "https://front.example", "GET", 200, "*", "", "OPTIONS reached"},
		"the request itself needs the identity":                 {nil, "GET", "/api/x", "https://front.example", "", 403, "https://front.example", "true", "no-certificate"},
		"and is answered for the origin":                        {ben, "GET", "/api/x", "https://front.example", "", 200, "https://front.example", "true", "GET reached"},
		"the application's own word is replaced":                {ben, "GET", "/api/x", "https://evil.example", "", 200, "", "", "GET reached"},
		"any origin comes without credentials":                  {nil, "GET", "/open/x", "https://evil.example", "", 200, "*", "", "GET reached"},
		"a preflight for any origin":                            {nil, "OPTIONS", "/open/x", "https://evil.example", "GET", 204, "*", "", ""},
		"an ambiguous path is no way in":                        {nil, "OPTIONS", "/api//x", "https://front.example", "PUT", 400, "", "", "ambiguous-path"},
	} {
		t.Run(sentence, func(t *testing.T) {
			r, err := http.NewRequest(c.method, "https://app.example.com"+c.path, nil)
			must(t, err)
			r.Header.Set("Origin", c.origin)
			if c.requests != "" {
				r.Header.Set("Access-Control-Request-Method", c.requests)
			}
			resp, err := client(t, h.addr, w.clientTLS(c.who, "app.example.com")).Do(r)
			must(t, err)
			body := read(t, resp)
			if resp.StatusCode != c.status || !strings.Contains(body, c.body) {
				t.Errorf("%d %q", resp.StatusCode, body)
			}
			if got := strings.Join(resp.Header["Access-Control-Allow-Origin"], ","); got != c.allowed {
				t.Errorf("allows %q, want %q", got, c.allowed)
			}
			if got := resp.Header.Get("Access-Control-Allow-Credentials"); got != c.credentials {
				t.Errorf("credentials %q", got)
			}
			if c.path != "/x" && resp.Header.Get("Access-Control-Expose-Headers") != "" {
				t.Error("the application's field is exposed")
			}
		})
	}
}
