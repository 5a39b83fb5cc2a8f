//go:build unix

package cli

import (
	"os"
	"os/signal"
	"syscall"
)

// successionSignals ask a server to let the program at its path take over.
var successionSignals = []os.Signal{syscall.SIGUSR2}

func ignoreSuccession() { signal.Ignore(successionSignals...) }
