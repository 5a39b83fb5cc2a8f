package gateway

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/refusal"
	"github.com/postern-project/postern/internal/upstream"
)

// backend is an application that tells what it was sent.
func backend(t *testing.T) (url string, requests *atomic.Int64) {
	requests = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		io.Copy(io.Discard, r.Body)
		json.NewEncoder(w).Encode(map[string]any{"header": r.Header, "trailer": r.Trailer, "host": r.Host, "uri": r.RequestURI})
	}))
	t.Cleanup(s.Close)
	return s.URL, requests
}

func proxy(t *testing.T, url string) http.Handler {
	u, err := upstream.New(url, upstream.Options{})
	must(t, err)
	t.Cleanup(u.CloseIdle)
	return u.Handler(Refuse)
}

// I6: whatever spelling a client gives them, the fields that say who somebody
// is reach an application from the gateway alone.
func TestIdentityComesFromTheGateway(t *testing.T) {
	w := newWorld(t)
	url, _ := backend(t)
	h := w.openConfig(Options{}, Config{PublicHost: "join.example.com", Public: proxy(t, url), Sites: []Site{
		{Host: "pw.example.com", Handler: proxy(t, url), List: allow(t, "ben")},
		{Host: "open.example.com", Handler: proxy(t, url), List: allow(t, "strangers")},
	}})
	ben := w.enrol("ben")
	spellings := strings.Join([]string{
		"X-Postern-Identity: root", "x-postern-identity: root", "X_Postern_Identity: root", "X-POSTERN.Identity: root", "X-Postern_Identity: root",
		"X-Postern-Identity: again", "X-Postern-Serial: 01", "X-Forwarded-For: 10.0.0.1", "X-Forwarded-Client-Cert: root", "x-forwarded_for: 10.0.0.1",
		"Forwarded: for=10.0.0.1", "X-Real-IP: 10.0.0.1", "X-Original-URL: /admin", "X-Rewrite-URL: /admin", "X-HTTP-Method-Override: DELETE",
		"Client-Cert: :root:", "X-SSL-Client-Verify: SUCCESS", "X-Client-Cert: root",
		"Connection: X-Postern-Identity, X-Forwarded-For, x-postern-serial, close",
	}, "\r\n")
	for sentence, c := range map[string]struct {
		device *device
		host   string
		name   string
	}{
		"somebody known":              {ben, "pw.example.com", "ben"},
		"somebody known at open door": {ben, "open.example.com", "ben"},
		"a stranger":                  {nil, "open.example.com", ""},
		"the public side":             {nil, "join.example.com", ""},
	} {
		for _, body := range []string{"\r\n\r\n",
			"\r\nTransfer-Encoding: chunked\r\nTrailer: X-Postern-Identity, X-Sum\r\n\r\n1\r\na\r\n0\r\nX-Postern-Identity: root\r\nX-Sum: 1\r\n\r\n"} {
			method := "GET"
			if len(body) > 4 {
				method = "POST"
			}
			_, answer := raw(t, h.mustDial(w.clientTLS(c.device, c.host)), method+" /path?q=1 HTTP/1.1\r\nHost: "+c.host+"\r\n"+spellings+body)
			var got struct {
				Header, Trailer map[string][]string
				URI             string
			}
			if err := json.Unmarshal([]byte(answer), &got); err != nil {
				t.Fatalf("%s: %q: %v", sentence, answer, err)
			}
			want := map[string]string{"X-Postern-Identity": c.name, "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": c.host}
			if c.name != "" {
				want["X-Postern-Serial"] = ben.ref.Serial.String()
			} else {
				delete(want, "X-Postern-Identity")
			}
			for field, value := range want {
				if v := got.Header[field]; len(v) != 1 || v[0] != value {
					t.Errorf("%s: %s is %q, want %q", sentence, field, v, value)
				}
			}
			for field, value := range got.Header {
				switch strings.ToLower(field) {
				case "accept-encoding", "user-agent", "content-length", "trailer", "content-type", "transfer-encoding":
				default:
					if want[field] == "" {
						t.Errorf("%s: the application got %s: %q", sentence, field, value)
					}
				}
			}
			if len(got.Trailer["X-Postern-Identity"]) != 0 {
				t.Errorf("%s: the application got the trailer %q", sentence, got.Trailer)
			}
			if got.URI != "/path?q=1" {
				t.Errorf("%s: the application was asked for %s", sentence, got.URI)
			}
		}
	}
}

// Nobody is dialled for somebody who may not pass.
func TestNoDialBeforeAYes(t *testing.T) {
	w := newWorld(t)
	url, requests := backend(t)
	h := w.open(Options{}, Site{Host: "pw.example.com", Handler: proxy(t, url), List: allow(t, "ben")})
	for _, d := range []*device{nil, w.enrol("carla"), w.mint(w.clients, clientTemplate("ben"))} {
		if resp, _ := h.get(d, "pw.example.com", "/"); resp.StatusCode != http.StatusForbidden {
			t.Errorf("got %s", resp.Status)
		}
	}
	if requests.Load() != 0 {
		t.Errorf("%d requests reached the application", requests.Load())
	}
	h = w.open(Options{}, Site{Host: "pw.example.com", Handler: proxy(t, "http://127.0.0.1:1"), List: allow(t, "ben")})
	if resp, body := h.get(w.enrol("ben"), "pw.example.com", "/"); resp.StatusCode != http.StatusBadGateway || codeOf(body) != refusal.UpstreamDown {
		t.Errorf("an application that is down: %s %s", resp.Status, body)
	}
}

// The reserved prefix is the gateway's own, in every spelling, and renewing
// asks for a good certificate and not for a place on the list.
func TestReservedPaths(t *testing.T) {
	w := newWorld(t)
	url, requests := backend(t)
	h := w.openConfig(Options{Renew: whoami}, Config{Public: whoami, Sites: []Site{
		{Host: "pw.example.com", Handler: proxy(t, url), List: allow(t, "ben")}}})
	revoked, suspended := w.enrol("ben/old"), w.enrol("dora")
	w.revoke(revoked)
	w.append(ledger.IdentitySuspended{Name: name(t, "dora")})
	ben, carla := w.enrol("ben"), w.enrol("carla")
	for sentence, c := range map[string]struct {
		device *device
		path   string
		status int
		body   string
	}{
		"health, for anybody":              {nil, "/.postern/health", 200, "ok\n"},
		"health, encoded":                  {nil, "/%2epostern/health", 200, "ok\n"},
		"renewing":                         {ben, "/.postern/renew", 200, "hello ben"},
		"renewing without a place":         {carla, "/.postern/renew", 200, "hello carla"},
		"renewing, revoked":                {revoked, "/.postern/renew", 403, ""},
		"renewing, suspended":              {suspended, "/.postern/renew", 403, ""},
		"renewing without a certificate":   {nil, "/.postern/renew", 403, ""},
		"renewing a forgery":               {w.mint(w.clients, clientTemplate("ben")), "/.postern/renew", 403, ""},
		"something unknown":                {ben, "/.postern/unknown", 404, ""},
		"the prefix alone":                 {ben, "/.postern", 404, ""},
		"the prefix with a slash":          {ben, "/.postern/", 404, ""},
		"something unknown for a stranger": {nil, "/.postern/unknown", 403, ""},
		"an empty segment":                 {ben, "//.postern/renew", 400, ""},
		"a way around":                     {ben, "/x/../.postern/renew", 400, ""},
	} {
		resp, body := raw(t, h.mustDial(w.clientTLS(c.device, "pw.example.com")), "GET "+c.path+" HTTP/1.1\r\nHost: pw.example.com\r\n\r\n")
		if resp.StatusCode != c.status || c.body != "" && body != c.body {
			t.Errorf("%s: got %s %q, want %d", sentence, resp.Status, body, c.status)
		}
	}
	if requests.Load() != 0 {
		t.Errorf("%d requests were forwarded", requests.Load())
	}
	resp, body := raw(t, h.mustDial(w.clientTLS(ben, "pw.example.com")),
		"POST /.postern/renew HTTP/1.1\r\nHost: pw.example.com\r\nOrigin: https://evil.example\r\nSec-Fetch-Site: cross-site\r\nContent-Length: 0\r\n\r\n")
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("renewing from another site's page: %s %s", resp.Status, body)
	}
	if resp, _ := h.get(ben, "pw.example.com", "/.posternal"); resp.StatusCode != 200 || requests.Load() != 1 {
		t.Errorf("a path that only looks reserved: %s, %d forwarded", resp.Status, requests.Load())
	}
}
