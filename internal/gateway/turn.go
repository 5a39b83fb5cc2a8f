package gateway

import (
	"net"
	"os"
	"runtime"
	"time"
)

// turns bound how many handshakes of strangers are worked on at once, to half
// of the processors: a handshake costs the server a signature and its client
// nothing, and those who are known want the other half. Whoever comes from
// where known devices do needs no turn.
//
// A turn that was had goes through a pipe before it is had again. The
// scheduler looks at the network when nothing else can run, so on a busy
// processor turns that pass from hand to hand would keep whatever a known
// device sends from being noticed, for up to 10 ms a time.
type turns struct {
	free chan struct{} // has an element for each turn to be had
	back *os.File      // where one goes that was had; nil: to free
}

func newTurns() *turns {
	n := max(1, runtime.GOMAXPROCS(0)/2)
	t := &turns{free: make(chan struct{}, n)}
	for range n {
		t.free <- struct{}{}
	}
	r, w, err := os.Pipe()
	if err != nil {
		return t
	}
	t.back = w
	go func() {
		defer r.Close()
		for had := make([]byte, 1); ; t.free <- struct{}{} {
			if _, err := r.Read(had); err != nil {
				return
			}
		}
	}()
	return t
}

// close ends what newTurns began, once nobody is in handshake.
func (t *turns) close() {
	if t.back != nil {
		t.back.Close()
	}
}

func (t *turns) giveBack() {
	if t.back != nil {
		if _, err := t.back.Write([]byte{0}); err == nil {
			return
		}
	}
	t.free <- struct{}{}
}

// A turn is what a connection in handshake needs for every step of it. It is
// had only while there is something to work out, and never while anything is
// waited for that the client can hold back. Only the handshake's goroutine
// uses it.
type turn struct {
	all   *turns
	taken bool
}

// take waits for the turn of a connection, until limit or its end.
func (t *turn) take(c *conn, limit time.Duration) error {
	if t.taken {
		return nil
	}
	select {
	case <-t.all.free:
		t.taken = true
		return nil
	default:
	}
	patience := time.NewTimer(limit)
	defer patience.Stop()
	select {
	case <-t.all.free:
		t.taken = true
		return nil
	case <-c.ended():
		return net.ErrClosed
	case <-patience.C:
		return os.ErrDeadlineExceeded
	}
}

// leave gives the turn to the next.
func (t *turn) leave() {
	if t.taken {
		t.taken = false
		t.all.giveBack()
	}
}

// makeRoom lets others have a turn in the midst of a step that takes long.
func (c *conn) makeRoom() error {
	if c.turn == nil {
		return nil
	}
	c.turn.leave()
	return c.turn.take(c, c.g.limits.Hello)
}

// takeTurns has a connection wait for its turns until endTurns, unless it comes
// from where known devices do.
func (c *conn) takeTurns() {
	if !c.g.neighbours.has(c.neighbourhood(), c.g.now()) {
		c.turn = &turn{all: c.g.turns}
	}
}

// endTurns comes before anything else may read or write the connection.
func (c *conn) endTurns() {
	if c.turn != nil {
		c.turn.leave()
		c.turn = nil
	}
}

// readInTurn lets go of the turn while it waits for the client.
func (c *conn) readInTurn(b []byte) (int, error) {
	c.turn.leave()
	n, err := c.Conn.Read(b)
	if n > 0 {
		if late := c.turn.take(c, c.g.limits.Hello); late != nil {
			return 0, late
		}
	}
	return n, err
}

// ended returns what is closed when the connection is over.
func (c *conn) ended() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.end == nil {
		c.end = make(chan struct{})
		if c.over != nil {
			close(c.end)
		}
	}
	return c.end
}
