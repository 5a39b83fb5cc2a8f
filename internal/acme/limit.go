package acme

import (
	"hash/maphash"
	"math"
	"net/netip"
	"sync"
	"time"
)

// buckets is the size of a limiter's table: 64 KiB of memory whatever happens.
const buckets = 4096

// A limiter holds a bucket of attempts for each key. Keys share a fixed number
// of buckets by a hash that nobody outside can compute, so that strangers can
// neither fill the memory nor choose whose bucket they empty.
type limiter struct {
	burst float64
	every time.Duration
	now   func() time.Time
	seed  maphash.Seed
	start time.Time

	mu  sync.Mutex
	all [buckets]bucket // guarded by mu
}

// A bucket was used this much at this time after the start; the use drains away
// at one attempt in each interval.
type bucket struct {
	used float64
	at   time.Duration
}

func newLimiter(burst int, every time.Duration, now func() time.Time) *limiter {
	return &limiter{burst: float64(burst), every: every, now: now, seed: maphash.MakeSeed(), start: now()}
}

// take counts an attempt, or says how long to wait until the next.
func (l *limiter) take(key string) (wait time.Duration, ok bool) { return l.use(key, 1) }

// look is take without counting.
func (l *limiter) look(key string) (wait time.Duration, ok bool) { return l.use(key, 0) }

func (l *limiter) use(key string, n float64) (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := &l.all[maphash.String(l.seed, key)%buckets]
	now := l.now().Sub(l.start)
	if passed := now - b.at; passed > 0 {
		b.used = max(0, b.used-float64(passed)/float64(l.every))
	}
	b.at = now
	if over := b.used + 1 - l.burst; over > 0 {
		return time.Duration(math.Ceil(over * float64(l.every))), false
	}
	b.used += n
	return 0, true
}

// limits bound what strangers and accounts can cause.
type limits struct {
	requests *limiter // by network: everything
	accounts *limiter // by network: new accounts
	opened   *limiter // all together: accounts that nobody invited
	failures *limiter // by account and host: validations that failed
}

func newLimits(now func() time.Time) limits {
	return limits{
		requests: newLimiter(20_000, 2*time.Millisecond, now),
		accounts: newLimiter(100, time.Minute, now),
		opened:   newLimiter(1000, 10*time.Second, now),
		failures: newLimiter(10, 6*time.Minute, now),
	}
}

// network returns what an address counts for: an IPv4 /24 or an IPv6 /56, which
// is what one household or attacker has.
func network(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	bits := 56
	if a.Is4() {
		bits = 24
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return ""
	}
	return p.String()
}

// seconds rounds up to whole seconds, at least one.
func seconds(d time.Duration) int { return max(1, int(math.Ceil(d.Seconds()))) }
