package confine

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"
)

// needed are the capabilities of root that a gateway uses: it listens on ports
// below 1024 and reads files of others.
const needed = 1<<unix.CAP_NET_BIND_SERVICE | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH

// Capabilities takes from every thread of this process what root can do beyond
// needed, such as looking into other processes. It is for good.
func Capabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	if sets[0].Permitted&^needed == 0 && sets[1].Permitted == 0 {
		return nil // a service manager's filter may refuse to be asked
	}
	sets[0].Permitted &= needed
	sets[0] = unix.CapUserData{Effective: sets[0].Permitted & sets[0].Effective, Permitted: sets[0].Permitted}
	sets[1] = unix.CapUserData{}
	if _, _, errno := psx.Syscall3(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&sets[0])), 0); errno != 0 {
		return fmt.Errorf("give up capabilities: %w", errno)
	}
	return nil
}
