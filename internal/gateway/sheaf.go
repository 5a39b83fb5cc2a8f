package gateway

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
)

// A sheaf is an HTTP/2 connection as the HTTP server sees it. The server sends
// the head of an answer alone and its body a moment later, in a TLS record and
// a write each. A sheaf keeps such a head back until the next frame comes, for
// sheafWait at most, and sends both in one.
type sheaf struct {
	*tls.Conn
	timer *time.Timer
	// prompt counts the answers under way of which a part was to be sent at
	// once: meanwhile nothing is kept back.
	prompt atomic.Int32

	mu   sync.Mutex // guards what follows
	held []byte
	left int // of the frame under way, in bytes
	head []byte
	err  error // of sending what was held
}

// sheafWait is how long a head waits for what belongs to it. What comes late,
// because a client has closed its window or an application is slow, goes alone.
const sheafWait = 2 * time.Millisecond

// most that is sent in one: the size of a TLS record.
const sheafMost = 16 << 10

func newSheaf(t *tls.Conn) *sheaf {
	s := &sheaf{Conn: t}
	s.timer = time.AfterFunc(time.Hour, s.late)
	s.timer.Stop()
	return s
}

// Write sends p, or keeps it when it ends in a head that something follows.
func (s *sheaf) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	waits := s.follow(p) && s.prompt.Load() == 0
	if !waits && len(s.held) == 0 {
		return s.Conn.Write(p)
	}
	if len(s.held)+len(p) > sheafMost {
		if s.send(); s.err != nil {
			return 0, s.err
		}
		return s.Conn.Write(p)
	}
	s.held = append(s.held, p...)
	if waits {
		s.timer.Reset(sheafWait)
		return len(p), nil
	}
	s.timer.Stop()
	s.send()
	return len(p), s.err
}

// send sends what is held.
func (s *sheaf) send() {
	if len(s.held) > 0 && s.err == nil {
		_, s.err = s.Conn.Write(s.held)
	}
	s.held = s.held[:0]
}

func (s *sheaf) late() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.send()
}

// Close sends what is held, unless a write is stuck, and ends the connection.
func (s *sheaf) Close() error {
	if s.mu.TryLock() {
		s.timer.Stop()
		s.send()
		s.mu.Unlock()
	}
	return s.Conn.Close()
}

// A frame's header (RFC 9113 section 4.1).
const frameHeader = 9

// follow reads along in what is written, and reports whether it ends with a
// whole head behind which there is more of the same stream.
func (s *sheaf) follow(p []byte) (waits bool) {
	for len(p) > 0 {
		waits = false
		if s.left > 0 {
			n := min(s.left, len(p))
			s.left -= n
			p = p[n:]
			continue
		}
		n := min(frameHeader-len(s.head), len(p))
		s.head = append(s.head, p[:n]...)
		p = p[n:]
		if len(s.head) < frameHeader {
			return false
		}
		s.left = int(s.head[0])<<16 | int(s.head[1])<<8 | int(s.head[2])
		kind, flags := http2.FrameType(s.head[3]), http2.Flags(s.head[4])
		s.head = s.head[:0]
		waits = kind == http2.FrameHeaders && flags.Has(http2.FlagHeadersEndHeaders) && !flags.Has(http2.FlagHeadersEndStream) && s.left == len(p)
		if waits {
			s.left = 0
			return true
		}
	}
	return waits
}

// greeting reads the opening of the client's side (RFC 9113 section 3.4).
func (s *sheaf) greeting(limit time.Duration) error {
	s.SetReadDeadline(time.Now().Add(limit))
	var b [len(http2.ClientPreface)]byte
	if _, err := io.ReadFull(s.Conn, b[:]); err != nil {
		return err
	}
	if string(b[:]) != http2.ClientPreface {
		return errors.New("no HTTP/2")
	}
	return s.SetReadDeadline(time.Time{})
}

// A carrier is how the standard library is given an HTTP/2 connection that is
// no *tls.Conn: inside one that is never used.
type carrier struct {
	net.Conn
	inner net.Conn
}

// UnencryptedNetConn returns what is carried.
func (c carrier) UnencryptedNetConn() net.Conn { return c.inner }

// carried is the protocol under which the standard library takes carriers, with
// the client's opening read.
const carried = "unencrypted_http2"

// hasten has nothing of the answer kept back any more, since a part of it is
// to be sent at once.
func (x *exchange) hasten() {
	if x.hastened {
		return
	}
	x.hastened = true
	if s := x.conn.sheaf.Load(); s != nil {
		s.prompt.Add(1)
	}
}

// calm ends that with the answer.
func (x *exchange) calm() {
	if s := x.conn.sheaf.Load(); s != nil && x.hastened {
		s.prompt.Add(-1)
	}
}
