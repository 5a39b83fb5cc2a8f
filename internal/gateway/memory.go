package gateway

import (
	"crypto/sha256"
	"crypto/x509"
	"sync"
	"time"

	"github.com/postern-project/postern/internal/chain"
	"github.com/postern-project/postern/internal/ledger"
)

// A fingerprint is the hash of a presented chain, every byte of it.
type fingerprint [sha256.Size]byte

// fingerprintOf returns the fingerprint of presented, and false when that is
// larger than any chain worth remembering.
func fingerprintOf(presented []*x509.Certificate) (key fingerprint, ok bool) {
	size := 0
	for _, c := range presented {
		size += len(c.Raw)
	}
	if size > chain.MaxDER || len(presented) > chain.MaxPresented {
		return fingerprint{}, false
	}
	h := sha256.New()
	for _, c := range presented {
		h.Write([]byte{byte(len(c.Raw) >> 8), byte(len(c.Raw))}) // MaxDER fits
		h.Write(c.Raw)
	}
	h.Sum(key[:0])
	return key, true
}

// A memory holds the good chains of one trust, since two signatures are most
// of the cost of a handshake, and what session tickets refer to. The ones not
// used for longest go first (the clock algorithm). Of one leaf it holds one
// chain, so that nobody fills it with spellings of their own. It is safe for
// concurrent use.
type memory struct {
	mu      sync.Mutex // guards what follows
	slots   []slot
	byChain map[fingerprint]int // places in slots
	byLeaf  map[ledger.Hash]int // by the hash of what the issuer signed
	hand    int                 // where the search for a free slot goes on
}

type slot struct {
	credential *credential
	used       bool // since the hand came by
}

// maxKnown bounds a memory. One entry is a parsed certificate and some words
// around it, about 6 KiB, so a full memory holds 48 MiB.
const maxKnown = 8192

func newMemory() *memory {
	return &memory{byChain: make(map[fingerprint]int), byLeaf: make(map[ledger.Hash]int)}
}

// recall returns what the chain of that fingerprint came to, if it is
// remembered and still holds, else nil.
func (m *memory) recall(key fingerprint, now time.Time) *credential {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, ok := m.byChain[key]
	if !ok {
		return nil
	}
	s := &m.slots[i]
	if !s.credential.holds(s.credential.trust, now) {
		return nil
	}
	s.used = true
	return s.credential
}

// keep remembers cr, which is good, and forgets another when there is no room.
func (m *memory) keep(cr *credential) {
	m.mu.Lock()
	defer m.mu.Unlock()
	leaf := cr.client.Ref.TBS
	i, ok := m.byLeaf[leaf]
	switch {
	case ok:
	case len(m.slots) < maxKnown:
		i = len(m.slots)
		m.slots = append(m.slots, slot{})
	default:
		i = m.victim()
	}
	if old := m.slots[i].credential; old != nil {
		delete(m.byChain, old.key)
		delete(m.byLeaf, old.client.Ref.TBS)
	}
	m.slots[i] = slot{credential: cr}
	m.byChain[cr.key], m.byLeaf[leaf] = i, i
}

// victim returns a slot that was not used since the hand last came by.
func (m *memory) victim() int {
	for {
		i := m.hand
		m.hand = (m.hand + 1) % len(m.slots)
		if !m.slots[i].used {
			return i
		}
		m.slots[i].used = false
	}
}
