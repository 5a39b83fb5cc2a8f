package gateway

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
)

// How many neighbourhoods are remembered for having devices that were let in,
// and for how long.
const (
	maxNeighbours = 4096
	neighbourFor  = 7 * 24 * time.Hour
)

// neighbours are the /24 and /56 networks from which known devices came lately.
// Before a handshake ends that is all there is to tell them by. It is safe for
// concurrent use.
type neighbours struct {
	mu   sync.Mutex // guards seen
	seen map[netip.Prefix]time.Time
}

// note remembers where a known device came from.
func (n *neighbours) note(from netip.Prefix, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.seen == nil {
		n.seen = map[netip.Prefix]time.Time{}
	}
	if _, known := n.seen[from]; !known && len(n.seen) >= maxNeighbours {
		oldest, first := netip.Prefix{}, now
		for p, t := range n.seen {
			if !t.After(first) {
				oldest, first = p, t
			}
		}
		delete(n.seen, oldest)
	}
	n.seen[from] = now
}

// has reports whether a known device came from there lately.
func (n *neighbours) has(from netip.Prefix, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	t, ok := n.seen[from]
	return ok && now.Sub(t) < neighbourFor
}

// neighbourhood returns the network that c comes from, as far as it is known
// before the handshake.
func (c *conn) neighbourhood() netip.Prefix { return network(c.RemoteAddr().String()) }

// remember notes, once for each connection, that a known device came over it.
func (g *Gateway) remember(c *conn) {
	if !c.remembered.Load() && !c.remembered.Swap(true) {
		g.neighbours.note(c.neighbourhood(), g.now())
	}
}

// A queue holds the connections in handshake, the oldest first, and counts
// them by neighbourhood. It is guarded by its listener's mutex.
type queue struct {
	order *list.List // of waiter
	from  map[netip.Prefix]int
}

type waiter struct {
	conn *conn
	from netip.Prefix
}

func newQueue() queue { return queue{order: list.New(), from: map[netip.Prefix]int{}} }

func (q *queue) add(c *conn, from netip.Prefix) *list.Element {
	q.from[from]++
	return q.order.PushBack(waiter{c, from})
}

// remove takes an element out; it does nothing when it is gone already.
func (q *queue) remove(e *list.Element) {
	w := e.Value.(waiter)
	if w.conn == nil {
		return
	}
	e.Value = waiter{}
	q.order.Remove(e)
	if q.from[w.from]--; q.from[w.from] <= 0 {
		delete(q.from, w.from)
	}
}

// crowdedShare is the part of all handshakes that one neighbourhood may have
// before it has to make room for its own.
const crowdedShare = 8

// victim chooses who has to make room for one more from there. Honest
// handshakes are short, so it is the one that has taken longest: of the same
// neighbourhood when that has more than its share, else of those from where no
// known device came, else of all.
func (q *queue) victim(from netip.Prefix, known func(netip.Prefix) bool) *list.Element {
	crowded := q.from[from] > q.order.Len()/crowdedShare
	for e := q.order.Front(); e != nil; e = e.Next() {
		w := e.Value.(waiter)
		if crowded && w.from == from || !crowded && !known(w.from) {
			return e
		}
	}
	return q.order.Front()
}
