package gateway

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Why a connection was cut, as its requests' contexts tell.
var (
	errClosing = errors.New("the gateway is closing")
	errCrowded = errors.New("too many connections in handshake")

	errForsaken = errors.New("an answer was not taken to its end")
)

// A cutError says that somebody is no longer welcome.
type cutError struct{ why string }

func (e *cutError) Error() string { return e.why }

// A conn is one client's connection below TLS, together with what is known of
// the client. It outlives a hijack, so that a WebSocket is cut like any other.
type conn struct {
	net.Conn
	g        *Gateway
	listener *listener

	// Set during the handshake and constant afterwards.
	sni       string // the name that the client asked for, as it was written
	host      string // canonical name of the site that SNI chose
	again     *delay // not nil if it is refused without a certificate, as its client asked
	public    bool   // on the public side: never asked for a certificate
	tcp       bool   // to a tcp site
	challenge bool   // from a public authority that asks whether a host is ours
	startTLS  string // how TLS was asked for in the clear; "" if it was not
	version   uint16 // of TLS
	presented []*x509.Certificate

	credential atomic.Pointer[credential]
	asked      atomic.Bool                 // set before the first request is judged
	entered    atomic.Bool                 // set before anything behind the door is reached; from then on changes cut it
	unread     atomic.Int32                // an unread
	silent     atomic.Bool                 // nothing of any application is written any more
	bell       atomic.Pointer[http.Server] // set for HTTP/2
	sheaf      atomic.Pointer[sheaf]       // set for HTTP/2
	parked     atomic.Bool                 // at rest without the HTTP server
	attended   atomic.Bool                 // at a desk
	bearer     atomic.Bool                 // without a certificate, and a request had a token
	greeted    atomic.Bool                 // set when the first request was let in
	shaken     atomic.Bool                 // of QUIC: the handshake has ended well
	stall      stall
	more       atomic.Pointer[syscall.RawConn] // set while more follows each write at once

	where      atomic.Pointer[whereabouts]
	remembered atomic.Bool // as one over which a known device came
	partner    atomic.Pointer[acquaintance]

	mu     sync.Mutex // guards cancel, life, over, end and hand
	cancel context.CancelCauseFunc
	life   *life         // of the request under way at a desk
	over   error         // why it ended; nil while it lives
	end    chan struct{} // closed when it ends; nil while nobody waits for that
	hand   []*errand

	token atomic.Pointer[token] // the last statement about the client

	// What a load balancer said that may, instead of the connection's own
	// addresses; constant once TLS begins.
	remote, local net.Addr

	greeted3 func() // of QUIC: takes it out of the connections in handshake

	turn  *turn  // of a stranger in handshake; only while nothing else reads
	early []byte // read already, and read again first; only while nothing else reads

	place place // guarded by the crowd's mutex

	// Guarded by the index's mutex.
	filed *credential
	known bool
}

type connKey struct{}

func connOf(ctx context.Context) *conn {
	c, _ := ctx.Value(connKey{}).(*conn)
	return c
}

// attach returns the context of the connection's requests, which ends with it.
func (c *conn) attach(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancelCause(context.WithValue(ctx, connKey{}, c))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cancel = cancel
	if c.over != nil {
		cancel(c.over)
	}
	return ctx
}

// finish marks the connection as over, cancels its requests, and reports
// whether it was alive.
func (c *conn) finish(why error) bool {
	if !c.mark(why) {
		return false
	}
	c.wake()
	return true
}

// mark is finish without cancelling anything; wake has to follow.
func (c *conn) mark(why error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over != nil {
		return false
	}
	c.over = why
	if c.end != nil {
		close(c.end)
	}
	return true
}

// wake cancels the requests of a connection that is over.
func (c *conn) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cancel != nil {
		c.cancel(c.over)
	}
	if c.life != nil {
		c.life.end()
	}
}

// live has l end with the connection, if it does so before the next call.
func (c *conn) live(l *life) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.life = l
	if l != nil && c.over != nil {
		l.end()
	}
}

// Close ends the connection in good order.
func (c *conn) Close() error {
	if !c.finish(net.ErrClosed) {
		return nil
	}
	c.g.index.remove(c)
	c.g.crowd.leave(c)
	return c.Conn.Close()
}

// SetLinger is that of the connection below, where it has one: with 0 Close
// resets it.
func (c *conn) SetLinger(seconds int) error {
	if l, ok := c.Conn.(interface{ SetLinger(int) error }); ok {
		return l.SetLinger(seconds)
	}
	return nil
}

// cut ends the connection at once: what was not yet sent is dropped, and every
// request on it is cancelled. It reports whether the connection was alive.
func (c *conn) cut(why error) bool {
	if !c.silence(why) {
		return false
	}
	c.wake()
	c.g.index.remove(c)
	c.g.crowd.leave(c)
	c.reset()
	return true
}

// spokeFor returns the name and the serial number of the certificate that was
// shown, when its chain was good and the ledger has it under that name, be it
// withdrawn or not; empty otherwise.
func (c *conn) spokeFor() (name, serial string) {
	cr := c.credential.Load()
	if cr == nil || cr.client.Ref.IsZero() {
		return "", ""
	}
	if known := c.g.roster.Check(cr.client.Ref, cr.client.Certificate.NotBefore); known.Alarm || known.Name != cr.client.Name {
		return "", ""
	}
	return cr.client.Name.String(), cr.serial
}

// why returns why the connection ended, or nil while it lives.
func (c *conn) why() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.over
}

// A stall keeps a write deadline rolling, so that a client which stops reading
// is let go, while one that reads slowly may take as long as it likes.
type stall struct {
	armed    atomic.Int64 // the deadline in force, ns since 1970; 0 for unknown
	explicit atomic.Int64 // what SetWriteDeadline asked for; 0 for none
}

// Read reads what was looked at before first.
func (c *conn) Read(b []byte) (int, error) {
	if c.again != nil {
		c.again.heard = c.again.spoke
	}
	if len(c.early) > 0 {
		n := copy(b, c.early)
		c.early = c.early[n:]
		return n, nil
	}
	if c.turn != nil {
		return c.readInTurn(b)
	}
	return c.Conn.Read(b)
}

// Write writes b with a deadline that is at least half a stall away.
func (c *conn) Write(b []byte) (int, error) {
	if c.silent.Load() && c.bell.Load() == nil {
		return 0, c.why()
	}
	if c.turn != nil {
		c.turn.leave() // what was to be worked out is
	}
	if c.again != nil {
		c.delay()
	}
	if c.unread.Load() == int32(headRead) {
		c.overhear(len(b))
	}
	now, limit := time.Now().UnixNano(), int64(c.g.limits.Stall)
	if c.stall.armed.Load()-now < limit/2 {
		next := now + limit
		if e := c.stall.explicit.Load(); e != 0 && e < next {
			next = e
		}
		c.stall.armed.Store(next)
		if err := c.Conn.SetWriteDeadline(time.Unix(0, next)); err != nil {
			return 0, err
		}
	}
	if raw := c.more.Load(); raw != nil {
		return c.writeMore(*raw, b)
	}
	return c.Conn.Write(b)
}

// follows says whether more follows each write at once.
func (c *conn) follows(more bool) {
	if !more || !canSayMore {
		c.more.Store(nil)
		return
	}
	if sock, ok := c.Conn.(syscall.Conn); ok && c.more.Load() == nil {
		if raw, err := sock.SyscallConn(); err == nil {
			c.more.Store(&raw)
		}
	}
}

// SetDeadline is SetReadDeadline and SetWriteDeadline.
func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.Conn.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetWriteDeadline sets a deadline that Write keeps.
func (c *conn) SetWriteDeadline(t time.Time) error {
	var explicit int64
	if !t.IsZero() {
		explicit = t.UnixNano()
	}
	c.stall.explicit.Store(explicit)
	c.stall.armed.Store(0)
	return c.Conn.SetWriteDeadline(t)
}
