package roster

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
)

// A Snapshot is one moment of a roster, which goes on meanwhile: what only
// grows is shared with it, everything else was copied. Two rosters that
// applied the same entries have snapshots of the same bytes.
//
// What trusts anything is kept as the ledger's own entries, so that whoever
// reads them checks the root's signatures again. The rest is what the entries
// add up to:
//
//	u64 size, u64 epoch
//	u32 n, n × (u64 number, entry)       roots, ledger keys, issuers, epochs
//	u32 n, n × text                      profiles
//	u32 n, n × (u32 parent, text)        names; a parent comes first
//	u32 n, n × u32 name                  suspended
//	u32 n, n × (u32 name, u64 mark)      revoked as a whole
//	u32 n, n × (u32 name, u32 m, m × text) groups that a name was put into
//	u32 n, n × text                      groups that were ever named
//	u32 n, n × (entry, hash, u8)         ACME accounts
//	u32 n, n × (entry, u8)               app tokens
//	u32 n, n × entry                     open invites
//	u32 n, n × certificate               61 bytes each
//	u32 n, n × (u16 issuer, u32 shard, u32 m, m × (u32 certificate, u32 second, u8 reason))
//
// Numbers are big-endian; a text or an entry has its length before it, in four
// bytes. Lists that have no order of their own are sorted.
type Snapshot struct {
	roster       *Roster
	size, epoch  uint64
	history      []numbered
	profiles     []string
	names        uint32
	suspended    []uint32
	withdrawn    map[uint32]uint64
	members      map[uint32][]identity.Group
	groups       []identity.Group
	accounts     []Account
	tokens       []Token
	invites      map[ledger.Hash]ledger.InviteCreated
	certificates uint32
	revoked      map[shard][]withdrawn
}

// A numbered entry changed what is trusted.
type numbered struct {
	seq   uint64
	entry ledger.Entry
}

// Snapshot returns the roster as it is now. It waits for Apply, and Apply for
// it, for as long as it takes to copy what an operator has set by hand: no
// reader waits. false is the answer of a roster that is not complete.
func (r *Roster) Snapshot() (*Snapshot, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ready.Load() {
		return nil, false
	}
	s := &Snapshot{
		roster: r, size: r.Size(), epoch: r.trust.Load().epoch, history: slices.Clip(r.history),
		names: r.names.nodes.n, suspended: slices.Sorted(maps.Keys(r.suspended)), withdrawn: maps.Clone(r.withdrawn),
		members: maps.Clone(r.members), invites: maps.Clone(r.invites),
		certificates: r.certificates.count(), revoked: r.published.all(),
	}
	if words := r.words.list.Load(); words != nil {
		s.profiles = *words
	}
	r.groups.Range(func(g, _ any) bool {
		s.groups = append(s.groups, g.(identity.Group))
		return true
	})
	r.accounts.byKey.Range(func(_, a any) bool {
		s.accounts = append(s.accounts, a.(Account))
		return true
	})
	s.tokens = r.tokens.all()
	slices.SortFunc(s.groups, compareGroups)
	slices.SortFunc(s.tokens, func(a, b Token) int { return slices.Compare(a.Token[:], b.Token[:]) })
	slices.SortFunc(s.accounts, func(a, b Account) int { return strings.Compare(a.Key, b.Key) })
	return s, true
}

func compareGroups(a, b identity.Group) int { return strings.Compare(a.String(), b.String()) }

// all returns every list as it is now: they only grow.
func (p *published) all() map[shard][]withdrawn {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return maps.Clone(p.revoked)
}

// Size returns of how many entries it is.
func (s *Snapshot) Size() uint64 { return s.size }

// Epoch returns the epoch that these entries end in.
func (s *Snapshot) Epoch() uint64 { return s.epoch }

// Write writes the snapshot. Nothing in it says that it is true.
func (s *Snapshot) Write(w io.Writer) error {
	o := writer{Writer: bufio.NewWriterSize(w, 1<<20)}
	o.u64(s.size)
	o.u64(s.epoch)
	o.count(len(s.history))
	for _, h := range s.history {
		o.u64(h.seq)
		o.entry(h.entry)
	}
	o.texts(s.profiles)
	s.writeNames(&o)
	o.count(len(s.groups))
	for _, g := range s.groups {
		o.text(g.String())
	}
	o.count(len(s.accounts))
	for _, a := range s.accounts {
		o.entry(ledger.Entry{At: noTime, Body: a.ACMEKeyCreated})
		o.Write(a.Thumbprint[:])
		o.flag(a.Cancelled)
	}
	o.count(len(s.tokens))
	for _, t := range s.tokens {
		o.entry(ledger.Entry{At: noTime, Body: t.TokenIssued})
		o.flag(t.Revoked)
	}
	o.count(len(s.invites))
	for _, code := range slices.SortedFunc(maps.Keys(s.invites), func(a, b ledger.Hash) int { return slices.Compare(a[:], b[:]) }) {
		o.entry(ledger.Entry{At: noTime, Body: s.invites[code]})
	}
	s.writeCertificates(&o)
	s.writeRevoked(&o)
	return cmp.Or(o.err, o.Flush())
}

// noTime stands where nobody asks when.
var noTime = time.UnixMilli(0).UTC()

func (s *Snapshot) writeNames(o *writer) {
	o.count(int(s.names))
	for i := range s.names {
		n := s.roster.names.nodes.at(i)
		o.u32(n.parent)
		o.text(n.name.String())
	}
	o.count(len(s.suspended))
	for _, i := range s.suspended {
		o.u32(i)
	}
	o.count(len(s.withdrawn))
	for _, i := range slices.Sorted(maps.Keys(s.withdrawn)) {
		o.u32(i)
		o.u64(s.withdrawn[i])
	}
	o.count(len(s.members))
	for _, i := range slices.Sorted(maps.Keys(s.members)) {
		o.u32(i)
		groups := slices.SortedFunc(slices.Values(s.members[i]), compareGroups)
		o.count(len(groups))
		for _, g := range groups {
			o.text(g.String())
		}
	}
}

// certificateSize is what a certificate takes: TBS, serial number, name,
// issuer, profile, and whether it was void from the start.
const certificateSize = 32 + ledger.MaxSerial + 4 + 2 + 2 + 1

func (s *Snapshot) writeCertificates(o *writer) {
	o.count(int(s.certificates))
	var row [certificateSize]byte
	for i := range s.certificates {
		c := s.roster.certificates.records.at(i)
		b := append(append(row[:0], c.tbs[:]...), c.serial[:]...)
		b = binary.BigEndian.AppendUint32(b, c.name)
		b = binary.BigEndian.AppendUint16(b, c.issuer)
		b = binary.BigEndian.AppendUint16(b, c.profile)
		if mark(c.mark.Load()).void() { // which never changes
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
		o.Write(b)
	}
}

// writeRevoked writes the lists as they were: a mark may be newer, but the
// reason of one that was set stays.
func (s *Snapshot) writeRevoked(o *writer) {
	o.count(len(s.revoked))
	shards := slices.SortedFunc(maps.Keys(s.revoked), func(a, b shard) int {
		return cmp.Or(cmp.Compare(a.issuer, b.issuer), cmp.Compare(a.number, b.number))
	})
	for _, x := range shards {
		o.u16(x.issuer)
		o.u32(x.number)
		o.count(len(s.revoked[x]))
		for _, e := range s.revoked[x] {
			o.u32(e.item)
			o.u32(e.at)
			o.u8(uint8(mark(s.roster.certificates.records.at(e.item).mark.Load()).reason()))
		}
	}
}

// A writer remembers the first error, of an entry that does not encode; those
// of the stream the bufio.Writer keeps.
type writer struct {
	*bufio.Writer
	scratch [8]byte
	err     error
}

func (o *writer) u8(v uint8)   { o.WriteByte(v) }
func (o *writer) u16(v uint16) { o.Write(binary.BigEndian.AppendUint16(o.scratch[:0], v)) }
func (o *writer) u32(v uint32) { o.Write(binary.BigEndian.AppendUint32(o.scratch[:0], v)) }
func (o *writer) u64(v uint64) { o.Write(binary.BigEndian.AppendUint64(o.scratch[:0], v)) }

func (o *writer) count(n int) {
	if uint64(n) > math.MaxUint32 {
		o.err = cmp.Or(o.err, errTooMany)
	}
	o.u32(uint32(n))
}

func (o *writer) text(s string) {
	o.count(len(s))
	o.WriteString(s)
}

func (o *writer) texts(all []string) {
	o.count(len(all))
	for _, s := range all {
		o.text(s)
	}
}

func (o *writer) flag(is bool) {
	if is {
		o.u8(1)
		return
	}
	o.u8(0)
}

func (o *writer) entry(e ledger.Entry) {
	data, _, err := e.Encode()
	o.err = cmp.Or(o.err, err)
	o.text(string(data))
}
