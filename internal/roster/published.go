package roster

import (
	"sync"
	"time"

	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/profile"
)

// published is what revocation lists are made of: for each issuer how many
// certificates it issued, and for each of its shards which were revoked when.
type published struct {
	mu      sync.RWMutex // guards what follows
	issued  map[uint16]uint64
	last    map[uint16]uint32 // the highest shard of a certificate
	revoked map[shard][]withdrawn
}

// A shard is one revocation list of an issuer.
type shard struct {
	issuer uint16
	number uint32
}

// withdrawn is a revoked certificate, in eight bytes: its record, and the
// second of its revocation since 1970.
type withdrawn struct{ item, at uint32 }

func (p *published) init() {
	p.issued, p.last, p.revoked = map[uint16]uint64{}, map[uint16]uint32{}, map[shard][]withdrawn{}
}

func (p *published) countIssued(issuer uint16, serial ledger.Serial) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.issued[issuer]++
	p.last[issuer] = max(p.last[issuer], profile.ShardOf(serial.Bytes()))
}

func (p *published) enter(issuer uint16, serial ledger.Serial, item uint32, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := shard{issuer, profile.ShardOf(serial.Bytes())}
	p.revoked[s] = append(p.revoked[s], withdrawn{item, uint32(at.Unix())})
}

// A Revocation is one entry of a revocation list.
type Revocation struct {
	Serial ledger.Serial
	At     time.Time // in whole seconds
	Reason ledger.Reason
}

// Issued returns how many certificates the ledger holds by an issuer, and the
// highest shard that one of them has.
func (r *Roster) Issued(issuer ledger.KeyID) (n uint64, last uint32) {
	i, ok := r.trust.Load().byKey[issuer]
	if !ok {
		return 0, 0
	}
	r.published.mu.RLock()
	defer r.published.mu.RUnlock()
	return r.published.issued[i], r.published.last[i]
}

// RevokedCount returns how many entries Revoked returns.
func (r *Roster) RevokedCount(issuer ledger.KeyID, number uint32) int {
	i := r.trust.Load().byKey[issuer]
	r.published.mu.RLock()
	defer r.published.mu.RUnlock()
	return len(r.published.revoked[shard{i, number}])
}

// Revoked returns the revoked certificates of an issuer that a shard lists, in
// the order in which they were revoked. Which shard is the serial number's to
// say. ok is false for a roster that is not complete, from which no list may be
// made.
func (r *Roster) Revoked(issuer ledger.KeyID, number uint32) (list []Revocation, ok bool) {
	i, known := r.trust.Load().byKey[issuer]
	if !known || !r.ready.Load() {
		return nil, false
	}
	r.published.mu.RLock()
	defer r.published.mu.RUnlock()
	entries := r.published.revoked[shard{i, number}]
	list = make([]Revocation, 0, len(entries))
	for _, e := range entries {
		c := r.certificates.records.at(e.item)
		serial, err := ledger.SerialFromBytes(c.serial[:])
		if err != nil {
			return nil, false
		}
		list = append(list, Revocation{serial, time.Unix(int64(e.at), 0).UTC(), mark(c.mark.Load()).reason()})
	}
	return list, r.ready.Load()
}

// A Standing is what the ledger says of a serial number, for those who do not
// show the certificate itself.
type Standing struct {
	// Known says that the ledger holds a certificate of the number, and that it
	// was not recorded after its issuer was distrusted.
	Known   bool
	Revoked bool
	At      time.Time // of the revocation, in whole seconds
	Reason  ledger.Reason
}

// Standing returns the standing of an issuer's serial number. ok is false for a
// roster that is not complete, which can answer nobody.
func (r *Roster) Standing(issuer ledger.KeyID, serial ledger.Serial) (s Standing, ok bool) {
	i, known := r.trust.Load().byKey[issuer]
	if !known || !r.ready.Load() {
		return Standing{}, false
	}
	item, c, found := r.certificates.find(i, serial)
	if !found {
		return Standing{}, r.ready.Load()
	}
	m := mark(c.mark.Load())
	if m == 0 {
		m, _ = r.names.withdrawal(c.name, item)
	}
	s = Standing{Known: !m.void(), Revoked: m.revoked()}
	if s.Revoked {
		s.Reason, s.At = m.reason(), r.published.when(i, serial, item, m)
	}
	return s, r.ready.Load()
}

// when returns the second of a revocation, or its day when the ledger revoked
// the name as a whole and listed nothing.
func (p *published) when(issuer uint16, serial ledger.Serial, item uint32, m mark) time.Time {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for _, e := range p.revoked[shard{issuer, profile.ShardOf(serial.Bytes())}] {
		if e.item == item {
			return time.Unix(int64(e.at), 0).UTC()
		}
	}
	return m.day()
}
