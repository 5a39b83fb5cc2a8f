package upstream

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// An application that restarts between two requests loses neither: what can be
// asked twice is asked on a new connection.
func TestAStaleConnectionCostsNobodyAnything(t *testing.T) {
	for sentence, method := range map[string]string{"a GET": "GET", "a HEAD": "HEAD", "a POST, by a look before it is sent": "POST"} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			gone := make(chan struct{}, 100)
			app := listen(t, func(c net.Conn) { // one answer, and gone without a word
				if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				}
				c.Close()
				gone <- struct{}{}
			})
			front, f := door(t, "http://"+app, Options{})
			for i := range 20 {
				if method == "POST" && i > 0 {
					<-gone
				}
				req, err := http.NewRequest(method, front.URL, nil)
				if err != nil {
					t.Fatal(err)
				}
				res, err := http.DefaultClient.Do(req)
				if err != nil || res.StatusCode != 200 {
					t.Fatal(res, err, f.all())
				}
				res.Body.Close()
			}
		})
	}
}

// A request that may have done something is never sent twice.
func TestWhatMayHaveHappenedIsNotRepeated(t *testing.T) {
	var posts atomic.Int64
	app := listen(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			io.Copy(io.Discard, req.Body)
			if req.Method == "POST" {
				posts.Add(1)
				return // done, and the answer is lost
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	front, f := door(t, "http://"+app, Options{})
	get(t, front.URL) // leaves a connection in the pool
	res, err := http.Post(front.URL, "text/plain", strings.NewReader("pay 5"))
	if err != nil || res.StatusCode != 502 || posts.Load() != 1 || !strings.Contains(f.all(), "without an answer") {
		t.Fatal(res, err, posts.Load(), f.all())
	}
}

func TestConnectionsThatRestTooLongEnd(t *testing.T) {
	ended := make(chan struct{}, 10)
	app := httptest.NewUnstartedServer(echo)
	app.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			ended <- struct{}{}
		}
	}
	app.Start()
	defer app.Close()
	front, _ := door(t, app.URL, Options{IdleTimeout: 50 * time.Millisecond})
	get(t, front.URL)
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the connection is still open")
	}
}

func TestNoMoreConnectionsRestThanAllowed(t *testing.T) {
	release := make(chan struct{})
	var open atomic.Int64
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	app.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed:
			open.Add(-1)
		}
	}
	app.Start()
	defer app.Close()
	u, err := New(app.URL, Options{MaxIdle: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer u.CloseIdle()
	front := httptest.NewServer(u.Handler(new(refused).answer))
	defer front.Close()
	done := make(chan error, 6)
	for range cap(done) {
		go func() {
			res, err := http.Get(front.URL)
			if err == nil {
				res.Body.Close()
			}
			done <- err
		}()
	}
	eventually(t, func() bool { return open.Load() == int64(cap(done)) })
	close(release)
	for range cap(done) {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() bool { return open.Load() == 2 })
}

func eventually(t *testing.T, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it never came to be")
		}
	}
}

// A client that waits for leave to send its body gets it from the application,
// or its refusal before a byte was sent.
func TestLeaveToSendComesFromTheApplication(t *testing.T) {
	for sentence, c := range map[string]struct {
		first  string // what the application says to the head
		body   bool   // whether the body follows
		status int
	}{
		"it is asked for":  {"HTTP/1.1 100 Continue\r\n\r\n", true, 200},
		"it is refused":    {"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n", false, 417},
		"nothing is said":  {"", true, 200},
		"only hints come":  {"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n", true, 200},
		"it is told twice": {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n", true, 200},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			got := make(chan string, 1)
			app := listen(t, func(conn net.Conn) {
				req, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil || req.Header.Get("Expect") != "100-continue" {
					t.Error("no wish to wait arrived", err)
					return
				}
				io.WriteString(conn, c.first)
				if !c.body {
					io.Copy(io.Discard, conn)
					return
				}
				body, _ := io.ReadAll(req.Body)
				got <- string(body)
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			})
			front, f := door(t, "http://"+app, Options{})
			conn := dial(t, front)
			io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
			r := bufio.NewReader(conn)
			for {
				res, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Fatal(err, f.all())
				}
				if res.StatusCode == 100 {
					if !c.body {
						t.Fatal("the client was asked for its body")
					}
					io.WriteString(conn, "hello")
				}
				if res.StatusCode < 200 {
					continue
				}
				if res.StatusCode != c.status {
					t.Fatal(res.Status, f.all())
				}
				break
			}
			if c.body && <-got != "hello" {
				t.Fatal("another body arrived")
			}
		})
	}
}

// Both ways may flow at once: the answer to the first half of a body comes
// before the second is sent.
func TestAnAnswerMayComeWhileTheBodyIsSent(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		buffer := make([]byte, 5)
		for {
			n, err := io.ReadFull(r.Body, buffer)
			if err != nil {
				return
			}
			w.Write(buffer[:n])
			w.(http.Flusher).Flush()
		}
	}))
	defer app.Close()
	front, f := door(t, app.URL, Options{})
	c := dial(t, front)
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || res.StatusCode != 200 {
		t.Fatal(res, err, f.all())
	}
	word := make([]byte, 5)
	for i := range 3 {
		if _, err := io.ReadFull(res.Body, word); err != nil || string(word) != "hello" {
			t.Fatalf("round %d: %q %v", i, word, err)
		}
		io.WriteString(c, "5\r\nhello\r\n")
	}
	io.WriteString(c, "0\r\n\r\n")
	if rest, err := io.ReadAll(res.Body); err != nil || string(rest) != "hello" {
		t.Fatalf("%q %v", rest, err)
	}
}

// A client that is cut off ends what the application does for it, in the
// middle of an answer as well.
func TestACutEndsAnAnswerUnderWay(t *testing.T) {
	ended := make(chan struct{})
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "a beginning")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(ended)
	}))
	defer app.Close()
	front, f := door(t, app.URL, Options{})
	c := dial(t, front)
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	c.Read(make([]byte, 1))
	c.Close()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the application goes on")
	}
	if f.all() != "" {
		t.Fatal(f.all())
	}
}

// No field that somebody managed to put a line break into leaves as two.
func TestNoValueBecomesTwoLines(t *testing.T) {
	app := httptest.NewServer(echo)
	defer app.Close()
	u, err := New(app.URL, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer u.CloseIdle()
	for sentence, spoil := range map[string]func(*http.Request){
		"a value":      func(r *http.Request) { r.Header.Set("X-A", "b\r\nX-Postern-Identity: eve") },
		"a bare LF":    func(r *http.Request) { r.Header.Set("X-A", "b\nX: c") },
		"a name":       func(r *http.Request) { r.Header["X-A: b\r\nX"] = []string{"c"} },
		"a name alone": func(r *http.Request) { r.Header[""] = []string{"c"} },
		"the host":     func(r *http.Request) { r.Host = "a\r\nX: b" },
		"the method":   func(r *http.Request) { r.Method = "GET / HTTP/1.1\r\nX: y\r\n\r\nGET" },
		"the query":    func(r *http.Request) { r.URL.RawQuery = "a HTTP/1.1\r\nX: y" },
		"no path":      func(r *http.Request) { r.URL.Path = "" },
		"a trailer":    func(r *http.Request) { r.Trailer = http.Header{"X\r\nY": nil}; r.ContentLength = -1 },
	} {
		t.Run(sentence, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/", strings.NewReader("x"))
			spoil(r)
			f, w := new(refused), httptest.NewRecorder()
			u.Handler(f.answer).ServeHTTP(w, r)
			if w.Code != 400 || !strings.HasPrefix(f.all(), "bad-request: ") {
				t.Fatal(w.Code, f.all())
			}
		})
	}
}

// Bodies of every size arrive whole, whichever way they are sent.
func TestBodiesArriveWhole(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, err)
	}))
	defer app.Close()
	front, f := door(t, app.URL, Options{})
	for _, size := range []int{0, 1, maxInline - 1, maxInline, maxInline + 1, bufferSize - 18, bufferSize, 1 << 20} {
		body := strings.Repeat("x", size)
		for sentence, r := range map[string]io.Reader{"with its length": strings.NewReader(body), "in chunks": io.MultiReader(strings.NewReader(body))} {
			res, err := http.Post(front.URL, "text/plain", r)
			if err != nil {
				t.Fatal(err)
			}
			answer, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if string(answer) != fmt.Sprint(size, error(nil)) {
				t.Errorf("%d bytes %s: %q %s", size, sentence, answer, f.all())
			}
		}
	}
}
