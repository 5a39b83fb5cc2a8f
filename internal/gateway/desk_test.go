package gateway

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// readers are the two ways to read HTTP/1.1: the values of StandardReader.
var readers = map[string]bool{"at a desk": false, "with the standard library": true}

// wires are what clients may send after a handshake, good and bad. One more
// request, which ends the connection, follows each.
var wires = map[string]string{
	"one request":                       "GET /a?b=c HTTP/1.1\r\nHost: a.example.com\r\nX-Y: z\r\n\r\n",
	"three requests at once":            "GET /1 HTTP/1.1\r\nHost: a.example.com\r\n\r\nGET /2 HTTP/1.1\r\nHost: a.example.com\r\n\r\nGET /3 HTTP/1.1\r\nhost: a.example.com\r\n\r\n",
	"a body between two requests":       "GET /1 HTTP/1.1\r\nHost: a.example.com\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: 5\r\n\r\nhelloGET /3 HTTP/1.1\r\nHost: a.example.com\r\n\r\n",
	"a chunked body":                    "GET /1 HTTP/1.1\r\nHost: a.example.com\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a.example.com\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	"HEAD":                              "HEAD /1 HTTP/1.1\r\nHost: a.example.com\r\n\r\n",
	"a length and a coding":             "GET /1 HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"two lengths":                       "POST /1 HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
	"a length with a space in its name": "GET /1 HTTP/1.1\r\nHost: a.example.com\r\nContent-Length : 40\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.example.com\r\n\r\n",
	"a GET with a body":                 "GET /1 HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: 52\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.example.com\r\nA: b\r\n\r\n",
	"a coding that is folded":           "GET /1 HTTP/1.1\r\nHost: a.example.com\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
	"a coding in a strange spelling":    "GET /1 HTTP/1.1\r\nHost: a.example.com\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
	"line feeds alone":                  "GET /1 HTTP/1.1\nHost: a.example.com\n\nGET /2 HTTP/1.1\nHost: a.example.com\n\n",
	"a field behind a line feed":        "GET /1 HTTP/1.1\r\nHost: a.example.com\r\nX: a\nContent-Length: 5\r\n\r\nhello",
	"a carriage return in a value":      "GET /1 HTTP/1.1\r\nHost: a.example.com\r\nX: a\rContent-Length: 5\r\n\r\n",
	"an underscore for a dash":          "GET /1 HTTP/1.1\r\nHost: a.example.com\r\nContent_Length: 5\r\n\r\n",
	"another host":                      "GET /1 HTTP/1.1\r\nHost: b.example.com\r\n\r\n",
	"another host in the target":        "GET http://b.example.com/ HTTP/1.1\r\nHost: a.example.com\r\n\r\n",
	"two hosts":                         "GET /1 HTTP/1.1\r\nHost: a.example.com\r\nHost: b.example.com\r\n\r\n",
	"no host":                           "GET /1 HTTP/1.1\r\n\r\n",
	"a host with a port":                "GET /1 HTTP/1.1\r\nHost: A.Example.com.:8443\r\n\r\n",
	"HTTP/1.0":                          "GET /1 HTTP/1.0\r\nHost: a.example.com\r\n\r\n",
	"an encoded slash":                  "GET /a%2fb HTTP/1.1\r\nHost: a.example.com\r\n\r\n",
	"dots":                              "GET /a/../b HTTP/1.1\r\nHost: a.example.com\r\n\r\n",
	"encoded dots":                      "GET /a/%2e%2e/b HTTP/1.1\r\nHost: a.example.com\r\n\r\n",
	"two slashes":                       "GET //a HTTP/1.1\r\nHost: a.example.com\r\n\r\n",
	"a semicolon":                       "GET /a;b HTTP/1.1\r\nHost: a.example.com\r\n\r\n",
	"an encoded letter":                 "GET /%61?%62=%zz&c;d HTTP/1.1\r\nHost: a.example.com\r\n\r\n",
	"forged fields":                     "GET /1 HTTP/1.1\r\nHost: a.example.com\r\nX-Postern-Identity: root\r\nx-forwarded-for: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\nX-Real-Ip: 1.2.3.4\r\n\r\n",
	"a field that Connection names":     "GET /1 HTTP/1.1\r\nHost: a.example.com\r\nConnection: x-postern-identity\r\n\r\n",
	"an expectation":                    "POST /1 HTTP/1.1\r\nHost: a.example.com\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
	"an unknown expectation":            "GET /1 HTTP/1.1\r\nHost: a.example.com\r\nExpect: more\r\n\r\n",
	"an upgrade to what is not served":  "GET /1 HTTP/1.1\r\nHost: a.example.com\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
	"a large header":                    "GET /1 HTTP/1.1\r\nHost: a.example.com\r\nX: " + strings.Repeat("x", 20000) + "\r\n\r\n",
	"too large a header":                "GET /1 HTTP/1.1\r\nHost: a.example.com\r\nX: " + strings.Repeat("x", 200000) + "\r\n\r\n",
	"empty lines between requests":      "GET /1 HTTP/1.1\r\nHost: a.example.com\r\n\r\n\r\n\r\nGET /2 HTTP/1.1\r\nHost: a.example.com\r\n\r\n",
	"no HTTP":                           "\x00\x01\x02\x03\r\n\r\n",
}

// changing is what differs between two answers to the same.
var changing = regexp.MustCompile(`(?m)^(Date: .*|Postern-Reference: .*|.*"reference".*|X-Forwarded-For: .*)$|[0-9A-Z]{4}-[0-9A-Z]{4}(-[0-9A-Z]{4})*|[0-9a-f]{16,}`)

// echo tells what an application is asked.
func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "text/plain")
	fmt.Fprintf(w, "%s %s %s\n", r.Method, r.Host, r.RequestURI)
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		fmt.Fprintf(w, "%s: %q\n", name, r.Header[name])
	}
	fmt.Fprintf(w, "%q", body)
}

// What one reader makes of a connection, the other does too: statuses, where
// one request ends and the next begins, and what the application is asked.
func TestBothReadersAnswerAlike(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ben := w.enrol("ben")
	houses := map[string]*house{}
	for name, standard := range readers {
		houses[name] = w.openConfig(Options{}, Config{StandardReader: standard, Sites: []Site{{Host: "a.example.com", List: allow(t, "ben"), Handler: http.HandlerFunc(echo)}}})
	}
	for sentence, wire := range wires {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			wire += "GET /last HTTP/1.1\r\nHost: a.example.com\r\nConnection: close\r\n\r\n"
			for _, cut := range []int{len(wire), 1, len(wire) / 3, len(wire) - 1} {
				var answers []string
				for _, name := range slices.Sorted(maps.Keys(houses)) {
					answers = append(answers, answersTo(t, houses[name], ben, wire[:cut], wire[cut:]))
				}
				if answers[0] != answers[1] {
					t.Errorf("cut at %d of %d, at a desk:\n%s\n\nwith the standard library:\n%s", cut, len(wire), answers[0], answers[1])
				}
				if answers[0] == "" || strings.Contains(answers[0], "GET a.example.com /smuggled") {
					t.Errorf("the answers are %s", answers[0])
				}
			}
		})
	}
}

// answersTo sends two records and returns the answers, until the connection
// ends.
func answersTo(t *testing.T, h *house, d *device, first, second string) string {
	t.Helper()
	conn := h.mustDial(h.w.clientTLS(d, "a.example.com"))
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(60 * time.Second))
	io.WriteString(conn, first)
	io.WriteString(conn, second) // may come too late
	var all strings.Builder
	r := bufio.NewReader(conn)
	for {
		resp, err := http.ReadResponse(r, &http.Request{Method: firstWord(first + second)})
		if err != nil {
			return all.String()
		}
		body, err := io.ReadAll(resp.Body)
		resp.Header.Del("Date")
		resp.Header.Del("Postern-Reference")
		fmt.Fprintf(&all, "%s %v %v\n", resp.Status, resp.Close, err)
		for _, name := range slices.Sorted(maps.Keys(resp.Header)) {
			if name != "Content-Length" || resp.StatusCode == http.StatusOK {
				fmt.Fprintf(&all, "%s: %q\n", name, resp.Header[name])
			}
		}
		fmt.Fprintf(&all, "%s\n", changing.ReplaceAllString(string(body), "…"))
	}
}

func firstWord(s string) string {
	word, _, _ := strings.Cut(s, " ")
	if word != http.MethodHead {
		return http.MethodGet
	}
	return word
}

// A client that leaves ends its request, however it is read.
func TestAClientThatLeavesEndsItsRequest(t *testing.T) {
	for name, standard := range readers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			begun, ended := make(chan struct{}), make(chan struct{})
			h := w.openConfig(Options{}, Config{StandardReader: standard, Sites: []Site{{Host: "a.example.com", List: allow(t, "ben"), Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				close(begun)
				<-r.Context().Done()
				close(ended)
			})}}})
			conn := h.mustDial(w.clientTLS(w.enrol("ben"), "a.example.com"))
			io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n")
			within(t, begun, "the request")
			conn.Close()
			within(t, ended, "its end")
		})
	}
}

// What comes while a request takes long is read after it, and is no end.
func TestARequestMayComeWhileAnotherTakesLong(t *testing.T) {
	for name, standard := range readers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			begun, release := make(chan struct{}, 2), make(chan struct{})
			h := w.openConfig(Options{}, Config{StandardReader: standard, Sites: []Site{{Host: "a.example.com", List: allow(t, "ben"), Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				begun <- struct{}{}
				<-release
				fmt.Fprintf(rw, "%s %v", r.URL.Path, r.Context().Err())
			})}}})
			conn := h.mustDial(w.clientTLS(w.enrol("ben"), "a.example.com"))
			conn.SetDeadline(time.Now().Add(60 * time.Second))
			r := bufio.NewReader(conn)
			for _, path := range []string{"/1", "/2", "/3"} { // the next one each time
				fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: a.example.com\r\n\r\n", path)
			}
			for _, path := range []string{"/1", "/2", "/3"} {
				within(t, begun, "a request")
				time.Sleep(2 * watchAfter) // so that somebody looks
				release <- struct{}{}
				resp, err := http.ReadResponse(r, nil)
				must(t, err)
				if body := read(t, resp); body != path+" <nil>" {
					t.Fatal(body)
				}
			}
		})
	}
}

func within(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(60 * time.Second):
		t.Fatalf("%s does not come", what)
	}
}
