package gateway

import (
	"sync"
	"sync/atomic"
	"time"
)

// A stuck notices that an answer over HTTP/2 is not taken. A client that opens
// no window blocks nothing on the wire, where conn.Write would notice, and can
// say for ever that it is still there.
type stuck struct {
	since atomic.Int64 // when the write under way began, ns since 1970; 0 for none

	mu    sync.Mutex // guards what follows
	timer *time.Timer
	ended bool
}

// begin notes a write, which end has to follow.
func (s *stuck) begin(x *exchange) {
	if s.since.Swap(time.Now().UnixNano()) == 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.timer == nil && !s.ended {
			s.timer = time.AfterFunc(x.g.limits.Stall, func() { s.look(x) })
		}
	}
}

func (s *stuck) end() { s.since.Store(0) }

// over is called once, when the answer has ended: the server's writer is not to
// be used any more.
func (s *stuck) over() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	if s.timer != nil {
		s.timer.Stop()
	}
}

// look ends the stream when a write has been under way for too long. A deadline
// that is over does so, whoever waits; one that is yet to come would end an
// answer that has merely nothing to say for a while.
func (s *stuck) look(x *exchange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	since, limit := s.since.Load(), x.g.limits.Stall
	switch {
	case s.ended:
	case since == 0 || time.Since(time.Unix(0, since)) < limit:
		s.timer.Reset(limit / 2)
	default:
		if w, ok := x.ResponseWriter.(interface{ SetWriteDeadline(time.Time) error }); ok {
			w.SetWriteDeadline(time.Unix(1, 0))
		}
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
