//go:build unix

package upstream

import (
	"io"
	"net"
	"os"
	"syscall"
)

// An asking is a request on a link that rested, together with the first read
// of its answer: whether something has come that nobody asked for, the request,
// and the wait for the answer go through the poller once instead of three times.
type asking struct {
	step func(fd uintptr) (done bool) // one of this asking; made once for each link
	head []byte
	sent int
	in   []byte // room for what is read
	read int
	err  error
	at   stage
}

type stage uint8

const (
	looking stage = iota
	reading
	stale // something has come, or the application has closed
)

// ask sends head and reads the first of the answer, by the deadline of l. An
// application that is slow to take the request has sent less than all of it, and
// nothing was read then. errStale says that nothing was sent and that l is of no
// more use.
func (l *link) ask(head []byte) (sent int, err error) {
	a := &l.asking
	if a.step == nil {
		a.step = a.next
	}
	a.head, a.in, a.sent, a.read, a.err, a.at = head, l.in[l.w:], 0, 0, nil, looking
	err = l.raw.Read(a.step)
	a.head, a.in = nil, nil
	l.w += a.read
	l.answered = a.read > 0
	switch {
	case err != nil:
		return a.sent, err
	case a.at == stale:
		return 0, errStale
	case a.err != nil:
		return a.sent, &net.OpError{Op: "ask", Net: l.conn.RemoteAddr().Network(), Addr: l.conn.RemoteAddr(), Err: a.err}
	case a.sent == len(head) && a.read == 0:
		return a.sent, io.EOF
	}
	return a.sent, nil
}

// next is called once at first, and then whenever something may have come.
func (a *asking) next(fd uintptr) (done bool) {
	if a.at == reading {
		return a.hear(fd)
	}
	if a.at = reading; !silent(fd) {
		a.at = stale
		return true
	}
	a.say(fd)
	// The answer takes a moment: it is awaited before the first look.
	return a.err != nil || a.sent < len(a.head)
}

// say sends as much as the socket takes.
func (a *asking) say(fd uintptr) {
	for {
		n, err := syscall.Write(int(fd), a.head)
		switch err {
		case nil:
			a.sent = n
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
		default:
			a.err = os.NewSyscallError("write", err)
		}
		return
	}
}

// hear reads, and reports false while nothing has come.
func (a *asking) hear(fd uintptr) bool {
	for {
		n, err := syscall.Read(int(fd), a.in)
		switch err {
		case nil:
			a.read = n
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			return false
		default:
			a.err = os.NewSyscallError("read", err)
		}
		return true
	}
}

// silent reports whether the socket is open and nothing has come on it.
func silent(fd uintptr) bool {
	var b [1]byte
	_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return err == syscall.EAGAIN || err == syscall.EWOULDBLOCK
}

// quiet reports whether l is open and nothing has come on it since it came to
// rest. An answer to nothing would be taken for the next request's.
func (l *link) quiet() bool {
	if l.raw == nil {
		return false
	}
	quiet := false
	err := l.raw.Control(func(fd uintptr) { quiet = silent(fd) })
	return err == nil && quiet
}
