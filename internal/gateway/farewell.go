package gateway

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

// farewell is how long the end of an HTTP/2 connection that is cut may take to
// reach its client. No application's byte is written any more by then.
const farewell = 20 * time.Millisecond

// newBell returns a server that serves nothing: it is what can tell the client
// of one HTTP/2 connection that it ends (GOAWAY, RFC 9113 section 6.8). The
// standard library does so for all connections at once that were made with a
// server's protocol, so each has one of its own.
func newBell(idle time.Duration) *http.Server {
	b := &http.Server{IdleTimeout: idle}
	b.Serve(nobody{}) // returns at once, with the protocol set up
	return b
}

// nobody is a listener to which nobody comes.
type nobody struct{}

func (nobody) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (nobody) Close() error              { return nil }
func (nobody) Addr() net.Addr            { return &net.TCPAddr{} }

// serveH2 serves an HTTP/2 connection of server until it ends.
func (l *listener) serveH2(server *http.Server, t *tls.Conn, h http.Handler) {
	b := newBell(l.g.limits.Idle)
	c, ok := t.NetConn().(*conn)
	if !ok {
		b.TLSNextProto["h2"](server, t, h)
		return
	}
	c.bell.Store(b)
	s := newSheaf(t)
	c.sheaf.Store(s)
	if err := s.greeting(l.g.limits.Header); err != nil {
		t.Close()
		return
	}
	b.TLSNextProto[carried](server, tls.Client(carrier{t, s}, nil), h)
}

// ring tells an HTTP/2 client that its connection ends, and reports whether
// there is one to tell.
func (c *conn) ring() bool {
	b := c.bell.Load()
	if b == nil {
		return false
	}
	b.Shutdown(context.Background()) // it has no connections to wait for
	return true
}

// silence sees to it that nothing of whatever is behind the connection is
// written any more. It reports whether the connection was alive; sever then has
// to follow.
func (c *conn) silence(why error) bool {
	if !c.mark(why) {
		return false
	}
	c.silent.Store(true)
	return true
}

// sever ends a silenced connection for its client; settle has to follow.
func (c *conn) sever() {
	if !abort(c.Conn) {
		c.reset()
	}
}

// settle cancels the requests of a silenced connection, and takes it out of
// every list. Its socket is closed, unless its client is still being told.
func (c *conn) settle() {
	c.wake()
	c.g.index.remove(c)
	c.g.crowd.leave(c)
	if c.bell.Load() == nil {
		c.reset()
	}
}

// reset closes the connection; what was not yet sent is dropped.
func (c *conn) reset() {
	if t, ok := c.Conn.(interface{ SetLinger(int) error }); ok {
		t.SetLinger(0)
	}
	c.Conn.Close()
}
