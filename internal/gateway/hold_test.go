package gateway

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"
)

// holdHouse has a site and a public side whose handler reads what it is sent.
func holdHouse(t *testing.T, site http.Handler) *house {
	limits := brisk
	limits.Drain = 150 * time.Millisecond
	public := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/join" {
			io.Copy(io.Discard, r.Body)
		}
		io.WriteString(rw, "public")
	})
	return newWorld(t).openConfig(Options{Limits: limits}, Config{Public: public, PublicHost: "join.example.com",
		Sites: []Site{{Host: "pw.example.com", Handler: site, List: allow(t, "ben")}}})
}

// Who announces a body and sends none is let go, whatever the answer is.
func TestNobodyHoldsAConnectionByAnnouncingABody(t *testing.T) {
	h := holdHouse(t, whoami)
	ben := h.w.enrol("ben")
	length, chunked := "Content-Length: 1000", "Transfer-Encoding: chunked"
	for sentence, c := range map[string]struct {
		device              *device
		sni, host           string
		method, path, field string
	}{
		"refused without a certificate":        {nil, "pw.example.com", "pw.example.com", "POST", "/x", length},
		"refused, in chunks":                   {nil, "pw.example.com", "pw.example.com", "POST", "/x", chunked},
		"refused, a GET with a body":           {nil, "pw.example.com", "pw.example.com", "GET", "/", length},
		"misdirected":                          {nil, "pw.example.com", "join.example.com", "POST", "/x", length},
		"the form is wrong":                    {nil, "pw.example.com", "pw.example.com", "POST", "/a%2fb", length},
		"the health of a site":                 {nil, "pw.example.com", "pw.example.com", "GET", "/.postern/health", length},
		"a reserved path that is nothing":      {ben, "pw.example.com", "pw.example.com", "POST", "/.postern/x", length},
		"a renewal":                            {ben, "pw.example.com", "pw.example.com", "POST", "/.postern/renew", chunked},
		"the public side, body not read":       {nil, "join.example.com", "join.example.com", "GET", "/", length},
		"the public side, body read":           {nil, "join.example.com", "join.example.com", "POST", "/join", length},
		"the public side, body read in chunks": {nil, "join.example.com", "join.example.com", "POST", "/join", chunked},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			conn := h.mustDial(h.w.clientTLS(c.device, c.sni))
			fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n\r\n", c.method, c.path, c.host, c.field)
			gone(t, conn)
		})
		t.Run(sentence+", by HTTP/2", func(t *testing.T) {
			t.Parallel()
			config := h.w.clientTLS(c.device, c.sni)
			config.NextProtos = []string{"h2"}
			s := newH2(t, h.mustDial(config))
			s.open(hpack.HeaderField{Name: ":method", Value: c.method}, hpack.HeaderField{Name: ":scheme", Value: "https"},
				hpack.HeaderField{Name: ":path", Value: c.path}, hpack.HeaderField{Name: ":authority", Value: c.host})
			gone(t, s.conn)
		})
	}
}

// gone waits for the end of a connection.
func gone(t *testing.T, conn net.Conn) {
	t.Helper()
	conn.SetDeadline(time.Now().Add(4 * time.Second))
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection is still open")
	}
}

// The bound is on strangers and on what is refused: who may pass uploads as
// slowly as they like, and the next request on a connection has no bound left
// from the one before.
func TestAnUploadOfSomebodyKnownIsNotHurried(t *testing.T) {
	h := holdHouse(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(rw, n, err)
	}))
	conn := h.mustDial(h.w.clientTLS(h.w.enrol("ben"), "pw.example.com"))
	health := "POST /.postern/x HTTP/1.1\r\nHost: pw.example.com\r\nContent-Length: 2\r\n\r\nab"
	if resp, _ := raw(t, conn, health); resp.StatusCode != http.StatusNotFound || resp.Close {
		t.Fatalf("first: %s, closing: %v", resp.Status, resp.Close)
	}
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	io.WriteString(conn, "POST /up HTTP/1.1\r\nHost: pw.example.com\r\nContent-Length: 4\r\nConnection: close\r\n\r\n")
	for range 4 {
		time.Sleep(150 * time.Millisecond)
		io.WriteString(conn, "x")
	}
	if got, err := io.ReadAll(conn); err != nil || !strings.HasSuffix(string(got), "4 <nil>") {
		t.Errorf("got %q %v", got, err)
	}
}

// open sends the header of a request whose body never comes.
func (s *h2) open(fields ...hpack.HeaderField) {
	s.tb.Helper()
	var block strings.Builder
	enc := hpack.NewEncoder(&block)
	enc.SetMaxDynamicTableSize(0)
	for _, f := range fields {
		must(s.tb, enc.WriteField(f))
	}
	s.send(block.String(), 4)
}

// send sends the header block of a new stream in one frame.
func (s *h2) send(block string, flags byte) (stream uint32) {
	s.tb.Helper()
	stream = s.next
	s.next += 2
	n := len(block)
	head := []byte{byte(n >> 16), byte(n >> 8), byte(n), 1, flags, byte(stream >> 24), byte(stream >> 16), byte(stream >> 8), byte(stream)}
	_, err := s.conn.Write(append(head, block...))
	must(s.tb, err)
	return stream
}
