package gateway

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/tls"
	"sync"
	"time"
)

// tickets seals and opens the session tickets of one door under one trust. A
// ticket refers to a chain that the trust remembers instead of carrying it:
// with the chain forgotten, it means nothing. It is safe for concurrent use.
type tickets struct {
	g     *Gateway
	trust *trust
	mark  []byte // what a ticket is good for, sealed with each

	mu   sync.Mutex // guards keys
	keys []ticketKey
}

type ticketKey struct {
	aead cipher.AEAD
	born time.Time
}

// rotation is how long a key seals tickets. For as long again it opens them:
// whoever steals the newest keys reads no connection that is older than both
// (RFC 8446 section 8.1; the key exchange keeps even those closed).
const rotation = 24 * time.Hour

func newTickets(g *Gateway, d *door) *tickets {
	return &tickets{g: g, trust: d.trust, mark: scopeMark(d)}
}

// wrap is the door's WrapSession. It is called once the client has proved to
// hold its key. A session without a certificate is never resumed, since there
// would be no chance to ask for one, and neither is one whose chain is not
// good: its ticket holds nothing.
func (t *tickets) wrap(cs tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
	now := t.g.now()
	aead, err := t.sealer(now)
	if err != nil {
		return nil, err
	}
	if len(cs.PeerCertificates) == 0 {
		return aead.Seal(nil, nil, nil, t.mark), nil
	}
	cr := t.trust.examine(cs.PeerCertificates, now)
	if !cr.remembered() {
		return aead.Seal(nil, nil, nil, t.mark), nil
	}
	state, err := ss.Bytes()
	if err != nil {
		return nil, err
	}
	plain := append(make([]byte, 0, 256), cr.key[:]...)
	return aead.Seal(nil, nil, cutOut(plain, state, cr.ders), t.mark), nil
}

// unwrap is the door's UnwrapSession. What it declines, by returning nil, goes
// on as a full handshake: a ticket of another door, trust or gateway, one that
// was never ours, one whose key or chain is gone.
func (t *tickets) unwrap(label []byte, _ tls.ConnectionState) (*tls.SessionState, error) {
	now := t.g.now()
	plain, ok := t.open(label, now)
	if !ok || len(plain) < len(fingerprint{}) || t.trust.generation != t.g.roster.Generation() {
		return nil, nil
	}
	cr := t.trust.known.recall(fingerprint(plain), now)
	if cr == nil {
		return nil, nil
	}
	state, ok := putBack(plain[len(fingerprint{}):], cr.ders)
	if !ok {
		return nil, nil
	}
	ss, err := tls.ParseSessionState(state)
	if err != nil {
		return nil, nil
	}
	return ss, nil
}

// sealer returns the newest key, a new one when that has had its time.
func (t *tickets) sealer(now time.Time) (cipher.AEAD, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.keys) > 0 && now.Before(t.keys[0].born.Add(rotation)) {
		return t.keys[0].aead, nil
	}
	secret := make([]byte, 32)
	rand.Read(secret) // never fails
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	t.keys = append([]ticketKey{{aead, now}}, t.keys...)
	t.keys = t.keys[:min(2, len(t.keys))]
	return aead, nil
}

// open returns what is in a ticket, and false when no living key opens it.
func (t *tickets) open(label []byte, now time.Time) (plain []byte, ok bool) {
	t.mu.Lock()
	keys := t.keys
	t.mu.Unlock()
	for _, k := range keys {
		if !now.Before(k.born.Add(2 * rotation)) {
			continue
		}
		if plain, err := k.aead.Open(nil, nil, label, t.mark); err == nil {
			return plain, true
		}
	}
	return nil, false
}
