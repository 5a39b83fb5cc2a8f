package cli

import (
	"fmt"

	"github.com/coreos/go-systemd/v22/daemon"
)

// notify tells the service manager, if there is one, how the server is (see
// sd_notify(3)). A trouble is written down and changes nothing.
func (o *office) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		o.log.Warn("service manager not told", "state", state, "err", err)
	}
}

// notifyReady says that the server serves, and what.
func (o *office) notifyReady(at string) {
	if o.parent != nil {
		return // the process that this one follows says so, being believed
	}
	o.notify(daemon.SdNotifyReady + "\nSTATUS=" + o.statusLine(at))
}

func (o *office) statusLine(at string) string {
	return fmt.Sprintf("serving at %s, %d configured", at, len(o.inUse.Load().conf.Sites))
}
