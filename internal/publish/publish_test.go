package publish

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/roster"
)

// teller is an authority that has one list and echoes what it is asked.
type teller struct{}

var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func (teller) RevocationList(_ context.Context, r authority.ListRequest) (authority.RevocationList, error) {
	if r.Issuer != "clients-1" || r.Shard != 3 {
		return authority.RevocationList{}, &authority.Error{Code: authority.CodeNotFound}
	}
	return authority.RevocationList{DER: []byte("the list"), ThisUpdate: noon, NextUpdate: noon.Add(time.Hour)}, nil
}

func (teller) AnswerOCSP(der []byte) authority.OCSPAnswer {
	if string(der) == "junk" {
		return authority.OCSPAnswer{DER: []byte("failure")}
	}
	return authority.OCSPAnswer{DER: append([]byte("about "), der...), ThisUpdate: noon, NextUpdate: noon.Add(time.Hour)}
}

func newHandler() http.Handler {
	return Handler(Options{Authority: teller{}, Issuers: func() []roster.Issuer { return nil }, Roots: roots, Log: slog.New(slog.DiscardHandler)})
}

// roots are one with a list and one that has none.
func roots() []ledger.Root {
	with, without := &x509.Certificate{Raw: []byte("the root"), SubjectKeyId: []byte{1, 2, 3, 4, 5}, NotBefore: noon, NotAfter: noon.Add(time.Hour)}, &x509.Certificate{Raw: []byte("another"), SubjectKeyId: []byte{9}}
	return []ledger.Root{
		{Certificate: with, List: &x509.RevocationList{Raw: []byte("its list"), ThisUpdate: noon, NextUpdate: noon.Add(time.Hour)}},
		{Certificate: without},
	}
}

// slashes is a request whose base64 holds what a path may not: //, + and =.
var slashes = []byte{0xff, 0xff, 0xff, 0xfb, 0xef, 0xbe, 0xff}

func TestWhatIsServed(t *testing.T) {
	srv := httptest.NewServer(newHandler())
	defer srv.Close()
	text := base64.StdEncoding.EncodeToString(slashes)
	if !strings.Contains(text, "//") || !strings.Contains(text, "+") {
		t.Fatal(text)
	}
	for sentence, c := range map[string]struct {
		method, path, kind, body string
		status                   int
		want                     string
	}{
		"a list":                         {"GET", "/crl/clients-1/3.crl", "", "", 200, "the list"},
		"a root":                         {"GET", "/root/01020304.crt", "", "", 200, "the root"},
		"a root's list":                  {"GET", "/root/01020304.crl", "", "", 200, "its list"},
		"a list that no ceremony made":   {"GET", "/root/09.crl", "", "", 404, ""},
		"a root that is not there":       {"GET", "/root/01020305.crt", "", "", 404, ""},
		"a shard that is not there":      {"GET", "/crl/clients-1/4.crl", "", "", 404, ""},
		"a shard written in another way": {"GET", "/crl/clients-1/03.crl", "", "", 404, ""},
		"a shard with a sign":            {"GET", "/crl/clients-1/+3.crl", "", "", 404, ""},
		"a shard without an end":         {"GET", "/crl/clients-1/3", "", "", 404, ""},
		"a list by POST":                 {"POST", "/crl/clients-1/3.crl", "", "", 405, ""},
		"OCSP by POST":                   {"POST", "/ocsp", "application/ocsp-request", string(slashes), 200, "about " + string(slashes)},
		"OCSP of another type":           {"POST", "/ocsp", "text/plain", "x", 415, ""},
		"OCSP that is too long":          {"POST", "/ocsp", "application/ocsp-request", strings.Repeat("x", 9000), 413, ""},
		"OCSP by GET, encoded":           {"GET", "/ocsp/" + url.PathEscape(text), "", "", 200, "about " + string(slashes)},
		"OCSP by GET, as it stands":      {"GET", "/ocsp/" + text, "", "", 200, "about " + string(slashes)},
		"OCSP by GET, without padding":   {"GET", "/ocsp/" + url.PathEscape(strings.TrimRight(text, "=")), "", "", 200, "about " + string(slashes)},
		"OCSP by GET that is no base64":  {"GET", "/ocsp/%20%20", "", "", 400, ""},
		"OCSP by PUT":                    {"PUT", "/ocsp/" + url.PathEscape(text), "", "", 405, ""},
		"a failure":                      {"GET", "/ocsp/" + base64.StdEncoding.EncodeToString([]byte("junk")), "", "", 200, "failure"},
		"an issuer that is not there":    {"GET", "/issuers/x.crt", "", "", 404, ""},
		"something else":                 {"GET", "/", "", "", 404, ""},
	} {
		r, err := http.NewRequest(c.method, srv.URL+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", c.kind)
		res, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != c.status || c.want != "" && string(body) != c.want {
			t.Errorf("%s: %d %q", sentence, res.StatusCode, body)
		}
		cached := strings.HasPrefix(res.Header.Get("Cache-Control"), "max-age=300, public")
		if want := c.status == 200 && c.method == "GET" && c.want != "failure"; cached != want || want && (res.Header.Get("ETag") == "" || res.Header.Get("Expires") != "Thu, 26 Nov 2026 13:00:00 GMT" || res.Header.Get("Last-Modified") == "") {
			t.Errorf("%s: headers %v", sentence, res.Header)
		}
	}
}

func TestACacheAsksWhetherSomethingChanged(t *testing.T) {
	rec := httptest.NewRecorder()
	newHandler().ServeHTTP(rec, httptest.NewRequest("GET", "/crl/clients-1/3.crl", nil))
	again := httptest.NewRequest("GET", "/crl/clients-1/3.crl", nil)
	again.Header.Set("If-None-Match", rec.Header().Get("ETag"))
	rec = httptest.NewRecorder()
	newHandler().ServeHTTP(rec, again)
	if rec.Code != http.StatusNotModified || rec.Body.Len() != 0 {
		t.Errorf("%d %q", rec.Code, rec.Body)
	}
}

// The plain side serves what is signed and sends visitors of our hosts on.
func TestThePlainSide(t *testing.T) {
	home := func(host string) string {
		return map[string]string{"pw.example.com": "https://pw.example.com:8443", "::1": "https://[::1]:8443"}[host]
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Serve(ctx, l, Redirecting(newHandler(), home, "/crl/", "/ocsp", "/ocsp/"), slog.New(slog.DiscardHandler))
	}()
	for sentence, c := range map[string]struct {
		method, host, path string
		status             int
		to                 string
	}{
		"a list, whatever the host":   {"GET", "anything.example", "/crl/clients-1/3.crl", 200, ""},
		"one of our hosts":            {"GET", "PW.Example.com.:80", "/a?b=c", 302, "https://pw.example.com:8443/a?b=c"},
		"a host that is not ours":     {"GET", "evil.example", "/", 404, ""},
		"an address of ours":          {"GET", "[::1]:80", "/x", 302, "https://[::1]:8443/x"},
		"a form sent in clear":        {"POST", "pw.example.com", "/login", 403, ""},
		"a path that begins like one": {"GET", "pw.example.com", "/ocspx", 302, "https://pw.example.com:8443/ocspx"},
		"a path that leads elsewhere": {"GET", "pw.example.com", "//evil.example/", 302, "https://pw.example.com:8443//evil.example/"},
	} {
		r, err := http.NewRequest(c.method, "http://"+l.Addr().String()+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = c.host
		res, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != c.status || res.Header.Get("Location") != c.to {
			t.Errorf("%s: %d to %q", sentence, res.StatusCode, res.Header.Get("Location"))
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
