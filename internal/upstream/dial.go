package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A dialError is a connection that did not come about.
type dialError struct {
	address string
	err     error
}

func (e *dialError) Error() string { return fmt.Sprintf("dial %s: %v", e.address, e.err) }

func (e *dialError) Unwrap() error { return e.err }

// A dialer connects to one fixed address, whatever it is asked for.
type dialer struct {
	net     net.Dialer
	network string
	address string
	tls     *tls.Config // nil without TLS
	write   time.Duration
}

// connect returns a connection without TLS.
func (d *dialer) connect(ctx context.Context) (net.Conn, error) {
	conn, err := d.net.DialContext(ctx, d.network, d.address)
	if err != nil {
		return nil, &dialError{d.address, d.reason(err)}
	}
	return conn, nil
}

// dial is connect for an http.Transport, with writes that are bounded.
func (d *dialer) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	conn, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	return &boundedConn{Conn: conn, write: d.write}, nil
}

// secure returns a connection with TLS, made within the dialer's time.
func (d *dialer) secure(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.net.Timeout)
	defer cancel()
	raw, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(&boundedConn{Conn: raw, write: d.write}, d.tls)
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, &dialError{d.address, fmt.Errorf("TLS handshake: %w", err)}
	}
	return conn, nil
}

// reason leaves out what a net.OpError says about the address, unless it is
// what a name resolved to.
func (d *dialer) reason(err error) error {
	op, ok := errors.AsType[*net.OpError](err)
	switch {
	case !ok || op.Op != "dial":
		return err
	case op.Addr == nil || op.Addr.String() == d.address:
		return op.Err
	}
	return fmt.Errorf("%s: %w", op.Addr, op.Err)
}

// A boundedConn fails a write of which nothing is taken for longer than write.
// One that is taken slowly goes on.
type boundedConn struct {
	net.Conn
	write time.Duration
	last  atomic.Pointer[time.Time] // what SetWriteDeadline was told
}

// Write renews the deadline as long as something moves.
func (c *boundedConn) Write(p []byte) (sent int, err error) {
	for {
		until := time.Now().Add(c.write)
		last := c.last.Load()
		if last != nil && last.Before(until) {
			until = *last
		}
		if err := c.Conn.SetWriteDeadline(until); err != nil {
			return sent, err
		}
		n, err := c.Conn.Write(p[sent:])
		if sent += n; n == 0 || last != nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return sent, err
		}
	}
}

// SetWriteDeadline bounds all writes together, as the end of a TLS connection
// is bounded; the zero time lifts that.
func (c *boundedConn) SetWriteDeadline(t time.Time) error {
	if t.IsZero() {
		c.last.Store(nil)
		return c.Conn.SetWriteDeadline(time.Now().Add(c.write))
	}
	c.last.Store(&t)
	return c.Conn.SetWriteDeadline(t)
}

// CloseWrite says that no more will come, as a WebSocket's tunnel does when
// its other end does so.
func (c *boundedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// SetLinger is that of the connection below: with 0 Close resets it.
func (c *boundedConn) SetLinger(seconds int) error { return setLinger(c.Conn, seconds) }

// setLinger says how c is to be closed, where c knows different ways.
func setLinger(c net.Conn, seconds int) error {
	if l, ok := c.(interface{ SetLinger(int) error }); ok {
		return l.SetLinger(seconds)
	}
	return nil
}

// SyscallConn is that of the connection below.
func (c *boundedConn) SyscallConn() (syscall.RawConn, error) {
	if below, ok := c.Conn.(syscall.Conn); ok {
		return below.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// bufferSize is what two full frames of HTTP/2 hold that are a TLS record each.
const bufferSize = 2 * (16<<10 - 9)

// buffers lends buffers for copying bodies; it is an httputil.BufferPool.
type buffers struct{ pool sync.Pool }

func newBuffers() *buffers {
	return &buffers{sync.Pool{New: func() any { return new([bufferSize]byte) }}}
}

// Get returns a buffer that belongs to the caller until Put.
func (b *buffers) Get() []byte { return b.pool.Get().(*[bufferSize]byte)[:] }

// Put takes a buffer back.
func (b *buffers) Put(p []byte) { b.pool.Put((*[bufferSize]byte)(p)) }
