package upstream

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// generated is how many exchanges each of the four rows compares.
const generated = 600

// The standard library's proxy is the reference: over thousands of exchanges,
// the application sees the same request through us, and the client the same
// answer.
func TestLeanDoesWhatReverseProxyDoes(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("row ", seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 7))
			app := newScripted(t)
			lean, reference := proxied(t, app.address, false), proxied(t, app.address, true)
			for i := range generated {
				request, answer := randomRequest(rnd), randomAnswer(rnd)
				app.answer = answer
				got := app.exchange(t, lean, request)
				want := app.exchange(t, reference, request)
				if d := cmp.Diff(want, got); d != "" {
					t.Fatalf("exchange %d: request\n%.700q\nanswer\n%.700q\nreference and lean differ:\n%s", i, request, answer, d)
				}
			}
		})
	}
}

// proxied serves an application as the gateway does, by the standard library's
// proxy if it is to be the reference.
func proxied(t *testing.T, address string, reference bool) string {
	u, err := New("http://"+address, Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	f := new(refused)
	forward := u.Handler(f.answer)
	if reference {
		if u.transport, err = u.newTransport(false); err != nil {
			t.Fatal(err)
		}
		forward = u.reversed(f.answer)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header["X-Postern-Identity"] = []string{"ben/phone"}
		r.Header["X-Forwarded-For"] = []string{"192.0.2.7"}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { server.Close(); u.CloseIdle() })
	return server.Listener.Addr().String()
}

// A scripted application answers each request with the same bytes, and tells
// what it was asked.
type scripted struct {
	address string
	answer  string
	saw     chan seenRequest
}

type seenRequest struct {
	Line, Host    string
	Header        http.Header
	Length        int64
	Coding        []string
	Body, Problem string
	Trailer       http.Header
}

type seenAnswer struct {
	Request seenRequest
	Interim []http.Header
	Status  string
	Header  http.Header
	Body    string
	Trailer http.Header
	Broken  bool
}

func newScripted(t *testing.T) *scripted {
	a := &scripted{saw: make(chan seenRequest, 1)}
	a.address = listen(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			if req.Header.Get("Expect") != "" {
				io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
			}
			body, err := io.ReadAll(req.Body)
			s := seenRequest{Line: req.Method + " " + req.RequestURI + " " + req.Proto, Host: req.Host, Header: req.Header,
				Length: req.ContentLength, Coding: req.TransferEncoding, Body: string(body), Trailer: req.Trailer}
			if err != nil {
				s.Problem = err.Error()
			}
			a.saw <- s
			answer := a.answer
			if req.Method == http.MethodHead {
				answer = withoutBody(answer)
			}
			io.WriteString(c, answer)
			if strings.Contains(answer, "Connection: close") || endsWithConnection(answer) {
				return
			}
		}
	})
	return a
}

// endsWithConnection reports whether only the end of the connection tells the
// end of an answer with a body.
func endsWithConnection(answer string) bool {
	if strings.HasPrefix(answer, "HTTP/1.1 103") {
		_, answer, _ = strings.Cut(answer, "\r\n\r\n")
	}
	head, body, _ := strings.Cut(answer, "\r\n\r\n")
	return body != "" && !strings.Contains(head, "Content-Length") && !strings.Contains(head, "chunked")
}

// withoutBody returns the heads of an answer.
func withoutBody(answer string) string {
	head, rest, _ := strings.Cut(answer, "\r\n\r\n")
	if strings.HasPrefix(head, "HTTP/1.1 103") {
		return head + "\r\n\r\n" + withoutBody(rest)
	}
	return head + "\r\n\r\n"
}

// exchange sends a request through a front and returns what both ends saw.
func (a *scripted) exchange(t *testing.T, front, request string) (s seenAnswer) {
	t.Helper()
	c, err := net.Dial("tcp", front)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(c, request)
	select {
	case s.Request = <-a.saw:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: the application saw nothing of\n%.700q", front, request)
	}
	method, _, _ := strings.Cut(request, " ")
	r := bufio.NewReader(c)
	for {
		res, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			t.Fatalf("%v to %q", err, request)
		}
		if res.StatusCode < 200 && res.StatusCode != 100 {
			s.Interim = append(s.Interim, res.Header)
		}
		if res.StatusCode < 200 {
			continue
		}
		body, err := io.ReadAll(res.Body)
		s.Status, s.Header, s.Body, s.Trailer, s.Broken = res.Status, res.Header, string(body), res.Trailer, err != nil
		a.forget(&s, request)
		return s
	}
}

// forget takes from s what may differ: how the server frames an answer whose
// length the application did not say, which we flush less often, and interim
// answers to HTTP/1.0, which the reference sends and RFC 9110 section 15.2
// forbids.
func (a *scripted) forget(s *seenAnswer, request string) {
	s.Header.Del("Date")
	s.Header.Del("Connection")
	if !strings.Contains(a.answer, "Content-Length") {
		s.Header.Del("Content-Length")
	}
	for i, names := range s.Header["Trailer"] { // the reference has them in no order
		list := strings.Split(names, ", ")
		slices.Sort(list)
		s.Header["Trailer"][i] = strings.Join(list, ", ")
	}
	if strings.HasPrefix(request, "HEAD ") {
		s.Header.Del("Trailer") // of a body that does not come
	}
	if line, _, _ := strings.Cut(request, "\r\n"); strings.HasSuffix(line, " HTTP/1.0") {
		s.Interim = nil
	}
}

func pick(rnd *rand.Rand, of ...string) string { return of[rnd.IntN(len(of))] }

// some returns a part of the lines, in order.
func some(rnd *rand.Rand, lines ...string) string {
	var b strings.Builder
	for _, l := range lines {
		if rnd.IntN(3) == 0 {
			b.WriteString(l + "\r\n")
		}
	}
	return b.String()
}

func randomRequest(rnd *rand.Rand) string {
	method := pick(rnd, "GET", "GET", "GET", "HEAD", "OPTIONS", "DELETE", "POST", "PUT", "PATCH", "PROPFIND")
	target := pick(rnd, "/", "/a/b", "/a%20b", "/%C3%BC", "/a+b;c", "/100%25", "/~ben/(x)!*'") + pick(rnd, "", "", "?", "?a=b&c=%41", "?q=%zz;x=1", "?a=?/")
	b := method + " " + target + pick(rnd, " HTTP/1.1", " HTTP/1.1", " HTTP/1.1", " HTTP/1.0") + "\r\nHost: " + pick(rnd, "pw.example.com", "pw.example.com:8443") + "\r\n"
	old := strings.Contains(b, "HTTP/1.0")
	b += some(rnd, "User-Agent: bench/1.0", "accept: text/html", "Accept-Encoding: gzip, br", "Accept-Encoding: zstd", "Cookie: a=b; c=d", "Cookie: e=f",
		"X-Custom:   spaced \t ", "x-lower-case: 1", "X-Empty:", "Te: trailers, deflate;q=0.5", "Te: gzip", "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive",
		"Proxy-Authorization: Basic eA==", "Authorization: Bearer x", "Range: bytes=0-5", "If-None-Match: \"x\"", "Origin: https://pw.example.com",
		"X-Utf8: \xc3\xbc", "X-Latin: \xfc", "Via: 1.1 other", "Connection: X-Custom, keep-alive", "Connection: x-postern-identity, close", "Connection: Te",
		"Content-Type: application/json", "Trailer: ", "Upgrade: h2c", "Cache-Control: no-cache")
	body := strings.Repeat(pick(rnd, "x", "hello ", "\r\n0\r\n\r\n"), rnd.IntN(200))
	switch {
	case method == "GET" || method == "HEAD" || rnd.IntN(4) == 0:
		return b + "\r\n"
	case !old && rnd.IntN(2) == 0:
		return b + randomChunks(rnd, body+"y")
	}
	if rnd.IntN(6) == 0 {
		body = strings.Repeat(body+"z", 1+40_000/(1+len(body)))
	}
	if !old && len(body) > 0 && rnd.IntN(8) == 0 {
		b += "Expect: 100-continue\r\n"
	}
	return b + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
}

// randomChunks frames a body in chunks, with a trailer or without.
func randomChunks(rnd *rand.Rand, body string) string {
	var b bytes.Buffer
	trailer := ""
	switch rnd.IntN(4) {
	case 0:
		b.WriteString("Trailer: X-Sum, X-Never\r\n")
		trailer = "X-Sum: 42\r\nX-Unasked: 1\r\n"
	case 1:
		trailer = "X-Unasked: 1\r\n"
	}
	b.WriteString("Transfer-Encoding: chunked\r\n\r\n")
	for len(body) > 0 {
		n := 1 + rnd.IntN(len(body))
		fmt.Fprintf(&b, "%x%s\r\n%s\r\n", n, pick(rnd, "", "", ";ext=1"), body[:n])
		body = body[n:]
	}
	b.WriteString("0\r\n" + trailer + "\r\n")
	return b.String()
}

func randomAnswer(rnd *rand.Rand) string {
	var b strings.Builder
	for range rnd.IntN(5) / 3 {
		b.WriteString("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")
	}
	status := pick(rnd, "200 OK", "200 OK", "200 OK", "200", "201 Created", "204 No Content", "206 Partial Content", "301 Moved Permanently",
		"304 Not Modified", "404 Not Found", "401 Unauthorized", "500 Oops, it broke", "503 Service Unavailable", "599 Odd")
	version := pick(rnd, "HTTP/1.1 ", "HTTP/1.1 ", "HTTP/1.1 ", "HTTP/1.0 ")
	b.WriteString(version + status + "\r\nContent-Type: " + pick(rnd, "text/plain", "application/json", "text/event-stream") + "\r\n")
	b.WriteString(some(rnd, "Server: app", "Set-Cookie: a=b; Path=/", "Set-Cookie: c=d", "ETag: \"x\"", "x-lower-case: 1", "X-Empty:", "X-Spaced:  a \t b  ",
		"Keep-Alive: timeout=5", "Connection: X-Lower-Case, keep-alive", "Proxy-Authenticate: Basic", "WWW-Authenticate: Basic", "Vary: Accept", "Vary: Cookie",
		"Cache-Control: no-store", "Upgrade: h2c", "Location: /elsewhere", "X-Latin: \xfc", "Content-Language: de", "Link: </b.css>", "Content-Encoding: identity"))
	if rnd.IntN(6) == 0 && !strings.Contains(b.String(), "Connection:") {
		b.WriteString("Connection: close\r\n") // the reference forgets the other options
	}
	body := strings.Repeat(pick(rnd, "x", "hello ", "HTTP/1.1 200 OK\r\n\r\n"), rnd.IntN(300))
	if rnd.IntN(8) == 0 {
		body = strings.Repeat("0123456789abcdef", rnd.IntN(10_000))
	}
	switch {
	case status[:3] == "204":
		return b.String() + "\r\n"
	case status[:3] == "304":
		return b.String() + pick(rnd, "", "Content-Length: 100\r\n") + "\r\n"
	case version == "HTTP/1.1 " && rnd.IntN(2) == 0:
		return b.String() + randomChunks(rnd, body)
	case rnd.IntN(5) == 0:
		return b.String() + "\r\n" + body + "."
	}
	return b.String() + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
}
