package cli

import (
	"fmt"

	"github.com/coreos/go-systemd/v22/daemon"
)

// notify tells the service manager, if there is one, how the server is (see
// sd_notify(3)). A trouble is written down and changes nothing.
func (s *server) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		s.log.Warn("service manager not told", "state", state, "err", err)
	}
}

// notifyReady says that the server serves, and what.
func (s *server) notifyReady() {
	if s.parent != nil {
		return // the process that this one follows says so, being believed
	}
	s.notify(daemon.SdNotifyReady + "\nSTATUS=" + s.statusLine())
}

func (s *server) statusLine() string {
	return fmt.Sprintf("serving at %s, %d configured", s.doors.Load().sites[0].Addr(), len(s.inUse.Load().Sites))
}
