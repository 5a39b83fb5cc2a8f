package acme

import (
	"sync"
	"time"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/jws"
)

// How many accounts are remembered, and for how long: another process may
// change them. What an account may have is asked of the authority each time.
const (
	maxKnown  = 10_000
	knownTime = 5 * time.Second
)

// known remembers accounts with their keys, since every request needs one.
type known struct {
	mu  sync.Mutex
	all map[string]knownAccount // guarded by mu
}

type knownAccount struct {
	record kept[authority.ACMEAccount]
	key    jws.Key
	until  time.Time
}

func (k *known) get(id string, now time.Time) (knownAccount, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	a, ok := k.all[id]
	return a, ok && now.Before(a.until)
}

func (k *known) put(id string, a knownAccount) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.all == nil || len(k.all) >= maxKnown {
		k.all = map[string]knownAccount{}
	}
	k.all[id] = a
}

func (k *known) drop(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.all, id)
}
