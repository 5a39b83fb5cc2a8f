//go:build unix

package gateway

import "syscall"

// canPark says that readable can tell.
const canPark = true

// readable reports whether a read of fd would not wait.
func readable(fd uintptr) bool {
	var b [1]byte
	_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return err != syscall.EAGAIN && err != syscall.EWOULDBLOCK
}
