package gateway

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/refusal"
)

// A Limit bounds how much of a site or route one party may use.
type Limit struct {
	Per Party
	// Count requests are allowed in each Interval; zero bounds only Concurrent.
	Count    int
	Interval time.Duration
	// Burst is how many may come at once; Count when zero.
	Burst int
	// Concurrent requests may be in hand at once; zero for any number.
	Concurrent int
}

// A Party is what a limit counts by.
type Party uint8

// The parties. A stranger is counted by address in each case, and somebody who
// is in no group by identity. An address is a /64 in IPv6, which one customer
// has to themselves.
const (
	PerIdentity Party = iota
	PerGroup
	PerAddress
)

// maxParties bounds how many parties a limiter knows apart, and sweepParties how
// often it looks for those that it can forget.
const (
	maxParties   = 1 << 16
	sweepParties = time.Second
)

// A party is whom a bucket belongs to.
type party struct {
	name    identity.Name
	group   identity.Group
	address netip.Prefix
}

// A bucket is what one party has used: the theoretical arrival time of the
// generic cell rate algorithm, and the requests in hand.
type bucket struct {
	tat  time.Time
	busy int
}

// A limiter keeps a Limit. It is safe for concurrent use.
type limiter struct {
	Limit
	mu      sync.Mutex // guards what follows
	buckets map[party]*bucket
	swept   time.Time // when the buckets were last looked through
}

func newLimiter(l Limit) *limiter { return &limiter{Limit: l, buckets: map[party]*bucket{}} }

// take counts a request for all of parties, or for none: then it says how long
// to wait.
func (l *limiter) take(parties []party, now time.Time) (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var held [4]*bucket
	mine := held[:0]
	for i := range parties {
		b := l.bucket(&parties[i], now)
		if w, ok := l.room(b, now); !ok {
			return w, false
		}
		mine = append(mine, b)
	}
	for _, b := range mine {
		b.busy++
		if l.Count > 0 {
			b.tat = later(b.tat, now).Add(l.each())
		}
	}
	return 0, true
}

// room says whether one more request fits.
func (l *limiter) room(b *bucket, now time.Time) (wait time.Duration, ok bool) {
	if l.Concurrent > 0 && b.busy >= l.Concurrent {
		return time.Second, false
	}
	if l.Count == 0 {
		return 0, true
	}
	burst := l.Burst
	if burst == 0 {
		burst = l.Count
	}
	wait = later(b.tat, now).Add(l.each()).Sub(now) - time.Duration(burst)*l.each()
	return wait, wait <= 0
}

// each is the time between two requests at the rate of the limit.
func (l *limiter) each() time.Duration { return l.Interval / time.Duration(l.Count) }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// bucket returns a party's bucket. When there are too many parties, those go
// that have used nothing lately; and if none has, the new ones share one.
func (l *limiter) bucket(p *party, now time.Time) *bucket {
	if b := l.buckets[*p]; b != nil {
		return b
	}
	if len(l.buckets) >= maxParties && (now.Sub(l.swept) >= sweepParties || now.Before(l.swept)) {
		l.swept = now
		for k, b := range l.buckets {
			if b.busy == 0 && !b.tat.After(now) {
				delete(l.buckets, k)
			}
		}
	}
	if len(l.buckets) >= maxParties {
		*p = party{}
		if b := l.buckets[*p]; b != nil {
			return b
		}
	}
	b := &bucket{}
	l.buckets[*p] = b
	return b
}

// give notes that a request has ended.
func (l *limiter) give(parties []party) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range parties {
		if b := l.buckets[p]; b != nil {
			b.busy = max(0, b.busy-1)
		}
	}
}

// A hold is what a request in hand counts for.
type hold struct {
	limiter *limiter
	parties []party
}

// limit counts the request for every limit of its way, and refuses it when it
// is one too many.
func (x *exchange) limit() (refusal.Code, string) {
	for _, l := range x.way.limiters {
		parties := x.parties(l.Per)
		wait, ok := l.take(parties, x.start)
		if !ok {
			x.Header().Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(wait.Seconds())))))
			return refusal.RateLimited, fmt.Sprintf("%s, for %s", l.Limit, parties[0])
		}
		x.holds = append(x.holds, hold{l, parties})
	}
	return "", ""
}

// parties returns whom the request counts for.
func (x *exchange) parties(per Party) []party {
	if x.client.IsZero() || per == PerAddress {
		return []party{{address: household(x.conn.client())}}
	}
	return x.g.partiesOf(x.client, per)
}

// partiesOf returns whom a request of somebody enrolled counts for, by identity
// or by group.
func (g *Gateway) partiesOf(c Client, per Party) []party {
	groups := g.roster.Groups(c.Name)
	if per == PerIdentity || len(groups) == 0 {
		return []party{{name: c.Name}}
	}
	all := make([]party, len(groups))
	for i, g := range groups {
		all[i] = party{group: g}
	}
	return all
}

// household returns what one customer of a provider has to themselves.
func household(a netip.Addr) netip.Prefix {
	size := 32
	if a.Is6() && !a.Is4In6() {
		size = 64
	}
	p, err := a.Unmap().WithZone("").Prefix(size)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// release gives back what limit took.
func (x *exchange) release() {
	for _, h := range x.holds {
		h.limiter.give(h.parties)
	}
}

// String says the limit as postern.yaml does.
func (l Limit) String() string {
	s := "per " + l.Per.String()
	if l.Count > 0 {
		s += fmt.Sprintf(" %d in %v", l.Count, l.Interval)
	}
	if l.Concurrent > 0 {
		s += fmt.Sprintf(" %d at once", l.Concurrent)
	}
	return s
}

// String returns the word of postern.yaml.
func (p Party) String() string {
	switch p {
	case PerGroup:
		return "group"
	case PerAddress:
		return "address"
	}
	return "identity"
}

func (p party) String() string {
	switch {
	case !p.name.IsZero():
		return p.name.String()
	case !p.group.IsZero():
		return "group:" + p.group.String()
	case p.address.IsValid():
		return p.address.String()
	}
	return "everybody that there was no room to tell apart"
}

// limit gives every part of the door its limiters: the site's, which count all
// of it, and its own. What is as it was goes on counting.
func (w *ways) limit(s Site, old *door) {
	whole := limitersOf(s.Limits, old.limitersOf(""))
	w.rest.limiters = whole
	for _, one := range w.byRule {
		own := limitersOf(one.Limits, old.limitersOf(one.match))
		one.own = own
		one.limiters = append(whole[:len(whole):len(whole)], own...)
	}
	w.rest.own = whole
}

func limitersOf(limits []Limit, old []*limiter) []*limiter {
	all := make([]*limiter, len(limits))
	for i, l := range limits {
		all[i] = newLimiter(l)
		if i < len(old) && old[i].Limit == l {
			all[i] = old[i]
		}
	}
	return all
}

// limitersOf returns the limiters of the part with that pattern.
func (d *door) limitersOf(match string) []*limiter {
	if d == nil || d.rest == nil {
		return nil
	}
	for _, w := range d.all() {
		if w.match == match {
			return w.own
		}
	}
	return nil
}
