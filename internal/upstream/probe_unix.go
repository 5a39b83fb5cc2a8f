//go:build unix

package upstream

import "syscall"

// quiet reports whether l is open and nothing has come on it since it came to
// rest. An answer to nothing would be taken for the next request's.
func (l *link) quiet() bool {
	if l.raw == nil {
		return false
	}
	var b [1]byte
	quiet := false
	err := l.raw.Control(func(fd uintptr) {
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		quiet = err == syscall.EAGAIN || err == syscall.EWOULDBLOCK

	})
	return err == nil && quiet
}
