package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/upstream"
)

// forged are the fields that nobody outside may send.
var forged = []string{
	"X-Postern-Identity", "X-Postern-Serial", "X-Postern-Groups", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host",
	"X-Forwarded-Proto", "X-Forwarded-Client-Cert", "X-Forwarded-User", "X-Real-IP", "X-Original-URL", "X-Rewrite-URL",
	"X-HTTP-Method-Override", "X-Client-Cert", "X-Client-DN", "X-Client-Verify", "Client-Cert", "Client-Cert-Chain",
	"X-SSL-Client-Cert", "X-SSL-Client-Verify", "SSL-Client-Cert", "Remote-User", "X-Remote-User", "X-WebAuth-User", "X-Auth-Request-User", "Proxy",
	"Cf-Connecting-Ip", "Cf-Access-Authenticated-User-Email", "Fastly-Client-Ip", "X-Ms-Client-Principal", "X-Ms-Client-Principal-Name",
	"X-Goog-Authenticated-User-Email", "X-Goog-Iap-Jwt-Assertion", "X-Pomerium-Claim-Email", "X-Pomerium-Jwt-Assertion", "X-Auth-User",
	"X-Auth-Email", "Auth-User", "X-Email", "X-User", "X-User-Email", "X-Username", "X-Token-Subject", "X-Remote-Groups",
}

// spellings returns the ways to write a field's name that some application
// takes for it.
func spellings(name string) []string {
	list := []string{name, strings.ToLower(name), strings.ToUpper(name)}
	for _, sep := range []string{"_", "."} {
		folded := strings.ReplaceAll(name, "-", sep)
		list = append(list, folded, strings.ToUpper(folded), strings.ToLower(folded))
		list = append(list, strings.Replace(name, "-", sep, 1)) // only one of them
	}
	return list
}

// fold does what CGI, WSGI and PHP do to a name.
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == '.' || r == ' ' {
			return '_'
		}
		return r
	}, strings.ToUpper(name))
}

func TestNoSpellingOfAForgedFieldSurvives(t *testing.T) {
	for _, name := range forged {
		for _, s := range spellings(name) {
			r := &http.Request{Header: http.Header{s: {"eve", "mallory\xff"}, "Accept": {"*/*"}}, Trailer: http.Header{s: nil, "X-Sum": nil}}
			stripRequest(r)
			if len(r.Header) != 1 || len(r.Trailer) != 1 {
				t.Errorf("%s: %v, trailers %v are left", s, r.Header, r.Trailer)
			}
		}
	}
}

func TestReservedInitialsAreThoseOfTheReservedFields(t *testing.T) {
	for _, name := range append(reservedNames[:], reservedPrefixes[:]...) {
		if !strings.Contains(reservedInitials, name[:1]) || !reserved(name) {
			t.Errorf("%s is let through", name)
		}
	}
}

func TestUsualFieldsSurvive(t *testing.T) {
	usual := []string{
		"Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Cache-Control", "Content-Length", "Content-Type",
		"Content-Encoding", "Cookie", "Origin", "Referer", "Range", "If-None-Match", "Sec-Fetch-Site", "Sec-Websocket-Key", "Upgrade-Insecure-Requests",
		"User-Agent", "X-Csrf-Token", "X-Requested-With", "X-Api-Key", "Te", "Traceparent", "Priority", "Save-Data", "Prefer", "Hx-Request", "Restic-Token", "Svix-Id",
		"Access-Control-Request-Method", "Age", "Authority", "X-Auth-Token", "X-Gitlab-Token", "X-Emby-Token", "X-Plex-Token", "X-Vault-Token",
		"X-Ms-Version", "X-Amz-Date", "X-Total-Count", "X-Goofy", "X-Use-Cache", "X-Request-Id", "X-Correlation-Id", "Cfg", "X-Authority",
	}
	h := http.Header{}
	for _, name := range usual {
		h[name] = []string{"v"}
	}
	stripRequest(&http.Request{Header: h})
	for _, name := range usual {
		if h[name] == nil {
			t.Errorf("%s was dropped", name)
		}
	}
}

func TestConnectionNamesOnlyWhatMayGo(t *testing.T) {
	for name, c := range map[string]struct {
		connection []string
		want       string // of Connection
		kept, gone []string
	}{
		"nothing":                {nil, "", []string{"X-Mine", "Cookie"}, nil},
		"keep-alive":             {[]string{"keep-alive"}, "", []string{"X-Mine", "Cookie"}, []string{"Keep-Alive"}},
		"its own field":          {[]string{"close, x-mine"}, "", []string{"Cookie"}, []string{"X-Mine"}},
		"an upgrade":             {[]string{"Upgrade"}, "Upgrade", []string{"Upgrade"}, nil},
		"an upgrade and a trick": {[]string{"keep-alive", "upgrade, X-Postern-Identity"}, "Upgrade", []string{"Upgrade", "Cookie"}, nil},
		"fields of the request":  {[]string{"Cookie, Content-Length, Authorization, Host"}, "", []string{"Cookie", "Content-Length"}, nil},
		"nonsense":               {[]string{", ,,\t"}, "", []string{"Cookie"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			h := http.Header{"X-Mine": {"1"}, "Cookie": {"c"}, "Content-Length": {"3"}, "Upgrade": {"websocket"}, "Keep-Alive": {"5"}}
			if c.connection != nil {
				h["Connection"] = c.connection
			}
			stripRequest(&http.Request{Header: h})
			setIdentity(h, "ben/phone", "0a", "192.0.2.7:5", "pw.example.com")
			if h.Get("Connection") != c.want || h.Get("X-Postern-Identity") != "ben/phone" {
				t.Errorf("%v", h)
			}
			for _, f := range c.kept {
				if h[f] == nil {
					t.Errorf("%s was lost", f)
				}
			}
			for _, f := range c.gone {
				if h[f] != nil {
					t.Errorf("%s stayed", f)
				}
			}
		})
	}
}

func TestTheGatewayWritesItsOwnFields(t *testing.T) {
	for name, c := range map[string]struct {
		name, address string
		want          http.Header
	}{
		"somebody": {"ben/phone", "[2001:db8::7]:1234", http.Header{
			"X-Postern-Identity": {"ben/phone"}, "X-Postern-Serial": {"0a"},
			"X-Forwarded-For": {"2001:db8::7"}, "X-Forwarded-Host": {"h"}, "X-Forwarded-Proto": {"https"}}},
		"a stranger": {"", "192.0.2.7", http.Header{
			"X-Forwarded-For": {"192.0.2.7"}, "X-Forwarded-Host": {"h"}, "X-Forwarded-Proto": {"https"}}},
	} {
		t.Run(name, func(t *testing.T) {
			h := http.Header{"X-Postern-Identity": {"eve"}, "X-Postern-Serial": {"1"}}
			setIdentity(h, c.name, "0a", c.address, "h")
			if fmt.Sprint(h) != fmt.Sprint(c.want) {
				t.Errorf("%v, want %v", h, c.want)
			}
		})
	}
}

// Every forged field in every spelling, as field, as trailer and named by
// Connection, to a real server and through a real upstream: what an
// application that folds names sees is the gateway's alone.
func TestAForgerReachesNoApplication(t *testing.T) {
	type view struct{ header, trailer http.Header }
	got := make(chan view, 1)
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		got <- view{r.Header, r.Trailer}
	}))
	defer app.Close()
	up, err := upstream.New(app.URL, upstream.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer up.CloseIdle()
	forward := up.Handler(answerPlainly)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		stripRequest(r)
		name := "ben/phone"
		if r.URL.Path == "/stranger" {
			name = ""
		}
		setIdentity(r.Header, name, "0a", "192.0.2.7:1", "pw.example.com")
		forward.ServeHTTP(w, r)
	}))
	defer front.Close()
	for _, path := range []string{"/", "/stranger"} {
		for _, name := range forged {
			for _, s := range spellings(name) {
				c, err := net.Dial("tcp", front.Listener.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				c.SetDeadline(time.Now().Add(10 * time.Second))
				fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n%s: eve\r\n%s: mallory\r\nConnection: %s, close\r\nTrailer: %s\r\n\r\n0\r\n%s: eve\r\nX-Postern-Identity: eve\r\n\r\n", path, s, s, s, s, s)
				if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
					t.Fatal(err)
				}
				c.Close()
				checkView(t, path+" "+s, got)
			}
		}
	}
}

func checkView[V interface {
	~struct{ header, trailer http.Header }
}](t *testing.T, what string, got <-chan V) {
	t.Helper()
	select {
	case v := <-got:
		view := struct{ header, trailer http.Header }(v)
		if len(view.trailer) > 0 {
			t.Errorf("%s: trailers %v arrived", what, view.trailer)
		}
		folded := map[string][]string{}
		for name, values := range view.header {
			folded[fold(name)] = append(folded[fold(name)], values...)
		}
		for name, values := range folded {
			if strings.Contains(fmt.Sprint(values), "eve") || strings.Contains(fmt.Sprint(values), "mallory") {
				t.Errorf("%s: the application sees %s: %q", what, name, values)
			}
		}
		want := []string{"ben/phone"}
		if strings.HasPrefix(what, "/stranger") {
			want = nil
		}
		if fmt.Sprint(folded["X_POSTERN_IDENTITY"]) != fmt.Sprint(want) {
			t.Errorf("%s: the identity is %q", what, folded["X_POSTERN_IDENTITY"])
		}
	case <-time.After(5 * time.Second):
		t.Fatalf("%s: nothing arrived", what) // the server refused it, which the status would say
	}
}

func FuzzStripRequest(f *testing.F) {
	f.Add("X_Postern.Identity", "close, x-forwarded-for")
	f.Add("x-REAL-ip", "upgrade")
	f.Fuzz(func(t *testing.T, name, connection string) {
		h := http.Header{name: {"eve"}, "Connection": {connection}}
		stripRequest(&http.Request{Header: h})
		for kept := range h {
			for _, bad := range forged {
				if fold(kept) == fold(bad) {
					t.Fatalf("%q went through as %q", name, kept)
				}
			}
		}
		if c := h.Get("Connection"); c != "" && c != "Upgrade" {
			t.Fatalf("Connection: %q", c)
		}
	})
}

func BenchmarkStripRequest(b *testing.B) {
	base := http.Header{}
	for _, name := range []string{"Accept", "Accept-Encoding", "Accept-Language", "Cookie", "User-Agent", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Te", "Referer", "Priority"} {
		base[name] = []string{"v"}
	}
	r := &http.Request{Header: base}
	b.ReportAllocs()
	for b.Loop() {
		stripRequest(r)
	}
}
