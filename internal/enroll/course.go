package enroll

import (
	"bytes"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/ledger"
)

// Bounds on what a Course remembers, and on a device's word for itself.
const (
	maxFollowed = 256
	maxSteps    = 8
	maxDevice   = 60
)

// A Course remembers what happened to the invitations that somebody watches,
// and which keys wait for a yes. Nothing of it is kept on disk: after a
// restart a device that still waits asks again. The zero Course is ready; it
// is safe for concurrent use. It knows invitations by their code's Hash.
type Course struct {
	mu       sync.Mutex // guards what follows
	followed map[ledger.Hash]*followed
	oldest   []ledger.Hash // in the order of their coming

	awaited atomic.Int32 // how many certificates have not been used yet
}

// A followed is one invitation.
type followed struct {
	steps   []invite.Step
	waiting *invite.Waiting
	asked   time.Time   // when the key that waits asked the last time
	tbs     ledger.Hash // of its certificate; zero before
	visited bool
}

// Steps returns what happened to an invitation since it was asked for the
// first time, oldest first.
func (c *Course) Steps(code ledger.Hash) []invite.Step {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]invite.Step(nil), c.follow(code).steps...)
}

// Waiting returns the keys that wait for a yes now, oldest first.
func (c *Course) Waiting(now time.Time) []invite.Waiting {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := []invite.Waiting{}
	for _, code := range c.oldest {
		if f := c.followed[code]; f.waiting != nil && now.Sub(f.asked) <= patience {
			all = append(all, *f.waiting)
		}
	}
	return all
}

// follow returns the invitation's course, which begins now if it is new.
func (c *Course) follow(code ledger.Hash) *followed {
	if f, ok := c.followed[code]; ok {
		return f
	}
	if c.followed == nil {
		c.followed = map[ledger.Hash]*followed{}
	}
	if len(c.oldest) == maxFollowed {
		c.forget(c.oldest[0])
		c.oldest = c.oldest[1:]
	}
	f := &followed{}
	c.followed[code], c.oldest = f, append(c.oldest, code)
	return f
}

func (c *Course) forget(code ledger.Hash) {
	if f := c.followed[code]; f.tbs != (ledger.Hash{}) && !f.visited {
		c.awaited.Add(-1)
	}
	delete(c.followed, code)
}

// report takes in what a page says, if somebody watches that invitation.
// Nobody else's word makes anything be remembered.
func (c *Course) report(code ledger.Hash, step, device string, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f, ok := c.followed[code]; ok {
		f.add(invite.Step{At: now, Step: step, Device: plain(device)})
	}
}

// patience is how long a key that waits may be silent before it is taken for
// gone, as when its page was closed: devices ask every other second.
const patience = 15 * time.Second

// wait notes that a key waits for a yes. Another key for the same code takes
// its place only when the first has gone.
func (c *Course) wait(code invite.Code, spki []byte, device string, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.follow(code.Hash())
	switch {
	case f.waiting == nil || now.Sub(f.asked) > patience:
		f.add(invite.Step{At: now, Step: invite.StepWaiting})
		f.waiting = &invite.Waiting{Invite: ledger.Hash(code.GuardedHash()).String(), PublicKey: spki, Device: f.device(device), Since: now}
	case !bytes.Equal(f.waiting.PublicKey, spki):
		return
	}
	f.asked = now
}

// issued notes that an invitation's certificate is out. Only one that somebody
// watches is remembered.
func (c *Course) issued(code ledger.Hash, i authority.Issued, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f, ok := c.followed[code]
	if !ok || f.tbs == i.Ref.TBS {
		return
	}
	f.waiting, f.tbs = nil, i.Ref.TBS
	f.add(invite.Step{At: now, Step: invite.StepIssued, Serial: i.Serial.String()})
	c.awaited.Add(1)
}

// Issued notes that an invitation's certificate is out by SCEP.
func (c *Course) Issued(i authority.Issued, now time.Time) { c.issued(i.Invite, i, now) }

// Visited notes that a certificate was let in somewhere. It costs next to
// nothing when no first visit is awaited.
func (c *Course) Visited(ref ledger.Ref, site string, now time.Time) {
	if c.awaited.Load() == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.followed {
		if f.tbs == ref.TBS && !f.visited {
			f.visited = true
			f.add(invite.Step{At: now, Step: invite.StepVisit, Site: site})
			c.awaited.Add(-1)
		}
	}
}

// device returns what the device said that it is when its page was opened, or
// else how it calls itself.
func (f *followed) device(agent string) string {
	for _, s := range f.steps {
		if s.Device != "" {
			return s.Device
		}
	}
	return plain(agent)
}

// add appends a step, once each.
func (f *followed) add(s invite.Step) {
	for _, had := range f.steps {
		if had.Step == s.Step && had.Device == s.Device {
			return
		}
	}
	if len(f.steps) < maxSteps {
		f.steps = append(f.steps, s)
	}
}

// plain makes a device's word for itself fit for a terminal: short, and
// printable ASCII.
func plain(s string) string {
	out := make([]rune, 0, maxDevice)
	for _, r := range s {
		if len(out) == maxDevice {
			break
		}
		if r < unicode.MaxASCII && unicode.IsPrint(r) {
			out = append(out, r)
		}
	}
	return string(out)
}
