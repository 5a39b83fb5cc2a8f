package roster

import (
	"slices"
	"sync"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
)

// A Change is what a batch of entries changed for connections that are open.
type Change struct {
	// Certificates were revoked.
	Certificates []ledger.Ref
	// Names, and all below them, have to be judged again: they were suspended
	// or reinstated, or joined or left a group.
	Names []identity.Name
	// Tokens says that an app token was revoked.
	Tokens bool
	// Issuers are distrusted now.
	Issuers []ledger.KeyID
	// Trust means that everybody has to be judged again: the root or the
	// issuers changed, or the roster went stale.
	Trust bool
}

func (c *Change) isZero() bool {
	return !c.Trust && !c.Tokens && len(c.Certificates) == 0 && len(c.Names) == 0 && len(c.Issuers) == 0
}

// Watch has f called with every change, in order, one call at a time: after
// Check answers by it and before Apply returns. f must not call Apply. A call
// that runs while stop is called may end after stop has returned. Whoever
// registers a connection does so before asking Check, and misses nothing.
func (r *Roster) Watch(f func(Change)) (stop func()) { return r.watchers.add(f) }

type watchers struct {
	mu  sync.Mutex
	all []*func(Change) // in the order of Watch; replaced, never changed
}

func (w *watchers) add(f func(Change)) (stop func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := &f
	w.all = append(slices.Clone(w.all), p)
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.all = slices.DeleteFunc(slices.Clone(w.all), func(q *func(Change)) bool { return q == p })
	}
}

func (w *watchers) tell(c Change) {
	if c.isZero() {
		return
	}
	w.mu.Lock()
	all := w.all
	w.mu.Unlock()
	for _, f := range all {
		(*f)(c)
	}
}
