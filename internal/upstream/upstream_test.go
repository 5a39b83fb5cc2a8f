package upstream

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/refusal"
)

// refused collects what a handler reported.
type refused struct {
	mu   sync.Mutex
	list []string
}

func (f *refused) answer(w http.ResponseWriter, _ *http.Request, code refusal.Code, detail string) {
	f.mu.Lock()
	f.list = append(f.list, string(code)+": "+detail)
	f.mu.Unlock()
	http.Error(w, detail, refusal.Lookup(code).Status)
}

func (f *refused) all() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.list, "\n")
}

// door serves the upstream spec as the gateway does and returns its address.
func door(t testing.TB, spec string, o Options) (*httptest.Server, *refused) {
	t.Helper()
	u, err := New(spec, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.CloseIdle)
	f := new(refused)
	forward := u.Handler(f.answer)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header["X-Postern-Identity"] = []string{"ben/phone"}
		r.Header["X-Forwarded-For"] = []string{"192.0.2.7"}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	return front, f
}

// The clients of these tests have a transport of their own: httptest closes the
// idle connections of the default one whenever any server of any test closes.
func init() { http.DefaultClient.Transport = http.DefaultTransport.(*http.Transport).Clone() }

func get(t testing.TB, url string) (int, string) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// echo answers with the request target as it arrived.
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.RequestURI) })

func TestWhatIsNoUpstreamIsRefusedWithAHint(t *testing.T) {
	for name, c := range map[string]struct{ spec, hint string }{
		"nothing":                   {"", "write http://HOST:PORT"},
		"a word":                    {"localhost", "write http://HOST:PORT"},
		"no scheme":                 {"127.0.0.1:8080", "write http://HOST:PORT"},
		"another scheme":            {"ftp://localhost", "write http://HOST:PORT"},
		"no host":                   {"http://:8080", "the host is missing"},
		"a path":                    {"http://localhost/app", "leave out what follows the port"},
		"a query":                   {"http://localhost?x", "leave out what follows the port"},
		"a password":                {"http://u:secret@localhost", "leave out what stands before '@'"},
		"a password that is no URL": {"http://u:secret%zz@localhost", "write http://HOST:PORT"},
		"port 0":                    {"http://localhost:0", "1 to 65535"},
		"a port too high":           {"http://localhost:99999", "1 to 65535"},
		"a relative socket":         {"unix:app.sock", "unix:/run/app.sock"},
		"a socket without one":      {"unix:", "unix:/run/app.sock"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(c.spec, Options{})
			if err == nil || !strings.Contains(err.Error(), c.hint) {
				t.Fatalf("New(%q) = %v, want a hint %q", c.spec, err, c.hint)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Fatalf("the error shows a password: %v", err)
			}
		})
	}
}

func FuzzNewReturnsWhatItWasGiven(f *testing.F) {
	for _, s := range []string{"http://localhost:8080", "https://[::1]", "unix:/run/x", "h2c://a:1/", "http://a%zz", "unix:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		u, err := New(spec, Options{})
		if err != nil {
			return
		}
		if u.String() != spec {
			t.Fatalf("%q prints as %q", spec, u)
		}
		if u.dialer.address == "" || strings.HasPrefix(u.dialer.address, ":") {
			t.Fatalf("%q dials %q", spec, u.dialer.address)
		}
	})
}

func TestAnApplicationIsReachedByEveryKindOfAddress(t *testing.T) {
	plain := httptest.NewServer(echo)
	defer plain.Close()

	secure := httptest.NewTLSServer(echo)
	defer secure.Close()
	roots := secure.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs

	v6 := httptest.NewUnstartedServer(echo)
	var err error
	if v6.Listener, err = net.Listen("tcp", "[::1]:0"); err != nil {
		t.Fatal(err)
	}
	v6.Start()
	defer v6.Close()

	sock := filepath.Join(t.TempDir(), "app.sock")
	unix := httptest.NewUnstartedServer(echo)
	if unix.Listener, err = net.Listen("unix", sock); err != nil {
		t.Fatal(err)
	}
	unix.Start()
	defer unix.Close()

	h2 := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("h2c was reached by %s", r.Proto)
		}
		echo(w, r)
	}))
	h2.Config.Protocols = new(http.Protocols)
	h2.Config.Protocols.SetUnencryptedHTTP2(true)
	h2.Start()
	defer h2.Close()

	for name, spec := range map[string]string{
		"http":                  plain.URL,
		"http with a slash":     plain.URL + "/",
		"https":                 secure.URL,
		"an IPv6 literal":       "http://" + v6.Listener.Addr().String(),
		"a socket":              "unix:" + sock,
		"a socket as URL":       "unix://" + sock,
		"HTTP/2 without TLS":    "h2c://" + h2.Listener.Addr().String(),
		"upper case and a port": strings.Replace(plain.URL, "http", "HTTP", 1),
	} {
		t.Run(name, func(t *testing.T) {
			front, f := door(t, spec, Options{Roots: roots})
			for range 3 {
				if status, body := get(t, front.URL+"/a?b=c"); status != 200 || body != "/a?b=c" {
					t.Fatalf("%d %q %s", status, body, f.all())
				}
			}
		})
	}
}

func TestTheEnvironmentNamesNoProxy(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	app := httptest.NewServer(echo)
	defer app.Close()
	front, f := door(t, app.URL, Options{})
	if status, _ := get(t, front.URL); status != 200 {
		t.Fatal(status, f.all())
	}
	u, err := New("h2c://app.example.com", Options{})
	if err != nil || u.transport.Proxy != nil {
		t.Fatal("a proxy could be used", err)
	}
}

func TestConnectionsAreKeptAndUsedAgain(t *testing.T) {
	app := httptest.NewUnstartedServer(echo)
	opened := make(chan struct{}, 100)
	app.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened <- struct{}{}
		}
	}
	app.Start()
	defer app.Close()
	front, _ := door(t, app.URL, Options{})
	for range 20 {
		get(t, front.URL)
	}
	if n := len(opened); n != 1 {
		t.Fatalf("20 requests took %d connections", n)
	}
}

func TestWhoIsToBlameIsSaid(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()

	stuck := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(stuck.Close)

	mute, err := net.Listen("tcp", "127.0.0.1:0") // accepts by its backlog and says nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mute.Close() })

	babble := talker(t, "SSH-2.0-OpenSSH_9.9\r\n")
	huge := talker(t, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 2<<20))
	switched := talker(t, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
	secure := httptest.NewTLSServer(echo)
	t.Cleanup(secure.Close)

	for name, c := range map[string]struct {
		spec   string
		status int
		report []string
	}{
		"nobody listens":                {"http://" + dead.Addr().String(), 502, []string{"upstream-down", dead.Addr().String(), "connection refused"}},
		"no such socket":                {"unix:/nonexistent/app.sock", 502, []string{"upstream-down", "/nonexistent/app.sock", "no such file"}},
		"no such host":                  {"http://nothing.invalid:80", 502, []string{"upstream-down", "nothing.invalid:80"}},
		"an answer that does not begin": {stuck.URL, 504, []string{"upstream-timeout", stuck.Listener.Addr().String()}},
		"a handshake that hangs":        {"https://" + mute.Addr().String(), 502, []string{"upstream-down", "TLS handshake"}},
		"a certificate of nobody":       {secure.URL, 502, []string{"upstream-down", "TLS handshake", "unknown authority"}},
		"another protocol":              {"http://" + babble, 502, []string{"upstream-down", "malformed HTTP"}},
		"a header without end":          {"http://" + huge, 502, []string{"upstream-down", "exceeded"}},
		"a switch nobody asked for":     {"http://" + switched, 502, []string{"upstream-down", `"h2c"`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := Options{ResponseHeaderTimeout: 2 * time.Second}
			if name == "a handshake that hangs" {
				o.DialTimeout = 200 * time.Millisecond
			}
			front, f := door(t, c.spec, o)
			status, _ := get(t, front.URL)
			if status != c.status {
				t.Errorf("status %d, want %d", status, c.status)
			}
			for _, part := range c.report {
				if !strings.Contains(f.all(), part) {
					t.Errorf("the report does not say %q: %s", part, f.all())
				}
			}
		})
	}
}

// talker says one thing to whoever connects, and returns its address.
func talker(t *testing.T, text string) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				c.Read(make([]byte, 4096))
				io.WriteString(c, text)
				io.Copy(io.Discard, c)
			}()
		}
	}()
	return ln.Addr().String()
}

func TestAClientThatLeavesIsNobodysRefusal(t *testing.T) {
	arrived, cancelled := make(chan struct{}), make(chan struct{})
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
		close(cancelled)
	}))
	defer app.Close()
	front, f := door(t, app.URL, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", front.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() { <-arrived; cancel() }()
	if _, err := http.DefaultClient.Do(req); err == nil {
		t.Fatal("an answer came")
	}
	select {
	case <-cancelled:
	case <-time.After(5 * time.Second):
		t.Fatal("the application was not told")
	}
	if f.all() != "" {
		t.Fatalf("reported: %s", f.all())
	}
}

func TestABodyThatIsNoHTTPIsTheClientsFault(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
	defer app.Close()
	front, f := door(t, app.URL, Options{})
	c := dial(t, front)
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n")
	answer := make([]byte, 12)
	if _, err := io.ReadFull(c, answer); err != nil || string(answer) != "HTTP/1.1 400" {
		t.Fatalf("%q %v; %s", answer, err, f.all())
	}
	if !strings.HasPrefix(f.all(), "bad-request: request body: ") {
		t.Fatal(f.all())
	}
}

func dial(t testing.TB, s *httptest.Server) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(60 * time.Second))
	return c
}
