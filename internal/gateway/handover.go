package gateway

import (
	"net"
	"sync"
)

// A handover is the listener from which the HTTP server takes connections
// whose handshake has ended.
type handover struct {
	addr net.Addr
	ch   chan net.Conn
	done chan struct{}
	once sync.Once
}

func newHandover(addr net.Addr) *handover {
	return &handover{addr: addr, ch: make(chan net.Conn), done: make(chan struct{})}
}

// give passes nc on and reports whether somebody took it.
func (h *handover) give(nc net.Conn) bool {
	select {
	case h.ch <- nc:
		return true
	case <-h.done:
		return false
	}
}

// Accept returns the next connection.
func (h *handover) Accept() (net.Conn, error) {
	select {
	case nc := <-h.ch:
		return nc, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

// Close makes Accept return; it may be called more than once.
func (h *handover) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

// ended reports whether nobody takes anything any more.
func (h *handover) ended() bool {
	select {
	case <-h.done:
		return true
	default:
		return false
	}
}

// Addr returns the address of the listener behind it.
func (h *handover) Addr() net.Addr { return h.addr }
