package join

import (
	"path/filepath"
	"time"
)

// dueFrom is how long before a long-lived certificate's end it is renewed.
const dueFrom = 30 * 24 * time.Hour

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
	life := c.leaf.NotAfter.Sub(c.leaf.NotBefore)
	return c.leaf.NotAfter.Sub(now) <= min(life/3, dueFrom), nil
}
