package gateway

import "syscall"

// canSayMore says that writeMore tells the kernel that more follows.
const canSayMore = true

// writeMore is Write when more follows at once, so that the kernel fills its
// packets: a TLS record is a quarter of the largest.
func (c *conn) writeMore(raw syscall.RawConn, b []byte) (n int, err error) {
	stuck := raw.Write(func(fd uintptr) bool {
		for n < len(b) {
			var sent int
			sent, err = syscall.SendmsgN(int(fd), b[n:], nil, nil, syscall.MSG_MORE|syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL)
			switch err {
			case nil:
				n += sent
			case syscall.EAGAIN:
				return false
			case syscall.EINTR:
			default:
				return true
			}
		}
		return true
	})
	if stuck != nil {
		err = stuck
	}
	return n, err
}
