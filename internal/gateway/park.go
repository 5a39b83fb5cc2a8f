package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"
)

// parkAfter is how long an HTTP/1.1 connection rests before it is parked.
const parkAfter = time.Second

// A seat is an HTTP/1.1 connection as the HTTP server sees it. When nothing
// has come for a while after a request, the server is told that the connection
// has ended, so that its goroutine and its buffers are free; in truth the
// connection is parked, and comes back as a new one with the next byte. What
// was learnt in the handshake stays with the connection below.
type seat struct {
	*tls.Conn
	c     *conn
	state *tls.ConnectionState

	// idle says that the next read waits for a request. The server's reader in
	// the background asks it while the server may say that all is over.
	idle atomic.Bool

	// Used by the HTTP server's goroutine alone:
	room     int       // the size of an empty read buffer
	deadline time.Time // that the server set for reading
	parked   bool
	early    []byte // read already at a desk, and read again first
}

// newSeat returns what the HTTP server is given for t: t itself where it
// speaks HTTP/2, which keeps a state of its own, or where nobody could see
// that something came.
func newSeat(c *conn, t *tls.Conn, state tls.ConnectionState) net.Conn {
	if state.NegotiatedProtocol == "h2" || !c.watchable() {
		return t
	}
	return &seat{Conn: t, c: c, state: &state}
}

// watchable reports whether the kernel can tell when something has come.
func (c *conn) watchable() bool {
	_, ok := c.Conn.(*net.TCPConn)
	return ok && canPark && len(c.early) == 0
}

// seated notes what the HTTP server says of a connection (its ConnState).
func seated(nc net.Conn, state http.ConnState) {
	if s, ok := nc.(*seat); ok {
		s.idle.Store(state == http.StateIdle)
	}
}

// Read reads what the client sends. Between requests it waits for parkAfter,
// and then ends for the server. It does so only when the server's buffer is
// empty, since what is in there would be lost.
func (s *seat) Read(p []byte) (int, error) {
	if s.room == 0 {
		s.room = len(p)
	}
	if len(s.early) > 0 {
		n := copy(p, s.early)
		s.early = s.early[n:]
		return n, nil
	}
	if !s.idle.Load() || len(p) != s.room {
		return s.Conn.Read(p)
	}
	s.idle.Store(false)
	until := time.Now().Add(parkAfter)
	if !s.deadline.IsZero() && s.deadline.Before(until) {
		if err := s.Conn.SetReadDeadline(s.deadline); err != nil {
			return 0, err
		}
		return s.Conn.Read(p)
	}
	if err := s.Conn.SetReadDeadline(until); err != nil {
		return 0, err
	}
	n, err := s.Conn.Read(p)
	if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && !time.Now().Before(until) {
		s.parked = true
		return 0, io.EOF
	}
	return n, err
}

// SetReadDeadline sets a deadline for Read.
func (s *seat) SetReadDeadline(t time.Time) error {
	s.deadline = t
	if s.idle.Load() {
		return nil // Read sets it, or an earlier one
	}
	return s.Conn.SetReadDeadline(t)
}

// Close ends the connection, or parks it when that is why the server closes it.
func (s *seat) Close() error {
	if !s.parked {
		return s.Conn.Close()
	}
	go s.c.listener.park(s.c, s.Conn, s.state, s.deadline)
	return nil
}

// park keeps a connection until something comes, its time is over, or the
// listener ends; the latter two take leave in good order.
func (l *listener) park(c *conn, t *tls.Conn, state *tls.ConnectionState, deadline time.Time) {
	c.parked.Store(true)
	l.parkings.Add(1)
	t.SetReadDeadline(deadline)
	if l.inner.ended() || !awaitBytes(c.Conn) {
		t.Close()
		return
	}
	c.parked.Store(false)
	t.SetReadDeadline(time.Time{})
	if l.plainly(c, *state) {
		l.attend(c, t, state)
	} else if !l.inner.give(&seat{Conn: t, c: c, state: state}) {
		t.Close()
	}
}

// unpark ends the connections that are parked, or at rest at a desk. The
// handover has ended, so there will be no more.
func (l *listener) unpark() {
	for _, c := range l.g.index.of(l) {
		if c.parked.Load() || c.attended.Load() {
			c.Conn.SetReadDeadline(time.Unix(1, 0))
		}
	}
}

// awaitBytes waits until there is something to read, and reports false at the
// deadline.
func awaitBytes(nc net.Conn) bool {
	sock, ok := nc.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sock.SyscallConn()
	if err != nil {
		return false
	}
	return raw.Read(readable) == nil
}

// A housekeeper gives memory back after many connections were parked at once:
// what they used until then is free and would stay with the process for long.
type housekeeper struct{ seen, cleaned int64 }

// manyParked is from how many parkings on that pays.
const manyParked = 500

// look is called twice a second with the number of parkings ever.
func (h *housekeeper) look(parkings int64) {
	quiet := parkings == h.seen
	h.seen = parkings
	if quiet && parkings-h.cleaned >= manyParked {
		h.cleaned = parkings
		debug.FreeOSMemory()
	}
}

// keepHouse gives memory back until ctx ends.
func (l *listener) keepHouse(ctx context.Context) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for h := new(housekeeper); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			h.look(l.parkings.Load())
		}
	}
}

type seatKey struct{}

// describeTLS tells a handler behind an HTTP/1.1 connection of its TLS, as the
// standard library does where it knows of it.
func describeTLS(r *http.Request) {
	if r.TLS == nil {
		if s, ok := r.Context().Value(seatKey{}).(*seat); ok {
			r.TLS = s.state
		}
	}
}
