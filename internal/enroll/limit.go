package enroll

import (
	"hash/maphash"
	"math"
	"net/netip"
	"sync"
	"time"
)

// Limits bound how often one network may try. An attempt that succeeds does
// not count.
type Limits struct {
	// Burst is how many attempts are free at once; zero means 20.
	Burst int
	// Every is the time after which one more is; zero means 3 seconds.
	Every time.Duration
}

// slots is the size of the limiter's table, 64 KiB of memory whatever happens.
const slots = 4096

// A limiter holds a bucket of attempts for each address prefix. Prefixes share
// a fixed number of buckets by a hash that nobody outside can compute, so that
// strangers can neither fill the memory nor choose whose bucket they empty.
type limiter struct {
	burst float64
	every time.Duration
	now   func() time.Time
	seed  maphash.Seed
	start time.Time

	mu      sync.Mutex
	buckets [slots]bucket // guarded by mu
}

// A bucket has been used this much at this time after the start; the use
// drains away at one attempt in each interval.
type bucket struct {
	used float64
	at   time.Duration
}

func newLimiter(l Limits, now func() time.Time) *limiter {
	if l.Burst <= 0 {
		l.Burst = 20
	}
	if l.Every <= 0 {
		l.Every = 3 * time.Second
	}
	if now == nil {
		now = time.Now
	}
	return &limiter{burst: float64(l.Burst), every: l.Every, now: now, seed: maphash.MakeSeed(), start: now()}
}

// take counts an attempt, or says how long to wait until the next.
func (l *limiter) take(p netip.Prefix) (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.bucket(p)
	if over := b.used + 1 - l.burst; over > 0 {
		return time.Duration(math.Ceil(over * float64(l.every))), false
	}
	b.used++
	return 0, true
}

// giveBack undoes a take.
func (l *limiter) giveBack(p netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.bucket(p)
	b.used = max(0, b.used-1)
}

// bucket returns the prefix's bucket, drained up to now. l.mu is held.
func (l *limiter) bucket(p netip.Prefix) *bucket {
	b := &l.buckets[maphash.Comparable(l.seed, p)%slots]
	now := l.now().Sub(l.start)
	if passed := now - b.at; passed > 0 {
		b.used = max(0, b.used-float64(passed)/float64(l.every))
	}
	b.at = now
	return b
}

// prefixOf returns the network that a remote address counts for: an IPv4 /24
// or an IPv6 /56, which is what one household or attacker has. An address that
// cannot be read counts for the zero prefix.
func prefixOf(remote string) netip.Prefix {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{}
	}
	addr, bits := ap.Addr().Unmap().WithZone(""), 56
	if addr.Is4() {
		bits = 24
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// seconds rounds up to whole seconds, at least one.
func seconds(d time.Duration) int { return max(1, int(math.Ceil(d.Seconds()))) }
