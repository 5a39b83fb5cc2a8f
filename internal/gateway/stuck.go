package gateway

import (
	"sync"
	"sync/atomic"
	"time"
)

// A stuck notices that a client does nothing about what it is waited for: that
// it takes nothing of an answer over HTTP/2, where one that opens no window
// blocks nothing on the wire that conn.Write would notice, and can say for ever
// that it is still there; or that it sends nothing of a body.
type stuck struct {
	since atomic.Int64 // when the call under way began, ns since 1970; 0 for none

	mu    sync.Mutex // guards what follows
	timer *time.Timer
	ended bool
}

// A quitter is in a call that giveUp ends.
type quitter interface{ giveUp() }

// begin notes a call of w's that may take limit; end has to follow.
func (s *stuck) begin(limit time.Duration, w quitter) {
	if s.since.Swap(time.Now().UnixNano()) == 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.timer == nil && !s.ended {
			s.timer = time.AfterFunc(limit, func() { s.look(limit, w) })
		}
	}
}

func (s *stuck) end() { s.since.Store(0) }

// over is called once, when the exchange has ended: the server's writer is not
// to be used any more.
func (s *stuck) over() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	if s.timer != nil {
		s.timer.Stop()
	}
}

// look ends a call that has been under way for too long. Only then is a
// deadline set, one that is over: it ends the call whoever waits, and one that is
// yet to come would end an answer, or a body, that merely waits for the other side.
func (s *stuck) look(limit time.Duration, w quitter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	since := s.since.Load()
	switch {
	case s.ended:
	case since == 0 || time.Since(time.Unix(0, since)) < limit || !s.since.CompareAndSwap(since, 0):
		s.timer.Reset(limit / 4)
	default:
		w.giveUp()
	}
}

// giveUp ends a write of which nothing is taken.
func (x *exchange) giveUp() {
	if w, ok := x.ResponseWriter.(interface{ SetWriteDeadline(time.Time) error }); ok {
		w.SetWriteDeadline(time.Unix(1, 0))
	}
}

// forsaken returns the connections of HTTP/2 that have had no request in hand
// since before then. The server ends one that rests; what is left has kept an
// answer from its last byte, when nobody here waits for it any more.
func (k *crowd) forsaken(all []*conn, then time.Time) (found []*conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range all {
		if c.bell.Load() != nil && c.place.requests == 0 && !c.place.since.IsZero() && c.place.since.Before(then) {
			found = append(found, c)
		}
	}
	return found
}

// forsake ends those, longer after their last answer than any may rest.
func (g *Gateway) forsake() {
	for _, c := range g.crowd.forsaken(g.index.every(), time.Now().Add(-g.limits.Idle-g.limits.Stall)) {
		c.cut(errForsaken)
	}
}
