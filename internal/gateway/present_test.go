package gateway

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// told is a site's handler that keeps the fields of the last request.
type told struct{ atomic.Pointer[http.Header] }

func (a *told) ServeHTTP(_ http.ResponseWriter, r *http.Request) { a.Store(new(r.Header.Clone())) }

// An application is told who asks in the forms that its site names.
func TestTheFormsOfAnIdentity(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	app := &told{}
	var signed atomic.Int32
	now := time.Now()
	var later atomic.Int64
	h := w.open(Options{
		Now: func() time.Time { return now.Add(time.Duration(later.Load())) },
		Assert: func(a Assertion) (string, error) {
			signed.Add(1)
			return "token for " + a.Client.Name.String() + " at " + a.Host, nil
		},
	}, Site{Host: "a.example.com", List: allow(t, "enrolled", "strangers"), Handler: app, Identity: forms})
	ben := w.enrol("ben/laptop")
	c := client(t, h.addr, w.clientTLS(ben, "a.example.com"))
	for range 3 {
		fetch(t, c, "https://a.example.com/")
	}
	got := *app.Load()
	sequence := func(v string) []byte {
		der, err := base64.StdEncoding.DecodeString(strings.Trim(v, ":"))
		if err != nil || !strings.HasPrefix(v, ":") || !strings.HasSuffix(v, ":") {
			t.Errorf("%q is no byte sequence of RFC 8941", v)
		}
		return der
	}
	if v := got["Client-Cert"]; len(v) != 1 || !bytes.Equal(sequence(v[0]), ben.Leaf.Raw) {
		t.Errorf("Client-Cert: %q", v)
	}
	if v := got["Client-Cert-Chain"]; len(v) != 1 || !bytes.Equal(sequence(v[0]), w.clients.cert.Raw) {
		t.Errorf("Client-Cert-Chain: %q", v)
	}
	hash := sha256.Sum256(ben.Leaf.Raw)
	if v := got.Get("X-Forwarded-Client-Cert"); v != "Hash="+hex.EncodeToString(hash[:])+`;Subject="CN=ben/laptop";URI=spiffe://example.com/ben/laptop` {
		t.Errorf("X-Forwarded-Client-Cert: %q", v)
	}
	if v := got.Get("Forwarded"); v != "for=127.0.0.1;host=a.example.com;proto=https" {
		t.Errorf("Forwarded: %q", v)
	}
	if v := got.Get("X-Postern-Token"); v != "token for ben/laptop at a.example.com" || signed.Load() != 1 {
		t.Errorf("X-Postern-Token: %q, signed %d times", v, signed.Load())
	}
	later.Store(int64(tokenFresh))
	if fetch(t, c, "https://a.example.com/"); signed.Load() != 2 {
		t.Errorf("a token that is not fresh is sent again")
	}
	h.get(nil, "a.example.com", "/")
	for _, name := range []string{"Client-Cert", "Client-Cert-Chain", "X-Forwarded-Client-Cert", "X-Postern-Token", "X-Postern-Identity"} {
		if v, ok := (*app.Load())[name]; ok {
			t.Errorf("of a stranger it is said: %s: %q", name, v)
		}
	}
}

// What comes from outside in any form, however spelled, is dropped: where the
// form is used, where it is not, and where nobody is authenticated
// (CVE-2026-46579, Traefik PR 13260, Caddy CVE-2026-30851).
func TestNoFormCanBeForged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	app := &told{}
	h := w.open(Options{Assert: func(Assertion) (string, error) { return "true", nil }},
		Site{Host: "all.example.com", List: allow(t, "enrolled", "strangers"), Handler: app, Identity: forms},
		Site{Host: "none.example.com", List: allow(t, "enrolled", "strangers"), Handler: app})
	ben := w.enrol("ben")
	for _, host := range []string{"all.example.com", "none.example.com"} {
		for _, d := range []*device{nil, ben} {
			for _, protocol := range []string{"http/1.1", "h2"} {
				config := w.clientTLS(d, host)
				config.NextProtos = []string{protocol}
				c := client(t, h.addr, config)
				req, err := http.NewRequest("GET", "https://"+host+"/", nil)
				must(t, err)
				for _, name := range []string{"Client-Cert", "Client-Cert-Chain", "X-Forwarded-Client-Cert", "X-Postern-Token", "Forwarded"} {
					for _, s := range spellings(name) {
						req.Header[s] = []string{"forged", "forged twice"}
					}
				}
				req.Header["Connection"] = []string{"Client-Cert, X-Postern-Token, Forwarded, x-forwarded-client-cert"}
				if protocol == "h2" {
					req.Header.Del("Connection")
				}
				resp, err := c.Do(req)
				must(t, err)
				read(t, resp)
				for name, values := range *app.Load() {
					if strings.Contains(strings.Join(values, " "), "forged") {
						t.Errorf("%s, %s, certificate %v: %s: %q", host, protocol, d != nil, name, values)
					}
				}
				if host == "all.example.com" && d != nil && app.Load().Get("X-Postern-Token") != "true" {
					t.Errorf("%s: a forgery cost the application the truth", protocol)
				}
			}
		}
	}
}

// An application that is to be told by a signature gets no request without one.
func TestNoRequestWithoutItsToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	app := &told{}
	ben := w.enrol("ben")
	for _, assert := range []func(Assertion) (string, error){nil, func(Assertion) (string, error) { return "", errors.New("the disk is full") }} {
		h := w.open(Options{Assert: assert}, Site{Host: "a.example.com", List: allow(t, "enrolled"), Handler: app, Identity: []Form{FormJWT}})
		if resp, body := h.get(ben, "a.example.com", "/"); resp.StatusCode != 503 || !strings.Contains(body, "not-configured") || app.Load() != nil {
			t.Errorf("%d %s", resp.StatusCode, body)
		}
	}
}

// A subject cannot break out of its quotes in X-Forwarded-Client-Cert.
func TestQuotesInXFCC(t *testing.T) {
	w := newWorld(t)
	template := clientTemplate("ben")
	template.Subject.CommonName = "a\";URI=spiffe://example.com/owner;Hash=0\\\r\n"
	d := w.mint(w.clients, template)
	got := xfcc(Client{Certificate: d.Leaf})
	inside := got[strings.Index(got, `Subject="`)+len(`Subject="`):]
	for i := 0; i < len(inside); i++ {
		if inside[i] == '\\' {
			i++
			continue
		}
		if inside[i] == '"' {
			if rest := inside[i:]; rest != `";URI=spiffe://example.com/ben` {
				t.Fatalf("after the subject: %q", rest)
			}
			return
		}
	}
	t.Fatalf("no end of the subject in %q", got)
}

func FuzzForwarded(f *testing.F) {
	f.Add("192.0.2.7:1", "a.example.com")
	f.Add("[fd00::1]:1", "a.example.com:8443")
	f.Fuzz(func(t *testing.T, address, host string) {
		if u, err := url.Parse("https://" + host); err != nil || u.Host != host || strings.ContainsAny(host, "\"\\;, =") {
			return // the gateway's own spelling of its site
		}
		if strings.ContainsAny(address, "\"\\;, =") {
			return
		}
		if got := forwarded(address, host); strings.Count(got, ";") != 2 || strings.Count(got, `"`)%2 != 0 {
			t.Errorf("%q", got)
		}
	})
}
