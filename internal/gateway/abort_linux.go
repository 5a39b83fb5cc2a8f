package gateway

import (
	"net"
	"syscall"
	"unsafe"
)

// abort ends a TCP connection for its client at once: what was not yet sent is
// dropped and a reset goes out. Close does so only when the goroutine that waits
// in Read has had its turn, and among ten thousand that takes long. The socket
// still has to be closed. It reports whether it could.
func abort(nc net.Conn) bool {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return false
	}
	none := syscall.RawSockaddr{Family: syscall.AF_UNSPEC} // connect(2): it dissolves the association
	var errno syscall.Errno
	err = raw.Control(func(fd uintptr) {
		_, _, errno = syscall.RawSyscall(syscall.SYS_CONNECT, fd, uintptr(unsafe.Pointer(&none)), unsafe.Sizeof(none))
	})
	return err == nil && errno == 0
}
