package upstream

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// An application that is broken, or in strange hands, or fooled by what a
// client made it echo, answers so that two readers see different answers. None
// of it may reach a client as if it were good.
func TestAmbiguousAnswersAreRefused(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for sentence, answer := range map[string]string{
		"two lengths":                       ok + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
		"two lengths alike":                 ok + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
		"a list of lengths":                 ok + "Content-Length: 5, 5\r\n\r\nhello",
		"a length beside chunks":            ok + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"chunks beside a length":            ok + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
		"a length with a sign":              ok + "Content-Length: +5\r\n\r\nhello",
		"a negative length":                 ok + "Content-Length: -5\r\n\r\nhello",
		"a hexadecimal length":              ok + "Content-Length: 0x5\r\n\r\nhello",
		"an empty length":                   ok + "Content-Length:\r\n\r\nhello",
		"a length past 2^63":                ok + "Content-Length: 9223372036854775808\r\n\r\nhello",
		"another coding":                    ok + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"chunks with a space in the name":   ok + "Transfer-Encoding: chunked identity\r\n\r\n0\r\n\r\n",
		"a vertical tab before chunked":     ok + "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n",
		"chunked twice":                     ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"chunks in HTTP/1.0":                "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"a space before the colon":          ok + "Content-Length : 5\r\n\r\nhello",
		"a tab before the colon":            ok + "Content-Length\t: 5\r\n\r\nhello",
		"a folded line":                     ok + "X: a\r\n Content-Length: 5\r\n\r\nhello",
		"a folded first line":               ok + " X: a\r\n\r\n",
		"a line without a colon":            ok + "hello\r\n\r\n",
		"an empty name":                     ok + ": x\r\n\r\n",
		"a name with a bracket":             ok + "X(y): x\r\n\r\n",
		"a name with a byte past ASCII":     ok + "X\xe9: x\r\n\r\n",
		"NUL in a value":                    ok + "X: a\x00b\r\nContent-Length: 0\r\n\r\n",
		"CR twice behind a field":           ok + "X: a\r\r\nContent-Length: 5\r\n\r\nhello",
		"CR alone in a value":               ok + "X: a\rContent-Length: 0\r\nContent-Length: 5\r\n\r\nhello",
		"LF alone behind a field":           ok + "X: a\nContent-Length: 5\r\n\r\nhello",
		"LF alone behind the status":        "HTTP/1.1 200 OK\nContent-Length: 5\r\n\r\nhello",
		"LF alone everywhere":               "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
		"an empty line first":               "\r\n" + ok + "Content-Length: 5\r\n\r\nhello",
		"HTTP/2":                            "HTTP/2.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.2":                          "HTTP/1.2 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/0.9":                          "hello",
		"another case":                      "http/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"a status of four digits":           "HTTP/1.1 2000 OK\r\nContent-Length: 5\r\n\r\nhello",
		"a status of two digits":            "HTTP/1.1 20 OK\r\nContent-Length: 5\r\n\r\nhello",
		"a status with a sign":              "HTTP/1.1 +20 OK\r\nContent-Length: 5\r\n\r\nhello",
		"status 099":                        "HTTP/1.1 099 OK\r\nContent-Length: 5\r\n\r\nhello",
		"two spaces before the status":      "HTTP/1.1  200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"a control character in the reason": "HTTP/1.1 200 O\x01K\r\nContent-Length: 5\r\n\r\nhello",
		"a body in 204":                     "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
		"chunks in 204":                     "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"a body in 100":                     "HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nhello" + ok + "Content-Length: 0\r\n\r\n",
		"interim answers without end":       strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 50),
		"a framing field as a trailer":      ok + "Trailer: Content-Length\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"too many fields":                   ok + strings.Repeat("X: y\r\n", maxAnswerFields+1) + "\r\n",
		"a switch nobody asked for":         "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			front, f := door(t, "http://"+talker(t, answer), Options{ResponseHeaderTimeout: 10 * time.Second})
			c := dial(t, front)
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			r := bufio.NewReader(c)
			res, err := http.ReadResponse(r, nil)
			for err == nil && res.StatusCode == 103 {
				res, err = http.ReadResponse(r, nil)
			}
			if err != nil || res.StatusCode != 502 {
				t.Fatal(res, err)
			}
			if !strings.HasPrefix(f.all(), "upstream-down: ") {
				t.Fatal(f.all())
			}
		})
	}
}

// A body that breaks its own frame ends the client's answer in an error, which
// nobody can take for the whole.
func TestBrokenBodiesAreBrokenOff(t *testing.T) {
	const ok, chunks = "HTTP/1.1 200 OK\r\n", "Transfer-Encoding: chunked\r\n\r\n"
	for sentence, answer := range map[string]string{
		"too few bytes":               ok + "Content-Length: 50\r\n\r\nhello",
		"a chunk too short":           ok + chunks + "10\r\nhello\r\n0\r\n\r\n",
		"a chunk too long":            ok + chunks + "3\r\nhello\r\n0\r\n\r\n",
		"a size with a sign":          ok + chunks + "+5\r\nhello\r\n0\r\n\r\n",
		"a size with 0x":              ok + chunks + "0x5\r\nhello\r\n0\r\n\r\n",
		"a size with a space":         ok + chunks + " 5\r\nhello\r\n0\r\n\r\n",
		"a size and a space":          ok + chunks + "5 \r\nhello\r\n0\r\n\r\n",
		"no size":                     ok + chunks + "\r\nhello\r\n0\r\n\r\n",
		"a size past 2^63":            ok + chunks + "8000000000000005\r\nhello\r\n0\r\n\r\n",
		"a size past 2^64":            ok + chunks + "10000000000000005\r\nhello\r\n0\r\n\r\n",
		"LF alone behind a size":      ok + chunks + "5\nhello\r\n0\r\n\r\n",
		"LF alone in an extension":    ok + chunks + "5;a\nb\r\nhello\r\n0\r\n\r\n",
		"CR alone in an extension":    ok + chunks + "5;a\rb\r\nhello\r\n0\r\n\r\n",
		"an extension without end":    ok + chunks + "5;" + strings.Repeat("a", 10_000) + "\r\nhello\r\n0\r\n\r\n",
		"LF alone behind a chunk":     ok + chunks + "5\r\nhello\n0\r\n\r\n",
		"two bytes behind a chunk":    ok + chunks + "5\r\nhelloxx0\r\n\r\n",
		"no last chunk":               ok + chunks + "5\r\nhello\r\n",
		"no end of the trailer":       ok + chunks + "5\r\nhello\r\n0\r\n",
		"a folded trailer":            ok + chunks + "5\r\nhello\r\n0\r\nX: a\r\n b\r\n\r\n",
		"a trailer that is no field":  ok + chunks + "5\r\nhello\r\n0\r\nGET / HTTP/1.1\r\n\r\n",
		"a trailer without end":       ok + chunks + "5\r\nhello\r\n0\r\n" + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 100) + "\r\n",
		"LF alone behind the trailer": ok + chunks + "5\r\nhello\r\n0\r\n\n",
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			front, _ := door(t, "http://"+farewell(t, answer), Options{})
			c := dial(t, front)
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				return
			}
			if body, err := io.ReadAll(res.Body); err == nil {
				t.Fatalf("%s: the client takes %q for the whole answer", res.Status, body)
			}
		})
	}
}

// farewell is a talker that hangs up once it has spoken.
func farewell(t *testing.T, text string) string {
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
			c.Read(make([]byte, 4096))
			io.WriteString(c, text)
			c.(*net.TCPConn).CloseWrite()
			go func() { io.Copy(io.Discard, c); c.Close() }()
		}
	}()
	return ln.Addr().String()
}

// What an application says beyond its answer belongs to nobody. If it were
// read as the next answer, one client would get what was made for another.
func TestAnAnswerToNothingReachesNobody(t *testing.T) {
	const answer = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
	const poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
	for sentence, say := range map[string]func(c net.Conn){
		"in the same packet": func(c net.Conn) { io.WriteString(c, answer+"good"+poison) },
		"a moment later": func(c net.Conn) {
			io.WriteString(c, answer+"good")
			time.Sleep(20 * time.Millisecond)
			io.WriteString(c, poison)
		},
		"behind an answer without a body": func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n"+poison)
		},
		"behind the last chunk": func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\n\r\n"+poison)
		},
		"one byte": func(c net.Conn) { io.WriteString(c, answer+"good\n") },
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			said := make(chan struct{}, 100)
			app := listen(t, func(c net.Conn) {
				r := bufio.NewReader(c)
				for {
					if _, err := http.ReadRequest(r); err != nil {
						return
					}
					say(c)
					said <- struct{}{}
				}
			})
			front, f := door(t, "http://"+app, Options{})
			for range 4 {
				status, body := get(t, front.URL)
				if status/100 != 2 || body != "good" && body != "" {
					t.Fatalf("%d %q %s", status, body, f.all())
				}
				<-said // so that what comes later has come
			}
		})
	}
}

// listen serves each connection by one function.
func listen(t testing.TB, serve func(net.Conn)) string {
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
				serve(c)
			}()
		}
	}()
	return ln.Addr().String()
}

// A body that was never sent whole leaves no connection behind on which the
// rest could be taken for a request.
func TestAnUnfinishedRequestLeavesNoConnection(t *testing.T) {
	var smuggled atomic.Int64
	app := listen(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			if req.URL.Path == "/smuggled" {
				smuggled.Add(1)
			}
			io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
		}
	})
	front, f := door(t, "http://"+app, Options{})
	for _, head := range []string{
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\nExpect: 100-continue\r\n\r\n",
	} {
		c := dial(t, front)
		io.WriteString(c, head)
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || res.StatusCode != 413 || !res.Close {
			t.Fatal(res, err, f.all())
		}
		io.WriteString(c, "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
		io.Copy(io.Discard, c) // the server closes it without another word
		c.Close()
		if status, _ := get(t, front.URL+"/next"); status != 413 {
			t.Fatal(status, f.all())
		}
	}
	if smuggled.Load() != 0 {
		t.Fatal("the body was taken for a request")
	}
}

// What reads heads never panics, and what it accepts it can say the end of.
func FuzzAnswerHead(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
	f.Add("HTTP/1.0 200\r\nConnection: keep-alive, x\r\nX:\r\n\r\n")
	f.Add("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n")
	f.Fuzz(func(t *testing.T, answer string) {
		here, there := net.Pipe()
		defer here.Close()
		go func() {
			io.WriteString(there, answer)
			there.Close()
		}()
		l := newLink(here, time.Minute, time.Now())
		h, err := l.readHead("GET")
		if err != nil {
			return
		}
		// the standard library accepts whatever we do, and sees the same
		res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(answer)), nil)
		if err != nil {
			t.Fatalf("accepted %q, of which the standard library says %v", answer, err)
		}
		if res.StatusCode != h.status {
			t.Fatalf("status %d and %d", h.status, res.StatusCode)
		}
		if h.status < 200 {
			return
		}
		want, wantErr := io.ReadAll(res.Body)
		got := &recorder{header: http.Header{}}
		body := answerBody{link: l, framing: h.framing, left: h.length}
		gotErr := body.relay(got, h.prompt, newBuffers())
		if gotErr == nil && (wantErr != nil || got.body.String() != string(want)) {
			t.Fatalf("%q: body %q, the standard library has %q, %v", answer, got.body.String(), want, wantErr)
		}
	})
}

type recorder struct {
	header http.Header
	body   strings.Builder
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }
func (r *recorder) WriteHeader(int)             {}
func (r *recorder) Flush()                      {}
