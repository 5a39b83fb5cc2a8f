package attack

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"
)

// token returns a new token of somebody for a site.
func (h *house) token(t testing.TB, who, site string) string {
	t.Helper()
	var made struct{ Token string }
	must(t, json.Unmarshal([]byte(h.run(t, "token", "create", who, site, "--json")), &made))
	return made.Token
}

// Where no certificate comes over TCP, who asks is still said by the gateway
// alone: over HTTP/3, by an app's token, in answer to another server, and on
// the doors that know nobody.
//
// OpenShift CVE-2026-46579 and the others of TestForgedIdentity; oauth2-proxy
// CVE-2026-40575 (the forwarded target is believed).
func TestForgedIdentityElsewhere(t *testing.T) {
	t.Parallel()
	h := theHouse(t)
	ben := h.identity(t, "ben/laptop")
	const mark = "mallory-at-another-door"
	forged := func(sentence, who, got string) {
		t.Helper()
		if strings.Contains(got, mark) || strings.Count(got, "\nX-Postern-Identity: ") != 1 || !strings.Contains(got, "\nX-Postern-Identity: "+who+"\r\n") {
			t.Errorf("%s: the application saw\n%s", sentence, got)
		}
	}
	t.Run("HTTP3", func(t *testing.T) {
		const host = "quic.attack.test"
		p := h.overQUIC(t, h.tls(ben, host))
		for _, name := range identityFields {
			for _, s := range spellings(name) {
				s = strings.ToLower(s)
				forged(s, "ben/laptop", p.ask(t, host, "GET", "/", []pair{{s, mark}, {s, "again " + mark}}, ""))
			}
			for _, s := range []string{name, name + " ", " " + name, strings.ToLower(name) + "\x00", "é" + name} { // no names in HTTP/3
				if got := p.ask(t, host, "GET", "/", []pair{{s, mark}}, ""); strings.Contains(got, "HTTP/1.1\r\n") {
					forged(s, "ben/laptop", got)
				}
			}
			if got := p.ask(t, host, "POST", "/", []pair{{"trailer", name}}, "body", pair{strings.ToLower(name), mark}); strings.Contains(got, "HTTP/1.1\r\n") {
				forged("a trailer "+name, "ben/laptop", got)
			}
		}
	})
	t.Run("tokens", func(t *testing.T) {
		const host = "token.attack.test"
		token := h.token(t, "ben/app", host)
		conn, err := h.dial(t, h.tls(nil, host))
		must(t, err)
		r := bufio.NewReader(conn)
		for _, name := range identityFields {
			for _, s := range append(spellings(name), "X-Postern-App-Token-2", "X_Postern_App_Token", "X-Postern.App-Token") {
				for _, request := range []string{
					"GET / HTTP/1.1\r\nHost: " + host + "\r\nX-Postern-App-Token: " + token + "\r\n" + s + ": " + mark + "\r\n" + s + ": again " + mark + "\r\n\r\n",
					"GET /.postern/token/" + token + "/ HTTP/1.1\r\nHost: " + host + "\r\n" + s + ": " + mark + "\r\n\r\n",
					"GET / HTTP/1.1\r\nHost: " + host + "\r\nConnection: " + s + "\r\nX-Postern-App-Token: " + token + "\r\n" + s + ": " + mark + "\r\n\r\n",
				} {
					got := speak(conn, r, request)
					if got.err != nil { // a spelling that is no name
						conn, err = h.dial(t, h.tls(nil, host))
						must(t, err)
						r = bufio.NewReader(conn)
						continue
					}
					if got.status == 200 {
						forged(s, "ben/app", got.body)
					} else if got.status != 400 {
						t.Errorf("%s: %s", s, got)
					}
					if strings.Contains(got.body, token) {
						t.Errorf("the application saw the token:\n%s", got.body)
					}
				}
			}
		}
	})
	t.Run("tokens take turns on a connection", func(t *testing.T) {
		const host = "token.attack.test"
		names := []string{"ben/app", "ben/tv", "ben/radio"}
		tokens := map[string]string{}
		for _, name := range names {
			tokens[name] = h.token(t, name, host)
		}
		conn, err := h.dial(t, h.tls(nil, host))
		must(t, err)
		r := bufio.NewReader(conn)
		f := h.framer(t, h.tls(nil, host))
		for i := range 30 {
			name := names[(i*i+i/2)%len(names)]
			got := speak(conn, r, "GET / HTTP/1.1\r\nHost: "+host+"\r\nX-Postern-App-Token: "+tokens[name]+"\r\n\r\n")
			forged("HTTP/1.1", name, got.body)
			forged("HTTP/2", name, f.ask(t, host, "GET", "/", hpack.HeaderField{Name: "x-postern-app-token", Value: tokens[name]}))
		}
		if got := speak(conn, r, "GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n"); got.String() != "no-certificate" {
			t.Errorf("without a token, after others with one: %s", got)
		}
		if got := f.ask(t, host, "GET", "/"); got != "" {
			t.Errorf("without a token over HTTP/2, after others with one: %s", got)
		}
	})
	t.Run("forward auth", func(t *testing.T) {
		conn, err := net.Dial("unix", filepath.Join(h.home, "auth.sock"))
		must(t, err)
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(time.Minute))
		r := bufio.NewReader(conn)
		ask := func(uri, certificate, more string) answer {
			t.Helper()
			if certificate != "" {
				certificate = "X-Client-Cert: " + certificate + "\r\n"
			}
			return speak(conn, r, "GET /verify HTTP/1.1\r\nHost: x\r\nX-Forwarded-Host: parts.attack.test\r\nX-Forwarded-Method: GET\r\nX-Forwarded-Uri: "+uri+"\r\n"+certificate+more+"\r\n")
		}
		shown := url.PathEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ben.Certificate[0]})))
		if got := ask("/", shown, ""); got.String() != "200" {
			t.Fatalf("an honest question: %s", got)
		}
		for _, name := range append(identityFields, "X-Postern-Code", "X-Client-Certificate") {
			for _, s := range spellings(name) {
				if strings.ContainsAny(s, "~") {
					continue
				}
				if got := ask("/", "", s+": anna/phone\r\n"); got.String() != "no-certificate" {
					t.Errorf("nobody, with %s: %s", s, got)
				}
				if got := ask("/admin/", shown, s+": anna/phone\r\n"); got.String() != "not-on-list" {
					t.Errorf("somebody who may not, with %s: %s", s, got)
				}
			}
		}
		for _, s := range []string{"X_Client_Cert", "X-Client_Cert", "X.Client.Cert", "HTTP_X_CLIENT_CERT", "X-Forwarded-Tls-Client-Cert", "X-SSL-Client-Cert"} {
			if got := ask("/", "", s+": "+shown+"\r\n"); got.String() != "no-certificate" {
				t.Errorf("a certificate in %s: %s", s, got)
			}
		}
		for sentence, more := range map[string]string{
			"a second host":   "X-Forwarded-Host: open.attack.test\r\n",
			"a second target": "X-Forwarded-Uri: /open/\r\n",
			"a second method": "X-Forwarded-Method: GET\r\n",
			"a second person": "X-Client-Cert: " + shown + "\r\n",
		} {
			if got := ask("/admin/", shown, more); got.String() != "bad-request" {
				t.Errorf("%s: %s", sentence, got)
			}
		}
		for _, uri := range []string{"/open/../admin/", "/open/%2e%2e/admin/", "/open/..;/admin/", "//admin/", "/open%2f../admin/", "/.postern/renew", "https://open.attack.test/open/", "admin", "/open/#/../admin/", "/%61dmin/"} {
			if got := ask(uri, shown, ""); got.err == nil && got.status < 400 && !strings.HasPrefix(uri, "/open/#") {
				t.Errorf("%s: %s", uri, got)
			}
		}
	})
	for side, at := range map[string]string{"plain": h.plain, "public": h.public} {
		t.Run(side, func(t *testing.T) {
			for _, host := range []string{"ben.attack.test", "open.attack.test", "parts.attack.test", "hidden.attack.test", "quic.attack.test", strings.Split(h.plain, ":")[0]} {
				for _, path := range []string{"/", "/admin/", "/.postern/renew", "/.postern/health", "/v1/issue", "/verify", "/.well-known/acme-challenge/x", "/.well-known/acme-challenge/../../admin/"} {
					var fields strings.Builder
					for _, name := range identityFields {
						fmt.Fprintf(&fields, "%s: %s\r\n", name, mark)
					}
					raw, err := net.Dial("tcp", at)
					must(t, err)
					raw.SetDeadline(time.Now().Add(time.Minute))
					conn := raw
					if side == "public" {
						conn = tls.Client(raw, &tls.Config{InsecureSkipVerify: true, ServerName: host})
					}
					got := speak(conn, bufio.NewReader(conn), "GET "+path+" HTTP/1.1\r\nHost: "+host+"\r\n"+fields.String()+"\r\n")
					if strings.Contains(got.body, mark) || strings.Contains(got.body, "HTTP/1.1\r\n") {
						t.Errorf("%s%s: %s\n%s", host, path, got, got.body)
					}
					raw.Close()
				}
			}
		})
	}
	t.Run("plain, and elsewhere", func(t *testing.T) {
		for _, target := range []string{"/a", "x:@evil.test/", "x:.evil.test/", "http:@evil.test/", "http://evil.test/", "//evil.test/", "/\\evil.test", "/a\r\nLocation: https://evil.test", "*", "http://ben.attack.test@evil.test/"} {
			for _, host := range []string{"ben.attack.test", "ben.attack.test@evil.test", "evil.test", "ben.attack.test:80@evil.test", "ben.attack.test.evil.test", "ben.attack.test/../evil.test", "127.0.0.1"} {
				raw, err := net.Dial("tcp", h.plain)
				must(t, err)
				raw.SetDeadline(time.Now().Add(time.Minute))
				fmt.Fprintf(raw, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, host)
				resp, err := http.ReadResponse(bufio.NewReader(raw), nil)
				raw.Close()
				if err != nil {
					continue
				}
				_, port, err := net.SplitHostPort(h.addr)
				must(t, err)
				to := resp.Header.Get("Location")
				own := strings.HasPrefix(to, "https://ben.attack.test:"+port+"/") || strings.HasPrefix(to, "https://127.0.0.1:"+port+"/")
				if len(resp.Header["Location"]) > 1 || to != "" && !own || (target == "/a" && host == "ben.attack.test") != own && target == "/a" && host != "127.0.0.1" {
					t.Errorf("%q for %q: %s to %q", target, host, resp.Status, to)
				}
			}
		}
	})
	for _, r := range h.app.saw(mark) {
		t.Errorf("the application saw\n%s", r.head)
	}
}
