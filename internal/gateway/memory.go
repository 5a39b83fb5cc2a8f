package gateway

import (
	"crypto/sha256"
	"crypto/x509"
	"sync"
	"time"

	"github.com/postern-project/postern/internal/chain"
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
// of the cost of a resumed handshake. It is safe for concurrent use.
type memory struct {
	mu          sync.Mutex // guards credentials
	credentials map[fingerprint]*credential
}

// maxKnown bounds a memory. One entry is the size of a certificate.
const maxKnown = 2048

func (m *memory) recall(key fingerprint, now time.Time) *credential {
	m.mu.Lock()
	defer m.mu.Unlock()
	cr := m.credentials[key]
	if cr == nil || !cr.holds(cr.trust, now) {
		return nil
	}
	return cr
}

// keep remembers cr, and forgets another when there is no room.
func (m *memory) keep(key fingerprint, cr *credential) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.credentials) >= maxKnown {
		for k := range m.credentials { // in no order
			delete(m.credentials, k)
			break
		}
	}
	m.credentials[key] = cr
}
