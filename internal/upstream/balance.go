package upstream

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// A Balance is how work is shared among the members of a group.
type Balance string

// The ways to share work. The zero Balance is RoundRobin.
const (
	RoundRobin       Balance = "round-robin"
	LeastConnections Balance = "least-connections"
)

// ParseBalance returns the way to share work that is written as s.
func ParseBalance(s string) (Balance, error) {
	switch b := Balance(s); b {
	case RoundRobin, LeastConnections:
		return b, nil
	}
	return "", fmt.Errorf("%q is no way to share work: write %s or %s", s, RoundRobin, LeastConnections)
}

// A circle chooses among members. It is safe for concurrent use.
type circle struct {
	members []*member
	balance Balance
	turn    atomic.Uint64
}

// next returns the index of the member whose turn it is, among those that are
// not in tried; -1 when all are. One that is not well is chosen only where none
// is well: a wrong guess about health must not close a site.
func (c *circle) next(tried []int, now time.Time) int {
	n := len(c.members)
	from := 0
	if n > 1 {
		from = int(c.turn.Add(1) % uint64(n))
	}
	best, bestWell := -1, false
	for i := range n {
		at := (from + i) % n
		if slices.Contains(tried, at) {
			continue
		}
		m := c.members[at]
		well := m.well(now)
		switch {
		case best < 0 || well && !bestWell:
		case bestWell && !well || c.balance != LeastConnections || m.active.Load() >= c.members[best].active.Load():
			continue
		}
		best, bestWell = at, well
	}
	return best
}
