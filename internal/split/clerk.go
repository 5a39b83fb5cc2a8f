//go:build unix

package split

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
)

// A Clerk hands out connections at one end of a line to whoever Asks at the
// other, a bounded number at a time: the next one waits until one was closed.
//
// Both ends of each are made here. Nothing but the asking is taken from the
// other process, which may be somebody else's by now: what is open is the same
// for all who hold it, so the end of a connection that came from there could be
// told to block, and no deadline would end a call over it. It is a
// net.Listener; close it when done.
type Clerk struct {
	l     *Line
	free  chan struct{}
	ended chan struct{}
	close func() error
}

// Clerk returns what hands out at most so many connections at a time at this
// end of the line.
func (l *Line) Clerk(most int) *Clerk {
	k := &Clerk{l: l, free: make(chan struct{}, most), ended: make(chan struct{})}
	k.close = sync.OnceValue(func() error {
		close(k.ended)
		return l.Close()
	})
	return k
}

// Accept waits until somebody asks for a connection. io.EOF is the end of the
// line.
func (k *Clerk) Accept() (net.Conn, error) {
	select {
	case k.free <- struct{}{}:
	case <-k.ended:
		return nil, net.ErrClosed
	}
	c, err := k.accept()
	if err != nil {
		<-k.free
		return nil, err
	}
	return &handedOut{Conn: c, back: sync.OnceFunc(func() { <-k.free })}, nil
}

func (k *Clerk) accept() (net.Conn, error) {
	var asked [1]byte // files that come with it are dropped by the kernel
	if _, err := io.ReadFull(k.l.c, asked[:]); err != nil {
		return nil, err
	}
	return k.l.DialContext(context.Background(), "", "")
}

// Addr returns the line's address, which has no meaning.
func (k *Clerk) Addr() net.Addr { return k.l.Addr() }

// Close ends the line.
func (k *Clerk) Close() error { return k.close() }

// A handedOut connection makes room for another when it is closed.
type handedOut struct {
	net.Conn
	back func()
}

func (c *handedOut) Close() error {
	defer c.back()
	return c.Conn.Close()
}

// Ask returns a connection from the Clerk at the other end, in the shape that an
// http.Transport wants. It waits for its turn.
func (l *Line) Ask(context.Context, string, string) (net.Conn, error) {
	l.asking.Lock()
	defer l.asking.Unlock()
	if err := l.Send(); err != nil {
		return nil, err
	}
	files, err := l.Receive()
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	if len(files) != 1 {
		return nil, fmt.Errorf("%d connections came for one", len(files))
	}
	got, err := Of(files[0])
	if err != nil {
		return nil, err
	}
	return got.c, nil
}
