package gateway

import (
	"net"
	"sync/atomic"
)

// Doormen are goroutines that wait for another connection once theirs has
// ended: a handshake needs a larger stack than a goroutine begins with, and to
// grow one is a good part of what a resumed handshake costs.
type doormen struct {
	calls   chan net.Conn // to one that waits
	waiting atomic.Int32
}

// mostDoormen bounds how many wait.
const mostDoormen = 16

func newDoormen() doormen { return doormen{calls: make(chan net.Conn)} }

// attendDoor takes a connection through its handshake, and then others.
func (l *listener) attendDoor(nc net.Conn) {
	d := &l.doormen
	for {
		l.receive(nc)
		nc = nil
		if d.waiting.Add(1) > mostDoormen {
			d.waiting.Add(-1)
			return
		}
		select {
		case nc = <-d.calls:
			d.waiting.Add(-1)
		case <-l.inner.done:
			return
		}
	}
}

// receive takes one connection through its handshake, and then stays with it
// if its requests are to be read here.
func (l *listener) receive(nc net.Conn) {
	if attend := l.admitOne(nc); attend != nil {
		attend()
	}
}

func (l *listener) admitOne(nc net.Conn) (attend func()) {
	defer l.shakes.Done()
	defer l.greeting.Add(-1)
	return l.greet(nc)
}
