package gateway

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A splice copies bytes both ways between two connections.
type splice struct {
	// idle is how long the rest may be silent once one way has ended.
	idle time.Duration
	// in and out are the bytes from and to the client.
	in, out atomic.Int64
	// half is set when one way has ended in good order.
	half atomic.Bool
}

// run copies until both ways have ended. An end in good order is handed on as
// one, since some protocols answer after it; anything else breaks off both.
func (s *splice) run(client, behind net.Conn) {
	var both sync.WaitGroup
	both.Go(func() { s.copy(behind, client, &s.in) })
	both.Go(func() { s.copy(client, behind, &s.out) })
	both.Wait()
}

func (s *splice) copy(to, from net.Conn, count *atomic.Int64) {
	err := s.move(to, from, count)
	half, ok := to.(interface{ CloseWrite() error })
	if err != nil || !ok || half.CloseWrite() != nil {
		breakOff(to)
		breakOff(from)
		return
	}
	s.half.Store(true)
	to.SetReadDeadline(time.Now().Add(s.idle))
}

// breakOff ends a connection by a reset. The end of TLS, which says that all was
// said (RFC 8446 section 6.1), or of TCP would have whoever knows no other mark
// of the end take a part for the whole.
func breakOff(c net.Conn) {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if l, ok := c.(interface{ SetLinger(int) error }); ok {
		l.SetLinger(0)
	}
	c.Close()
}

// The sizes of a buffer, in bytes: a connection at rest keeps the small one.
const (
	smallBuffer = 2 << 10
	largeBuffer = 32 << 10
)

var largeBuffers = sync.Pool{New: func() any { return new([largeBuffer]byte) }}

// move copies until from ends, and returns nil when it ended in good order.
func (s *splice) move(to, from net.Conn, count *atomic.Int64) error {
	small := make([]byte, smallBuffer)
	var large *[largeBuffer]byte
	defer func() { giveBack(large) }()
	for {
		buf := small
		if large != nil {
			buf = large[:]
		}
		n, err := from.Read(buf)
		if n > 0 {
			count.Add(int64(n))
			if _, err := to.Write(buf[:n]); err != nil {
				return err
			}
			if s.half.Load() {
				from.SetReadDeadline(time.Now().Add(s.idle))
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case n == len(small) && large == nil:
			large = largeBuffers.Get().(*[largeBuffer]byte)
		case n < len(small) && large != nil:
			giveBack(large)
			large = nil
		}
	}
}

func giveBack(b *[largeBuffer]byte) {
	if b != nil {
		largeBuffers.Put(b)
	}
}
