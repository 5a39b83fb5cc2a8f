package upstream

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestAQueryArrivesByteForByte(t *testing.T) {
	app := httptest.NewServer(echo)
	defer app.Close()
	front, _ := door(t, app.URL, Options{})
	for name, query := range map[string]string{
		"usual":                      "?a=1&b=2",
		"empty":                      "?",
		"none":                       "",
		"semicolons":                 "?a=1;b=2",
		"a lone percent":             "?q=100%",
		"a bad percent":              "?q=%zz",
		"encoded as the client did":  "?q=%41+b%20c",
		"a question mark":            "?a=?",
		"more than 10000 parameters": "?" + strings.Repeat("a&", 10_001),
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, front)
			io.WriteString(c, "GET /p"+query+" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			if body, _ := io.ReadAll(res.Body); string(body) != "/p"+query {
				t.Fatalf("sent %.60q, arrived %.60q", "/p"+query, body)
			}
		})
	}
}

// seen asks through a front with a raw request and returns the header fields
// that reached the application.
func seen(t *testing.T, raw string) http.Header {
	t.Helper()
	got := make(chan http.Header, 10)
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		h := r.Header.Clone()
		h.Set("Host", r.Host)
		got <- h
	}))
	defer app.Close()
	front, _ := door(t, app.URL, Options{})
	c := dial(t, front)
	io.WriteString(c, raw)
	if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
		t.Fatal(err)
	}
	return <-got
}

func TestNoTrickOfConnectionLosesTheGatewaysFields(t *testing.T) {
	for name, connection := range map[string]string{
		"as it is":         "Connection: X-Postern-Identity, X-Forwarded-For",
		"lower case":       "Connection: x-postern-identity,x-forwarded-for",
		"on several lines": "Connection: keep-alive\r\nConnection: X-POSTERN-IDENTITY\r\nConnection: X-Forwarded-For",
		"with an upgrade":  "Upgrade: websocket\r\nConnection: Upgrade, X-Postern-Identity, x-forwarded-for",
	} {
		t.Run(name, func(t *testing.T) {
			h := seen(t, "GET / HTTP/1.1\r\nHost: pw.example.com\r\n"+connection+"\r\n\r\n")
			if h.Get("X-Postern-Identity") != "ben/phone" || h.Get("X-Forwarded-For") != "192.0.2.7" {
				t.Fatal(h)
			}
			if h.Get("Host") != "pw.example.com" {
				t.Fatalf("Host is %q", h.Get("Host"))
			}
		})
	}
}

func TestHopByHopFieldsStayOnTheirHop(t *testing.T) {
	h := seen(t, "GET / HTTP/1.1\r\nHost: a\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nProxy-Authorization: x\r\n"+
		"TE: trailers, deflate\r\nConnection: X-Mine\r\nX-Mine: 1\r\nX-Other: 2\r\n\r\n")
	for _, name := range []string{"Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "Connection", "X-Mine", "Upgrade", "User-Agent", "Accept-Encoding"} {
		if v, ok := h[name]; ok {
			t.Errorf("%s: %q went through", name, v)
		}
	}
	if h.Get("Te") != "trailers" || h.Get("X-Other") != "2" {
		t.Fatal(h)
	}
}

func TestOnlyWebSocketIsAnUpgrade(t *testing.T) {
	for name, c := range map[string]struct {
		method, upgrade string
		passes          bool
	}{
		"websocket":                   {"GET", "websocket", true},
		"in capitals":                 {"GET", "WebSocket", true},
		"HTTP/2, which nobody judges": {"GET", "h2c", false},
		"a list":                      {"GET", "websocket, h2c", false},
		"twice":                       {"GET", "websocket\r\nUpgrade: h2c", false},
		"TLS":                         {"GET", "TLS/1.2", false},
		"with a body":                 {"POST", "websocket", false},
	} {
		t.Run(name, func(t *testing.T) {
			h := seen(t, c.method+" / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: "+c.upgrade+"\r\nHTTP2-Settings: AA\r\n\r\n")
			if passed := h.Get("Upgrade") != ""; passed != c.passes || h.Get("Http2-Settings") != "" {
				t.Fatal(h)
			}
		})
	}
}

func TestBodiesAreNotUnpacked(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write([]byte("hello"))
	z.Close()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if v := r.Header.Get("Accept-Encoding"); v != "gzip;q=0.5" {
			t.Errorf("the application is told %q", v)
		}
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(packed.Bytes())
	}))
	defer app.Close()
	front, _ := door(t, app.URL, Options{})
	req, _ := http.NewRequest("GET", front.URL, nil)
	req.Header.Set("Accept-Encoding", "gzip;q=0.5")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); !bytes.Equal(body, packed.Bytes()) || res.Header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("%q %v", body, res.Header)
	}
}

func TestEventsArriveWhileTheAnswerGoesOn(t *testing.T) {
	for name, kind := range map[string]string{"server-sent events": "text/event-stream", "a stream of unknown length": "application/x-ndjson"} {
		t.Run(name, func(t *testing.T) {
			next := make(chan struct{})
			app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", kind)
				for range 3 {
					io.WriteString(w, "data: x\n\n")
					w.(http.Flusher).Flush()
					<-next
				}
			}))
			defer app.Close()
			front, _ := door(t, app.URL, Options{})
			res, err := http.Get(front.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			event := make([]byte, 9)
			for range 3 {
				if _, err := io.ReadFull(res.Body, event); err != nil || string(event) != "data: x\n\n" {
					t.Fatalf("%q %v", event, err)
				}
				next <- struct{}{} // the application waits until the event is here
			}
		})
	}
}

func TestAnUploadIsReadNoFasterThanTheApplicationReads(t *testing.T) {
	release := make(chan struct{})
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-release
		n, err := io.Copy(io.Discard, r.Body)
		if n != 64<<20 || err != nil {
			t.Errorf("%d bytes arrived, %v", n, err)
		}
	}))
	defer app.Close()
	front, f := door(t, app.URL, Options{})
	var sent atomic.Int64
	done := make(chan error, 1)
	go func() {
		res, err := http.Post(front.URL, "application/octet-stream", &counted{n: 64 << 20, sent: &sent})
		if err == nil {
			res.Body.Close()
		}
		done <- err
	}()
	last := int64(-1)
	for now := sent.Load(); now != last; now = sent.Load() { // until it stands still
		last = now
		time.Sleep(150 * time.Millisecond)
	}
	if last > 32<<20 {
		t.Fatalf("%d MiB were taken from the client for an application that read nothing", last>>20)
	}
	close(release)
	if err := <-done; err != nil || f.all() != "" {
		t.Fatal(err, f.all())
	}
}

type counted struct {
	n    int64
	sent *atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	left := c.n - c.sent.Load()
	if left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), left)
	c.sent.Add(n)
	return int(n), nil
}

func TestAnApplicationThatStopsReadingIsATimeout(t *testing.T) {
	release := make(chan struct{})
	app := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer app.Close()
	defer close(release)
	front, f := door(t, app.URL, Options{WriteTimeout: 200 * time.Millisecond, ResponseHeaderTimeout: 30 * time.Second})
	var sent atomic.Int64
	res, err := http.Post(front.URL, "application/octet-stream", &counted{n: 64 << 20, sent: &sent})
	if err == nil {
		res.Body.Close()
		if res.StatusCode != 504 {
			t.Fatal(res.Status, f.all())
		}
	}
	if !strings.HasPrefix(f.all(), "upstream-timeout: ") {
		t.Fatal(f.all(), err)
	}
}

func TestTrailersTravelBothWays(t *testing.T) {
	got := make(chan http.Header, 1)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		io.Copy(w, r.Body)
		w.Header().Set("X-Sum", "42")
		w.Header().Set(http.TrailerPrefix+"X-Late", "7")
		got <- r.Trailer
	}))
	defer app.Close()
	front, _ := door(t, app.URL, Options{})
	c := dial(t, front)
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Check\r\n\r\n"+
		"5\r\nhello\r\n0\r\nX-Check: good\r\nX-Postern-Identity: eve\r\nX-Surprise: 1\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(res.Body); err != nil || string(body) != "hello" {
		t.Fatalf("%q %v", body, err)
	}
	if res.Trailer.Get("X-Sum") != "42" || res.Trailer.Get("X-Late") != "7" {
		t.Errorf("the client got %v", res.Trailer)
	}
	trailer := <-got
	if trailer.Get("X-Check") != "good" || len(trailer) != 1 {
		t.Errorf("the application got %v: only what was announced may pass", trailer)
	}
}

func TestAnAnswerThatBreaksOffIsNotEndedPolitely(t *testing.T) {
	app := talker(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n")
	front, _ := door(t, "http://"+app, Options{})
	res, err := http.Get(front.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err == nil {
		t.Fatalf("the client takes %q for the whole answer", body)
	}
}

// A real nginx behind a socket reads the same target as the client sent.
func TestNginxSeesTheTargetThatWasSent(t *testing.T) {
	sock := startNginx(t)
	front, f := door(t, "unix:"+sock, Options{})
	for _, target := range []string{"/", "/a/b?c=d", "/100%25", "/%C3%BC", "/a%20b?x=%20;y", "/a+b"} {
		if status, body := get(t, front.URL+target); status != 200 || body != target {
			t.Errorf("sent %s, nginx saw %d %s %s", target, status, body, f.all())
		}
	}
}

// startNginx serves request targets as text on the socket that it returns.
func startNginx(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	sock := filepath.Join(dir, "n.sock")
	conf := "daemon off; master_process off; pid " + dir + "/pid; error_log stderr;\nevents {}\nhttp {\n access_log off;\n" +
		" client_body_temp_path " + dir + "/b; proxy_temp_path " + dir + "/p; fastcgi_temp_path " + dir + "/f; uwsgi_temp_path " + dir + "/u; scgi_temp_path " + dir + "/s;\n" +
		" server { listen unix:" + sock + "; default_type text/plain; location / { return 200 $request_uri; } }\n}\n"
	if err := os.WriteFile(dir+"/nginx.conf", []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("nginx", "-p", dir, "-c", dir+"/nginx.conf")
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatalf("nginx is needed as an upstream: %v (apt-get install nginx-light)", err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for range 200 {
		if _, err := os.Stat(sock); err == nil {
			return sock
		}
		time.Sleep(20 * time.Millisecond)
	}
	cmd.Process.Kill()
	cmd.Wait()
	t.Fatalf("nginx did not start: %s", said.String())
	return ""
}
