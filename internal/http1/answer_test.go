package http1

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// handlers answer in all the ways that a handler may.
var handlers = map[string]http.HandlerFunc{
	"nothing":       func(http.ResponseWriter, *http.Request) {},
	"a status only": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) },
	"a status that nobody knows": func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(499)
		io.WriteString(w, "gone")
	},
	"a small body": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") },
	"a small page": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<!doctype html><p>hello") },
	"a small body in pieces": func(w http.ResponseWriter, _ *http.Request) {
		for range 10 {
			io.WriteString(w, "hello ")
		}
	},
	"a body of 2048 bytes": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("a", roomForBody)) },
	"a body of one more":   func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("a", roomForBody+1)) },
	"a large body in pieces": func(w http.ResponseWriter, _ *http.Request) {
		for i := range 300 {
			fmt.Fprintf(w, "%d %s\n", i, strings.Repeat("x", i))
		}
	},
	"a large body of known length": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "300000")
		w.Header().Set("Content-Type", "text/plain")
		io.Copy(w, strings.NewReader(strings.Repeat("b", 300000)))
	},
	"a part of something": func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set("Range", "bytes=10-100019")
		http.ServeContent(w, r, "a.txt", time.Unix(1e9, 0), strings.NewReader(strings.Repeat("0123456789", 20000)))
	},
	"a known length without a type": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		io.WriteString(w, "hello")
	},
	"no type wanted": func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil
		io.WriteString(w, "hello")
	},
	"no date wanted": func(w http.ResponseWriter, _ *http.Request) { w.Header()["Date"] = nil },
	"packed": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		io.WriteString(w, "\x1f\x8b")
	},
	"no content": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "7")
		w.WriteHeader(http.StatusNoContent)
		if _, err := io.WriteString(w, "nothing"); err != http.ErrBodyNotAllowed {
			panic(err)
		}
	},
	"not modified": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "7")
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Etag", `"a"`)
		w.WriteHeader(http.StatusNotModified)
	},
	"more than declared": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		io.WriteString(w, "hello")
		if _, err := io.WriteString(w, "!"); err != http.ErrContentLength {
			panic(err)
		}
	},
	"an end of the connection": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		io.WriteString(w, "bye")
	},
	"a coding of the handler's own": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Transfer-Encoding", "chunked")
		io.WriteString(w, strings.Repeat("hello", 1000))
	},
	"fields that would break the header": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-A", "b\r\nX-Injected: yes\r\n\r\nbody")
		w.Header()["X Y"] = []string{"no name"}
		w.Header()["X-Z\r\nX-Injected"] = []string{"yes"}
		w.Header()["X-Many"] = []string{" one ", "two"}
	},
	"fields that come too late": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Early", "yes")
		w.WriteHeader(http.StatusOK)
		w.Header().Set("X-Late", "yes")
		w.Header().Del("X-Early")
		io.WriteString(w, "hello")
	},
	"two statuses": func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusCreated)
		w.WriteHeader(http.StatusNotFound)
	},
	"a flush": func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "hello ")
		w.(http.Flusher).Flush()
		io.WriteString(w, "world")
	},
	"a flush of nothing": func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
	},
	"announced trailers": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Sum, X-Never")
		io.WriteString(w, "hello")
		w.Header().Set("X-Sum", "5")
	},
	"trailers that were not announced": func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "hello")
		w.(http.Flusher).Flush()
		w.Header().Set(http.TrailerPrefix+"X-Sum", "5")
	},
	"early hints": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		io.WriteString(w, "hello")
	},
	"a broken answer": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, "hello")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	},
	"less than declared": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, "hello")
	},
	"the connection itself": func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		rest := make([]byte, len(followed))
		if _, err := io.ReadFull(rw, rest); err != nil {
			panic(err)
		}
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(rest), rest)
	},
}

const (
	asked    = "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"
	followed = "GET /next HTTP/1.1\r\nHost: app.test\r\n\r\n"
)

// serve answers plain requests on a connection.
func serve(conn net.Conn, h http.Handler) {
	defer conn.Close()
	defer func() { recover() }()
	b, err := io.ReadAll(io.LimitReader(conn, int64(len(asked+followed))))
	if err != nil {
		return
	}
	a := NewAnswer(func() bool { return false }, func() []byte { return b }, func(bool) {})
	for len(b) > 0 {
		r, n, ok := Parse(b)
		if !ok {
			return
		}
		b = b[n:]
		a.Begin(conn)
		h.ServeHTTP(a, r)
		if a.Taken() {
			return
		}
		if more, _ := a.End(); !more {
			return
		}
	}
}

// told is all that a client learns from the answers to two requests: the
// second tells that the first ended where it should.
func told(t *testing.T, address string) (all []string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	io.WriteString(conn, asked+followed)
	r := bufio.NewReader(conn)
	for i := 0; i < 2; {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return append(all, fmt.Sprintf("then %v", err))
		}
		body, err := io.ReadAll(resp.Body)
		date := resp.Header.Get("Date")
		if _, parse := http.ParseTime(date); date != "" && parse != nil {
			t.Errorf("Date is %q", date)
		} else if date != "" {
			resp.Header.Set("Date", "now")
		}
		var fields []string
		for _, name := range slices.Sorted(maps.Keys(resp.Header)) {
			fields = append(fields, fmt.Sprintf("%s=%q", name, resp.Header[name]))
		}
		all = append(all, fmt.Sprintf("%s %d %v close=%v %v trailer=%v body of %d: %.300q %v", resp.Status, resp.ContentLength, resp.TransferEncoding,
			resp.Close, fields, resp.Trailer, len(body), body, err))
		if resp.StatusCode >= 200 {
			i++
		}
	}
	return all
}

func TestAnswersAreThoseOfTheStandardLibrary(t *testing.T) {
	for name, h := range handlers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			both := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/" {
					h(w, r)
				} else {
					io.WriteString(w, "next")
				}
			})
			standard := httptest.NewServer(both)
			defer standard.Close()
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			go func() {
				if conn, err := ln.Accept(); err == nil {
					serve(conn, both)
				}
			}()
			got, want := told(t, ln.Addr().String()), told(t, standard.Listener.Addr().String())
			if !slices.Equal(got, want) {
				t.Errorf("got\n%s\nand from the standard library\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}
