package upstream

import (
	"sync"
	"sync/atomic"
	"time"
)

// What a member is taken out for, and for how long. One that fails is asked
// again after a while even if nothing checks its health.
const (
	failuresToPause = 3 // in a row
	pause           = 10 * time.Second
	checksToFall    = 2 // failed in a row
	checksToRise    = 2 // passed in a row, after it fell
)

// A member is one of the applications that share a site's work. It is safe
// for concurrent use.
type member struct {
	spec   string
	active atomic.Int64 // exchanges and connections under way

	mu       sync.Mutex // guards what follows
	failures int        // in a row, of what visitors asked
	until    time.Time  // paused until then
	fallen   bool       // by its health checks
	checks   int        // in a row that say the other thing than fallen
}

// well reports whether the member is to be given work at the time now.
func (m *member) well(now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.fallen && !now.Before(m.until)
}

// worked notes how something ended that a visitor asked for, and reports
// whether the member has to pause from now on.
func (m *member) worked(ok bool, now time.Time) (paused bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if ok {
		m.failures, m.until = 0, time.Time{}
		return false
	}
	if m.failures++; m.failures < failuresToPause {
		return false
	}
	paused = !now.Before(m.until)
	m.until = now.Add(pause)
	return paused
}

// checked notes how a health check ended, and reports whether the member fell
// or rose by it.
func (m *member) checked(ok bool) (changed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if ok != m.fallen {
		m.checks = 0
		return false
	}
	m.checks++
	if m.fallen && m.checks < checksToRise || !m.fallen && m.checks < checksToFall {
		return false
	}
	m.fallen, m.checks = !m.fallen, 0
	if !m.fallen {
		m.failures, m.until = 0, time.Time{}
	}
	return true
}
