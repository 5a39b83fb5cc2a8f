//go:build unix

package cli

import (
	"os"
	"syscall"
)

// successionSignals ask a server to let the program at its path take over.
var successionSignals = []os.Signal{syscall.SIGUSR2}
