package gateway

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"
)

// parkedOne returns a connection that has had an answer and is parked.
func parkedOne(t *testing.T, h *house, d *device) (*tls.Conn, *bufio.Reader) {
	t.Helper()
	conn := h.mustDial(h.w.clientTLS(d, "a.example.com"))
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(60 * time.Second))
	r := bufio.NewReader(conn)
	askOn(t, conn, r, "GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n")
	awaitParked(t, h, 1)
	return conn, r
}

func askOn(t *testing.T, w io.Writer, r *bufio.Reader, request string) {
	t.Helper()
	io.WriteString(w, request)
	resp, err := http.ReadResponse(r, nil)
	must(t, err)
	if body := read(t, resp); resp.StatusCode != http.StatusOK || body != "hello ben" {
		t.Fatalf("%s %q", resp.Status, body)
	}
}

func awaitParked(t *testing.T, h *house, n int) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		parked := 0
		for _, c := range h.index.every() {
			if c.parked.Load() {
				parked++
			}
		}
		if parked == n {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d connections are parked, want %d", parked, n)
		}
	}
}

func TestAParkedConnectionGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.open(Options{}, ticketSites(allow(t, "ben"))...)
	conn, r := parkedOne(t, h, w.enrol("ben"))
	for range 2 {
		askOn(t, conn, r, "GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n")
		askOn(t, conn, r, "POST / HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: 5\r\n\r\nhello")
		awaitParked(t, h, 1)
	}
}

// The beginning of a request that came along with the one before is in the
// server's buffer: it must not be lost, or the rest would be read as another.
func TestHalfARequestIsNotParked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.open(Options{}, ticketSites(allow(t, "ben"))...)
	conn := h.mustDial(w.clientTLS(w.enrol("ben"), "a.example.com"))
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(60 * time.Second))
	r := bufio.NewReader(conn)
	for i := range 4 { // the server looks for four bytes at least
		next := "GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n"
		askOn(t, conn, r, next+next[:i])
		time.Sleep(parkAfter + 300*time.Millisecond)
		if i > 0 && h.index.every()[0].parked.Load() {
			t.Fatalf("parked with %d bytes of a request in the buffer", i)
		}
		askOn(t, conn, r, next[i:])
	}
}

func TestARevocationCutsAParkedConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.open(Options{}, ticketSites(allow(t, "ben"))...)
	d := w.enrol("ben")
	conn, r := parkedOne(t, h, d)
	w.revoke(d)
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if b, err := r.ReadByte(); err == nil {
		t.Fatalf("read %q", b)
	}
	if n := h.index.size(); n != 0 {
		t.Fatalf("%v connections are left", n)
	}
}

// Each request after the rest is judged like any other.
func TestAParkedConnectionIsJudgedAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.open(Options{}, ticketSites(allow(t, "ben"))...)
	conn, r := parkedOne(t, h, w.enrol("ben"))
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: b.example.com\r\n\r\n")
	resp, err := http.ReadResponse(r, nil)
	must(t, err)
	if resp.StatusCode != http.StatusMisdirectedRequest {
		t.Fatal(resp.Status)
	}
}

// At the end of its time, and at the end of the gateway, a parked connection
// gets a proper farewell and no reset.
func TestAParkedConnectionEndsInGoodOrder(t *testing.T) {
	for sentence, c := range map[string]struct {
		limits Limits
		end    func(*house)
	}{
		"by its idle time":    {Limits{Idle: 2500 * time.Millisecond}, func(*house) {}},
		"with the gateway":    {Limits{}, func(h *house) { h.end() }},
		"by its client's end": {Limits{}, nil},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			h := w.open(Options{Limits: c.limits}, ticketSites(allow(t, "ben"))...)
			conn, r := parkedOne(t, h, w.enrol("ben"))
			if c.end == nil {
				conn.Close()
				for end := time.Now().Add(30 * time.Second); h.index.size() > 0; time.Sleep(10 * time.Millisecond) {
					if time.Now().After(end) {
						t.Fatal("the connection is still counted")
					}
				}
				return
			}
			c.end(h)
			if _, err := r.ReadByte(); err != io.EOF {
				t.Fatalf("the connection ended by %v", err)
			}
		})
	}
}

func TestMemoryIsGivenBackOnceWhenAllIsQuiet(t *testing.T) {
	var k housekeeper
	for i, step := range []struct{ parkings, cleaned int64 }{{10, 0}, {10, 0}, {600, 0}, {900, 0}, {900, 900}, {900, 900}, {1000, 900}, {1000, 900}, {1400, 900}, {1400, 1400}} {
		if k.look(step.parkings); k.cleaned != step.cleaned {
			t.Fatalf("step %d: cleaned at %d, want %d", i, k.cleaned, step.cleaned)
		}
	}
}
