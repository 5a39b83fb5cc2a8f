package join

import (
	"path/filepath"
	"time"

	"github.com/postern-project/postern/internal/invite"
)

// Due reports whether it is time to renew the certificate in dir: in the last
// third of its life, or the last thirty days of a longer one.
func Due(dir string, now time.Time) (bool, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return false, err
	}
	c, err := load(dir)
	if err != nil {
		return false, err
	}
	return !now.Before(invite.DueFrom(c.leaf.NotBefore, c.leaf.NotAfter)), nil
}
