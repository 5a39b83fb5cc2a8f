package gateway

import (
	"net/netip"
	"time"

	"github.com/postern-project/postern/internal/refusal"
)

// How many refusals alike are written, and how many kinds are told apart.
const (
	sampleWindow = time.Minute
	sampleFirst  = 10   // of each kind in a window
	sampleTotal  = 2000 // of all kinds in a window
	sampleKinds  = 8192
)

// recentSize is how many refusals are found whether they were written or not.
const recentSize = 512

// A kind is what refusals have in common that count as alike.
type kind struct {
	code    refusal.Code
	network netip.Prefix
}

// A tally is what a kind did in its window.
type tally struct {
	start            time.Time
	seen, suppressed int
}

// A sampler decides which refusals are worth a write. It is not safe for
// concurrent use.
type sampler struct {
	first, most int // to keep in a window: of each kind, of all kinds
	kinds       map[kind]*tally
	total       tally
}

func newSampler() sampler {
	return sampler{first: sampleFirst, most: sampleTotal, kinds: map[kind]*tally{}}
}

// take reports whether to keep a refusal, and if so how many of its kind were
// suppressed before it. Alarms are not counted against the total, so that no
// flood of others hides them.
func (s *sampler) take(code refusal.Code, address string, now time.Time) (keep bool, suppressed int) {
	t := s.tally(kind{code, network(address)}, now)
	s.total.renew(now)
	t.renew(now)
	t.seen++
	alarm := refusal.Lookup(code).Alarm
	if t.seen > s.first || s.total.seen >= s.most && !alarm {
		t.suppressed++
		return false, 0
	}
	if !alarm {
		s.total.seen++
	}
	suppressed, t.suppressed = t.suppressed, 0
	return true, suppressed
}

// renew begins a new window when the old one is over. What was suppressed
// waits for the next record.
func (t *tally) renew(now time.Time) {
	if now.Sub(t.start) >= sampleWindow || now.Before(t.start) {
		t.start, t.seen = now, 0
	}
}

// tally returns the count of k. When there are too many kinds, those of old
// windows go, and after that all new networks count as one.
func (s *sampler) tally(k kind, now time.Time) *tally {
	if t, ok := s.kinds[k]; ok {
		return t
	}
	if len(s.kinds) >= sampleKinds && now.Sub(s.total.start) >= sampleWindow {
		for old, t := range s.kinds {
			if now.Sub(t.start) >= sampleWindow {
				delete(s.kinds, old)
			}
		}
	}
	if len(s.kinds) >= sampleKinds {
		k.network = netip.Prefix{}
		if t, ok := s.kinds[k]; ok {
			return t
		}
	}
	t := &tally{start: now}
	s.kinds[k] = t
	return t
}

// network returns the /24 or /56 that an address, with or without a port,
// belongs to.
func network(address string) netip.Prefix {
	a, err := netip.ParseAddr(address)
	if err != nil {
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return netip.Prefix{}
		}
		a = ap.Addr()
	}
	a = a.Unmap().WithZone("")
	bits := 56
	if a.Is4() {
		bits = 24
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
