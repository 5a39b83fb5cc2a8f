package upstream

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// A link is one HTTP/1.1 connection to an application. One exchange uses it at
// a time; only abort may be called by others meanwhile.
type link struct {
	conn  net.Conn
	raw   syscall.RawConn // of the socket below, to see whether something came
	plain bool            // without TLS: what goes through raw is HTTP
	write time.Duration   // how long a write may be stuck; 0 for one that conn bounds

	in   []byte // in[r:w] was read and not yet used
	r, w int
	out  []byte // room for the next head

	fields []field // room for the next answer's

	born, rested time.Time
	answered     bool // a byte of an answer came in the exchange under way
	readBy       time.Time
	writeBy      time.Time
	aborted      atomic.Bool
	refused      atomic.Bool // what is still to be sent is not wanted
	aborting     func()      // abort
	asking       asking
}

// errRefused ends the sending of a body that the application has refused.
var errRefused = errors.New("the application refused the request before its body was sent")

// errStale is a link from the pool that cannot be used: its application has
// ended it, or has said something that nobody asked for.
var errStale = errors.New("the connection did not outlast its rest")

// Bounds of what is kept for a link that rests.
const (
	linkBuffer = 4 << 10
	keptBuffer = 16 << 10
)

func newLink(conn net.Conn, write time.Duration, now time.Time) *link {
	l := &link{conn: conn, write: write, in: make([]byte, linkBuffer), out: make([]byte, 0, 1<<10), born: now}
	l.aborting = l.abort
	below := conn
	t, secure := conn.(*tls.Conn)
	if secure {
		below = t.NetConn()
	}
	if s, ok := below.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			l.raw, l.plain = raw, !secure
		}
	}
	return l
}

// abort ends what l is used for, from another goroutine.
func (l *link) abort() {
	l.aborted.Store(true)
	l.conn.Close()
}

func (l *link) close() { l.conn.Close() }

// awaitUntil makes reads fail that take longer; the zero time lifts that. A
// deadline that is late by no more than slack stays as it is, since setting
// one costs as much as a small read.
func (l *link) awaitUntil(t time.Time, slack time.Duration) error {
	if t.IsZero() {
		if l.readBy.IsZero() {
			return nil
		}
	} else if late := l.readBy.Sub(t); !l.readBy.IsZero() && late >= 0 && late <= slack {
		return nil
	} else {
		t = t.Add(slack)
	}
	l.readBy = t
	return l.conn.SetReadDeadline(t)
}

// Write sends b, and fails when the application takes none of it for too long.
// One that takes it slowly may go on.
func (l *link) Write(b []byte) (sent int, err error) {
	for len(b) > 0 {
		if l.refused.Load() {
			return sent, errRefused
		}
		piece := b[:min(len(b), 64<<10)]
		if now := time.Now(); l.write > 0 && l.writeBy.Sub(now) < l.write {
			l.writeBy = now.Add(l.write + l.write/4)
			if err := l.conn.SetWriteDeadline(l.writeBy); err != nil {
				return sent, err
			}
		}
		n, err := l.conn.Write(piece)
		sent += n
		b = b[n:]
		if l.write > 0 && n > 0 && errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err != nil {
			return sent, err
		}
	}
	return sent, nil
}

// fill reads more into the buffer, which grows up to most bytes.
func (l *link) fill(most int) error {
	if l.r == l.w {
		l.r, l.w = 0, 0
	}
	if l.w == len(l.in) {
		switch {
		case l.r > 0:
			l.w = copy(l.in, l.in[l.r:l.w])
			l.r = 0
		case len(l.in) >= most:
			return fmt.Errorf("malformed HTTP: the header exceeded %d bytes", most)
		default:
			l.in = append(l.in, make([]byte, min(len(l.in), most-len(l.in)))...)
		}
	}
	n, err := l.conn.Read(l.in[l.w:])
	l.w += n
	if n > 0 {
		l.answered = true
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// buffered returns what was read and not yet used, at most n bytes of it. The
// caller says by skip how much it has used.
func (l *link) buffered(n int64) []byte { return l.in[l.r : l.r+int(min(int64(l.w-l.r), n))] }

func (l *link) skip(n int) { l.r += n }

// line returns the next line without its CRLF. A line feed alone ends no line:
// two programs may differ about it.
func (l *link) line(most int) ([]byte, error) {
	for from := 0; ; {
		if at := bytes.IndexByte(l.in[l.r+from:l.w], '\n'); at >= 0 {
			end := l.r + from + at
			if end == l.r || l.in[end-1] != '\r' {
				return nil, errBareLF
			}
			line := l.in[l.r : end-1]
			l.r = end + 1
			return line, nil
		}
		if from = l.w - l.r; from > most {
			return nil, errors.New("malformed HTTP: a line exceeded its bound")
		}
		if err := l.fill(most + linkBuffer); err != nil {
			return nil, unexpected(err)
		}
	}
}

var errBareLF = errors.New("malformed HTTP: a line ends in LF without CR")

// unexpected is for an end where there has to be more.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// begin readies l for an exchange.
func (l *link) begin() { l.answered = false }

// rest readies l for the pool and reports whether it may be used again: not
// when the application has said more than it was asked.
func (l *link) rest(now time.Time) bool {
	if l.r != l.w || l.aborted.Load() {
		return false
	}
	l.r, l.w = 0, 0
	if len(l.in) > keptBuffer {
		l.in = make([]byte, linkBuffer)
	}
	if cap(l.out) > keptBuffer {
		l.out = make([]byte, 0, 1<<10)
	}
	clear(l.fields[:cap(l.fields)])
	l.fields = l.fields[:0]
	l.rested = now
	return true
}
