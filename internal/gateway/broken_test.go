package gateway

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/upstream"
)

// The end of TLS says that all was said (RFC 8446 section 6.1). What breaks off
// behind the gateway does not end so, wherever only the end tells a client how
// long it was to be.
func TestWhatBreaksOffDoesNotEndInGoodOrder(t *testing.T) {
	const part = "the first part"
	reset := func(conn net.Conn) {
		time.Sleep(100 * time.Millisecond) // the part is underway
		conn.(*net.TCPConn).SetLinger(0)
	}
	chunk := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\ne\r\n" + part + "\r\n"
	for sentence, c := range map[string]struct {
		http  string // the version that the client speaks; "" for a tcp site
		serve func(net.Conn)
		whole bool
	}{
		"tcp, all was said":           {serve: func(c net.Conn) { io.WriteString(c, part) }, whole: true},
		"tcp, a reset":                {serve: func(c net.Conn) { io.WriteString(c, part); reset(c) }},
		"HTTP/1.0, all was said":      {http: "1.0", serve: speaks(chunk+"0\r\n\r\n", nil), whole: true},
		"HTTP/1.0, the end of it all": {http: "1.0", serve: speaks("HTTP/1.1 200 OK\r\n\r\n"+part, nil), whole: true},
		"HTTP/1.0, no last chunk":     {http: "1.0", serve: speaks(chunk, nil)},
		"HTTP/1.0, a reset":           {http: "1.0", serve: speaks("HTTP/1.1 200 OK\r\n\r\n"+part, reset)},
		"HTTP/1.1, no last chunk":     {http: "1.1", serve: speaks(chunk, nil)},
		"HTTP/1.1, all was said":      {http: "1.1", serve: speaks(chunk+"0\r\n\r\n", nil), whole: true},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			behind := behindTCP(t, c.serve)
			site := Site{Host: "a.example.com", List: allow(t, "ben")}
			if c.http == "" {
				site.Tunnel = behind
			} else {
				u, err := upstream.New("http://"+behind.address, upstream.Options{})
				must(t, err)
				t.Cleanup(u.CloseIdle)
				site.Handler = u.Handler(Refuse)
			}
			h := w.open(Options{}, site)
			conn := h.mustDial(rawTLS(w, w.enrol("ben"), "a.example.com"))
			conn.SetDeadline(time.Now().Add(5 * time.Second))
			if c.http != "" {
				fmt.Fprintf(conn, "GET / HTTP/%s\r\nHost: a.example.com\r\nConnection: close\r\n\r\n", c.http)
			}
			got, err := io.ReadAll(conn)
			if errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(string(got), part) {
				t.Fatalf("got %q, %v", got, err)
			}
			whole := err == nil
			if c.http == "1.1" {
				resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(got)), nil)
				must(t, err)
				_, err = io.ReadAll(resp.Body)
				whole = err == nil
			}
			if whole != c.whole {
				t.Errorf("it looks whole: %v; got %q, %v", whole, got, err)
			}
		})
	}
}

// speaks reads a request, says text, and ends the connection as end readies it.
func speaks(text string, end func(net.Conn)) func(net.Conn) {
	return func(c net.Conn) {
		c.Read(make([]byte, 4096))
		io.WriteString(c, text)
		if end != nil {
			end(c)
		}
	}
}

// What breaks off before the gateway is no end for an application either.
func TestAnUploadThatBreaksOffDoesNotEndInGoodOrder(t *testing.T) {
	const part = "the first part"
	for sentence, c := range map[string]struct {
		end   func(*world, *device, net.Conn)
		whole bool
	}{
		"the client says that it is all": {whole: true, end: func(_ *world, _ *device, c net.Conn) { c.(*tls.Conn).CloseWrite() }},
		"the client's connection is reset": {end: func(_ *world, _ *device, c net.Conn) {
			c.(*tls.Conn).NetConn().(*net.TCPConn).SetLinger(0)
			c.(*tls.Conn).NetConn().Close()
		}},
		"somebody changes what it says": {end: func(_ *world, _ *device, c net.Conn) {
			c.(*tls.Conn).NetConn().Write([]byte("\x17\x03\x03\x00\x20" + strings.Repeat("x", 32)))
		}},
		"its certificate is revoked": {end: func(w *world, d *device, _ net.Conn) { w.revoke(d) }},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			began, ended := make(chan struct{}), make(chan error, 1)
			h := w.open(Options{}, Site{Host: "a.example.com", List: allow(t, "ben"), Tunnel: behindTCP(t, func(c net.Conn) {
				c.SetDeadline(time.Now().Add(5 * time.Second))
				io.ReadFull(c, make([]byte, len(part)))
				close(began)
				_, err := io.Copy(io.Discard, c)
				ended <- err
			})})
			ben := w.enrol("ben")
			conn := h.mustDial(rawTLS(w, ben, "a.example.com"))
			io.WriteString(conn, part)
			<-began
			c.end(w, ben, conn)
			if err := <-ended; (err == nil) != c.whole || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("it came to %v", err)
			}
		})
	}
}
