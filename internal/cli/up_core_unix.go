//go:build unix

package cli

import "syscall"

// leaveNoCore keeps the system from writing the process's memory, and the keys
// in it, to a file when it crashes. It is for good: a process that may not
// raise its limits cannot take it back.
func leaveNoCore() error {
	return syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{})
}
