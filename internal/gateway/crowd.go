package gateway

import (
	"container/list"
	"log/slog"
	"sync"
	"time"
)

// A crowd bounds how many connections there are, so that strangers cannot
// take the file descriptors which everything else needs. It is safe for
// concurrent use.
type crowd struct {
	mu   sync.Mutex // guards what follows, and place of every conn
	most int
	open int
	// Connections that speak for nobody known and whose handshake is over:
	// between requests and within one, the longest so the first.
	resting, busy *list.List
}

// A place is what the crowd knows of a connection.
type place struct {
	inside   bool
	requests int
	since    time.Time // when it came to rest, or became busy
	list     *list.List
	at       *list.Element
}

func newCrowd(most int) *crowd { return &crowd{most: most, resting: list.New(), busy: list.New()} }

// enter counts c. When there are too many connections, the stranger that has
// rested longest has to go, or else the one that has been busy longest; where
// there is no stranger, c has to.
func (k *crowd) enter(c *conn) (victim *conn, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.open >= k.most {
		first := k.resting.Front()
		if first == nil {
			first = k.busy.Front()
		}
		if first == nil {
			return nil, false
		}
		victim = first.Value.(*conn)
		victim.place.move(victim, nil)
	}
	k.open++
	c.place.inside = true
	return victim, true
}

// begin notes a request on c.
func (k *crowd) begin(c *conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c.place.requests++
	if c.place.list != nil {
		c.place.move(c, k.busy)
	}
}

// know notes that c speaks for somebody known, before they are answered: from
// here on no stranger's coming can push c out.
func (k *crowd) know(c *conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c.place.list != nil {
		c.place.move(c, nil)
	}
}

// rest notes the end of the handshake, or of a request that begin noted.
func (k *crowd) rest(c *conn, known bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c.place.requests = max(0, c.place.requests-1)
	switch {
	case known || !c.place.inside:
		c.place.move(c, nil)
	case c.place.requests > 0:
		c.place.move(c, k.busy)
	default:
		c.place.move(c, k.resting)
	}
}

// leave forgets c.
func (k *crowd) leave(c *conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c.place.inside {
		k.open--
		c.place.inside = false
		c.place.move(c, nil)
	}
}

// idle returns the strangers that have rested since before then.
func (k *crowd) idle(then time.Time) (idle []*conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for e := k.resting.Front(); e != nil && e.Value.(*conn).place.since.Before(then); e = k.resting.Front() {
		c := e.Value.(*conn)
		c.place.move(c, nil)
		idle = append(idle, c)
	}
	return idle
}

// move puts c at the end of a list, or on none.
func (p *place) move(c *conn, to *list.List) {
	if p.list != nil {
		p.list.Remove(p.at)
	}
	p.list, p.at, p.since = to, nil, time.Now()
	if to != nil {
		p.at = to.PushBack(c)
	}
}

// Connections returns how many connections are open now, WebSockets included.
func (g *Gateway) Connections() int { return int(g.index.size()) }

// admit counts c among the connections and reports whether there is room.
func (g *Gateway) admit(c *conn) bool {
	victim, ok := g.crowd.enter(c)
	if ok && victim == nil {
		return true
	}
	g.metrics.shakes[shakeCrowded].Inc()
	g.tell(slog.LevelWarn, "connection dropped: there are too many", "", address(c), slog.Int("most", g.limits.Connections))
	if victim != nil {
		victim.cut(errCrowded)
	}
	return ok
}

// dismiss ends the connections of strangers that rest for too long. The server
// notices by the deadline, and takes its leave in good order.
func (g *Gateway) dismiss() {
	for _, c := range g.crowd.idle(time.Now().Add(-g.limits.StrangerIdle)) {
		c.SetReadDeadline(time.Unix(1, 0))
	}
}

// admitStranger counts a request of somebody who is nobody known and was let in
// all the same, and reports whether there is room. Each request in hand takes
// memory for as long as its client likes, and strangers answer to nobody.
func (x *exchange) admitStranger() bool {
	if x.g.strangers.Add(1) > int64(x.g.limits.Strangers) {
		x.g.strangers.Add(-1)
		return false
	}
	x.stranger = true
	return true
}

// dismissStranger ends what admitStranger began.
func (x *exchange) dismissStranger() {
	if x.stranger {
		x.stranger = false
		x.g.strangers.Add(-1)
	}
}
