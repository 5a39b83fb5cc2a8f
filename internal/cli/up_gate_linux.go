package cli

import "syscall"

// endWithParent has the kernel end a process with the one that started it, and
// gives it a session of its own: in that of a terminal it could type into it
// (TIOCSTI), and so command the operator's shell.
func endWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true}
}
