package gateway

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

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
	kinds map[kind]*tally
	total tally
}

func newSampler() sampler { return sampler{kinds: map[kind]*tally{}} }

// take reports whether to keep a refusal, and if so how many of its kind were
// suppressed before it. Alarms are not counted against the total, so that no
// flood of others hides them.
func (s *sampler) take(code refusal.Code, address string, now time.Time) (keep bool, suppressed int) {
	t := s.tally(kind{code, network(address)}, now)
	s.total.renew(now)
	t.renew(now)
	t.seen++
	alarm := refusal.Lookup(code).Alarm
	if t.seen > sampleFirst || s.total.seen >= sampleTotal && !alarm {
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

// A ring holds the newest records.
type ring struct {
	records []Refused
	next    int
}

func newRing(size int) ring { return ring{records: make([]Refused, 0, size)} }

func (r *ring) add(rec Refused) {
	if len(r.records) < cap(r.records) {
		r.records = append(r.records, rec)
		return
	}
	r.records[r.next] = rec
	r.next = (r.next + 1) % len(r.records)
}

func (r *ring) find(ref refusal.Reference) (Refused, bool) { return findIn(r.records, ref) }

func findIn(list []Refused, ref refusal.Reference) (Refused, bool) {
	i := slices.IndexFunc(list, func(r Refused) bool { return r.Reference == ref })
	if i < 0 {
		return Refused{}, false
	}
	return list[i], true
}

// Bounds of a record's fields, in bytes: what identifies, and what explains.
const (
	maxField  = 512
	maxDetail = 2048
)

// presentable returns r with every text of it safe to show on a terminal.
func (r Refused) presentable() Refused {
	r.Detail = presentable(r.Detail, maxDetail)
	for _, s := range []*string{
		(*string)(&r.Code), &r.Site, &r.Host, &r.Method, &r.Path, &r.Address, &r.Client.Name,
		&r.Client.Serial, &r.Client.Subject, &r.Client.Issuer, &r.Client.IssuerKeyID,
	} {
		*s = presentable(*s, maxField)
	}
	return r
}

// presentable escapes what is not printable and shortens what is too long.
func presentable(s string, limit int) string {
	long := len(s) > limit
	if long {
		for limit > 0 && !utf8.RuneStart(s[limit]) {
			limit--
		}
		s = s[:limit]
	}
	if strings.IndexFunc(s, unprintable) >= 0 {
		quoted := strconv.Quote(s)
		s = strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
	}
	if long {
		s += "…"
	}
	return s
}

func unprintable(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }
