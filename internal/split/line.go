//go:build unix

package split

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Line is one end of a socket pair over which open files travel. Its two
// ends are for one direction: one sends or dials, the other receives or
// accepts. When either process ends, the other sees the end of the line. Close
// it when done; it is safe for concurrent use.
type Line struct {
	mu     sync.Mutex // held while sending
	asking sync.Mutex // held from a question to its answer
	c      *net.UnixConn
}

// sendWithin is how long the other process may leave what it was sent, when so
// much lies there that no more fits.
const sendWithin = 10 * time.Second

// New returns both ends of a line.
func New() (a, b *Line, err error) {
	x, y, err := pair()
	if err != nil {
		return nil, nil, err
	}
	return &Line{c: x}, &Line{c: y}, nil
}

// Of returns the line whose end f is. f stays the caller's.
func Of(f *os.File) (*Line, error) {
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("a line to the other process: %w", err)
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, errors.New("a line to the other process is no Unix socket")
	}
	return &Line{c: u}, nil
}

// pair returns two connected sockets that no program inherits.
func pair() (a, b *net.UnixConn, err error) {
	files, err := pairOfFiles()
	if err != nil {
		return nil, nil, err
	}
	defer files[0].Close()
	defer files[1].Close()
	x, err := Of(files[0])
	if err != nil {
		return nil, nil, err
	}
	y, err := Of(files[1])
	if err != nil {
		x.Close()
		return nil, nil, err
	}
	return x.c, y.c, nil
}

func pairOfFiles() (files [2]*os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return files, os.NewSyscallError("socketpair", err)
	}
	for i, fd := range fds {
		unix.CloseOnExec(fd)
		if err := unix.SetNonblock(fd, true); err != nil {
			unix.Close(fds[0])
			unix.Close(fds[1])
			return files, os.NewSyscallError("fcntl", err)
		}
		files[i] = os.NewFile(uintptr(fd), "line")
	}
	return files, nil
}

// File returns a copy of this end for another process. The caller closes it.
func (l *Line) File() (*os.File, error) { return Copy(l.c) }

// Copy returns a copy of a socket for another process. net's own File would
// have both ends block from the moment its descriptor is asked for, and whoever
// reads here could not be stopped any more.
func Copy(s syscall.Conn) (*os.File, error) {
	raw, err := s.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	var failed error
	if err := raw.Control(func(own uintptr) { fd, failed = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return nil, err
	}
	if failed != nil {
		return nil, os.NewSyscallError("fcntl", failed)
	}
	return os.NewFile(uintptr(fd), "socket"), nil
}

// Send passes copies of files, which stay the caller's, at most 250.
func (l *Line) Send(files ...*os.File) error {
	if len(files) > maxFiles {
		return fmt.Errorf("%d open files are to be passed to another process, and %d can be", len(files), maxFiles)
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = unix.UnixRights(fds...)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.c.SetWriteDeadline(time.Now().Add(sendWithin)); err != nil {
		return err
	}
	_, _, err := l.c.WriteMsgUnix([]byte{byte(len(files))}, rights, nil)
	return err
}

// ReceiveWithin is Receive for files that are there by then.
func (l *Line) ReceiveWithin(limit time.Duration) ([]*os.File, error) {
	if err := l.c.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return nil, err
	}
	defer l.c.SetReadDeadline(time.Time{})
	return l.Receive()
}

// Receive waits for files, which become the caller's. io.EOF is the end of the
// line.
func (l *Line) Receive() ([]*os.File, error) {
	var count [1]byte
	rights := make([]byte, unix.CmsgSpace(maxFiles*4))
	n, m, flags, _, err := l.c.ReadMsgUnix(count[:], rights)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, io.EOF
	}
	files, err := filesIn(rights[:m])
	if err == nil && (flags&unix.MSG_CTRUNC != 0 || len(files) != int(count[0])) {
		err = errors.New("files from the other process were lost on the way")
	}
	if err != nil {
		for _, f := range files {
			f.Close()
		}
		return nil, err
	}
	return files, nil
}

func filesIn(rights []byte) (files []*os.File, err error) {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue // another kind
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files, nil
}

// DialContext returns a connection to whoever accepts at the other end, in the
// shape that an http.Transport wants. It does not wait for that.
func (l *Line) DialContext(context.Context, string, string) (net.Conn, error) {
	files, err := pairOfFiles()
	if err != nil {
		return nil, err
	}
	defer files[0].Close()
	defer files[1].Close()
	mine, err := Of(files[0])
	if err != nil {
		return nil, err
	}
	if err := l.Send(files[1]); err != nil {
		mine.Close()
		return nil, err
	}
	return mine.c, nil
}

// Accept waits for a connection that was dialled at the other end. Anything
// else that arrives is closed.
func (l *Line) Accept() (net.Conn, error) {
	for {
		files, err := l.Receive()
		if err != nil {
			return nil, err
		}
		if len(files) == 1 {
			if got, err := Of(files[0]); err == nil {
				files[0].Close()
				return got.c, nil
			}
		}
		for _, f := range files {
			f.Close()
		}
	}
}

// Addr returns the line's address, which has no meaning.
func (l *Line) Addr() net.Addr { return l.c.LocalAddr() }

// Close ends the line: the other end sees io.EOF.
func (l *Line) Close() error { return l.c.Close() }
