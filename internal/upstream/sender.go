package upstream

import (
	"errors"
	"net"
	"sync"
	"time"
)

// A sender sends a request's body while the answer may already be coming.
type sender struct {
	link *link
	// limit is how long the answer may take once the body was sent.
	limit time.Duration
	done  chan struct{}
	err   error // once done is closed

	mu       sync.Mutex
	awaiting bool // somebody waits for the answer without a deadline
}

// lastWord is for how long an answer is waited for when the application takes
// no more of the body: it may have said why.
const lastWord = time.Second

// send starts to send the body behind the head.
func (x *leanExchange) send(l *link) *sender {
	s := &sender{link: l, limit: x.upstream.headerTimeout, done: make(chan struct{})}
	go func() {
		s.err = x.copyBody(l)
		close(s.done)
		s.hasten()
	}()
	return s
}

// hasten gives the answer a deadline, now that the body has come to its end.
func (s *sender) hasten() {
	_, client := errors.AsType[*bodyError](s.err)
	timeout, ok := errors.AsType[net.Error](s.err)
	if client || ok && timeout.Timeout() {
		s.link.abort() // nobody is to take what was sent for a whole request
		return
	}
	limit := s.limit
	if s.err != nil {
		limit = lastWord
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.awaiting {
		s.link.conn.SetReadDeadline(time.Now().Add(limit))
	}
}

// await waits until an answer begins. While a body is being sent the
// application owes none: the write timeout watches over it.
func (s *sender) await() error {
	l := s.link
	if l.r < l.w {
		return nil
	}
	s.mu.Lock()
	ended := s.ended()
	if !ended {
		l.readBy = time.Time{}
		l.conn.SetReadDeadline(time.Time{})
		s.awaiting = true
	}
	s.mu.Unlock()
	if ended {
		return nil
	}
	err := l.fill(maxAnswerHeader)
	s.mu.Lock()
	s.awaiting = false
	s.mu.Unlock()
	return err
}

// ended reports whether the sending is over, well or not.
func (s *sender) ended() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// sent reports whether all was sent.
func (s *sender) sent() bool { return s != nil && s.ended() && s.err == nil }

// first returns what went wrong first when both ways failed: an answer that
// does not come because the request could not be sent.
func (s *sender) first(err error) error {
	if s != nil && s.ended() && s.err != nil {
		return s.err
	}
	return err
}
