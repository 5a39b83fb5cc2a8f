//go:build unix && !linux

package confine

import "syscall"

// ToFiles returns ErrUnsupported.
func ToFiles(Reach) error { return ErrUnsupported }

// Memory keeps the system from writing this process's memory, and the keys in
// it, to a file when it crashes. It is for good.
func Memory() error { return syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}) }
