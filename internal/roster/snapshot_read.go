package roster

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/profile"
)

var (
	errTooMany = errors.New("there are more of one kind than a snapshot can hold")
	errRange   = errors.New("it names something that it does not hold")
	errMore    = errors.New("something stands behind its end")
)

// A Draft is a roster that was read from a snapshot and is not in force.
type Draft struct {
	roster *Roster
	size   uint64
	epoch  uint64
	first  []byte // entry 0, as it is stored
}

// Size returns of how many entries the snapshot is.
func (d *Draft) Size() uint64 { return d.size }

// Epoch returns the epoch that these entries end in.
func (d *Draft) Epoch() uint64 { return d.epoch }

// Anchors returns the roots and the ledger's key, whose signatures were checked
// from entry 0 on.
func (d *Draft) Anchors() ledger.Anchors { return d.roster.Anchors() }

// First returns entry 0 as it is stored.
func (d *Draft) First() []byte { return d.first }

// ReadSnapshot reads what Snapshot.Write wrote, to its end. It takes no more
// memory than a small multiple of what it reads. That the snapshot is true is
// the caller's to make sure of before Adopt.
func ReadSnapshot(from io.Reader) (*Draft, error) {
	r := New()
	in := &reading{Reader: bufio.NewReaderSize(from, 1<<20), roster: r}
	d := &Draft{roster: r, size: in.u64(), epoch: in.u64()}
	d.first = in.history(d)
	in.profiles()
	indexed := in.names() // while the rest is read
	in.standing()
	in.groups()
	in.accounts()
	in.tokens()
	in.invites()
	in.certificates()
	in.revoked()
	if in.err == nil {
		if _, err := in.ReadByte(); err != io.EOF {
			in.fail(errMore)
		}
	}
	indexed()
	if in.err != nil {
		return nil, in.err
	}
	return d, nil
}

// Adopt makes a new roster what the draft is, and ends the draft. The roster is
// in force at once.
func (r *Roster) Adopt(d *Draft) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.Size() != 0 {
		return errors.New("a roster that has entries adopts no snapshot")
	}
	from := d.roster
	r.trust.Store(from.trust.Load())
	r.certificates.records.take(&from.certificates.records)
	r.certificates.index.take(&from.certificates.index)
	r.certificates.seed = from.certificates.seed
	r.names.nodes.take(&from.names.nodes)
	r.names.index.take(&from.names.index)
	r.names.seed = from.names.seed
	r.words.list.Store(from.words.list.Load())
	r.words.known = from.words.known
	from.accounts.byKey.Range(func(k, v any) bool {
		r.accounts.byKey.Store(k, v)
		return true
	})
	from.tokens.byHash.Range(func(k, v any) bool {
		r.tokens.byHash.Store(k, v)
		return true
	})
	from.groups.Range(func(k, v any) bool {
		r.groups.Store(k, v)
		return true
	})
	p := &from.published
	r.published.issued, r.published.last, r.published.revoked = p.issued, p.last, p.revoked
	r.history, r.suspended, r.withdrawn, r.members, r.invites = from.history, from.suspended, from.withdrawn, from.members, from.invites
	r.size.Store(d.size)
	r.ready.Store(true)
	d.roster = New()
	r.watchers.tell(Change{Trust: true})
	return nil
}

// reading reads the parts of a snapshot. The first fault ends it: later reads
// return zero values and err stays.
type reading struct {
	*bufio.Reader
	roster  *Roster
	scratch [8]byte
	err     error
}

func (in *reading) fail(err error) {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if in.err == nil {
		in.err = err
	}
}

func (in *reading) full(b []byte) bool {
	if in.err == nil {
		if _, err := io.ReadFull(in.Reader, b); err != nil {
			in.fail(err)
		}
	}
	if in.err != nil {
		clear(b)
	}
	return in.err == nil
}

func (in *reading) u8() uint8 {
	in.full(in.scratch[:1])
	return in.scratch[0]
}

func (in *reading) u16() uint16 {
	in.full(in.scratch[:2])
	return binary.BigEndian.Uint16(in.scratch[:])
}

func (in *reading) u32() uint32 {
	in.full(in.scratch[:4])
	return binary.BigEndian.Uint32(in.scratch[:])
}

func (in *reading) u64() uint64 {
	in.full(in.scratch[:8])
	return binary.BigEndian.Uint64(in.scratch[:])
}

// each calls f as often as the count before a list says, until a fault.
func (in *reading) each(f func(i uint32)) {
	n := in.u32()
	for i := uint32(0); i < n && in.err == nil; i++ {
		f(i)
	}
}

// bytes returns a part of at most as many bytes.
func (in *reading) bytes(most uint32) []byte {
	n := in.u32()
	if n > most {
		in.fail(fmt.Errorf("a part of %d bytes where at most %d are allowed", n, most))
	}
	if in.err != nil {
		return nil
	}
	b := make([]byte, n)
	in.full(b)
	return b
}

const maxText = 4096

func (in *reading) text() string { return string(in.peeked()) }

// peeked returns a text that is good until the next read.
func (in *reading) peeked() []byte {
	n := int(in.u32())
	if n > maxText {
		in.fail(fmt.Errorf("a text of %d bytes where at most %d are allowed", n, maxText))
	}
	if in.err != nil {
		return nil
	}
	b, err := in.Peek(n)
	if err != nil {
		in.fail(err)
		return nil
	}
	in.Discard(n) // of what is there
	return b
}

// An arena keeps many small strings as parts of few large ones, which spares
// the collector an object for each.
type arena struct{ strings.Builder }

const arenaBlock = 64 << 10

// hold returns b as a string.
func (a *arena) hold(b []byte) string {
	if a.Cap()-a.Len() < len(b) {
		a.Builder = strings.Builder{}
		a.Grow(max(arenaBlock, len(b)))
	}
	at := a.Len()
	a.Write(b)
	return a.String()[at:]
}

func (in *reading) group() identity.Group {
	g, err := identity.ParseGroup(in.text())
	if err != nil {
		in.fail(err)
	}
	return g
}

func (in *reading) entry() (ledger.Entry, []byte) {
	data := in.bytes(ledger.MaxEntry)
	if in.err != nil {
		return ledger.Entry{}, nil
	}
	e, err := ledger.Unmarshal(data)
	if err != nil {
		in.fail(err)
	}
	return e, data
}

// history applies the entries that change trust, with all their checks.
func (in *reading) history(d *Draft) (first []byte) {
	p, err := in.roster.plan(0, nil)
	if err != nil {
		in.fail(err)
		return nil
	}
	before := int64(-1)
	in.each(func(i uint32) {
		seq := in.u64()
		e, data := in.entry()
		if in.err != nil {
			return
		}
		known, err := p.governs(seq, e)
		switch {
		case err != nil:
			in.fail(fmt.Errorf("ledger entry %d: %w", seq, err))
		case !known, (i == 0) != (seq == 0), int64(seq) <= before, seq >= d.size:
			in.fail(fmt.Errorf("ledger entry %d has no place in a history", seq))
		}
		if i == 0 {
			first = data
		}
		before = int64(seq)
	})
	if in.err == nil && (first == nil || p.trust.epoch != d.epoch) {
		in.fail(errors.New("its history is not that of its epoch"))
	}
	in.roster.trust.Store(p.trust)
	in.roster.history = p.history
	return first
}

func (in *reading) profiles() {
	in.each(func(i uint32) {
		if n, ok := in.roster.words.enter(in.text()); !ok || uint32(n) != i {
			in.fail(errors.New("it holds a profile twice, or too many"))
		}
	})
}

// names reads the names. Whoever wants to find them calls indexed first.
func (in *reading) names() (indexed func()) {
	names := &in.roster.names
	var texts arena
	in.each(func(i uint32) {
		parent, text := in.u32(), texts.hold(in.peeked())
		if in.err != nil {
			return
		}
		name, err := identity.ParseName(text)
		if err != nil {
			in.fail(err)
			return
		}
		cut := strings.LastIndexByte(text, '/')
		if (parent == none) != (cut < 0) || parent != none && (parent >= i || names.nodes.at(parent).name.String() != text[:cut]) {
			in.fail(fmt.Errorf("name %s does not follow the one above it", name))
			return
		}
		names.append(name, parent)
	})
	var filling sync.WaitGroup
	if in.err == nil {
		filling.Go(func() {
			names.index.fill(names.nodes.n, func(i uint32) uint64 { return names.hash(names.nodes.at(i).name) })
		})
	}
	return filling.Wait
}

// name reads the item of a name.
func (in *reading) name() (uint32, *node) {
	i := in.u32()
	if in.err == nil && i >= in.roster.names.nodes.n {
		in.fail(errRange)
	}
	if in.err != nil {
		return 0, new(node)
	}
	return i, in.roster.names.nodes.at(i)
}

// standing reads what was said of names: suspensions, revocations, groups.
func (in *reading) standing() {
	r := in.roster
	in.each(func(uint32) {
		i, n := in.name()
		n.suspended.Store(true)
		r.suspended[i] = struct{}{}
	})
	in.each(func(uint32) {
		i, n := in.name()
		w := in.u64()
		n.withdrawn.Store(w)
		r.withdrawn[i] = w
	})
	in.each(func(uint32) {
		i, _ := in.name()
		in.each(func(uint32) {
			r.members[i] = append(r.members[i], in.group())
		})
	})
	if in.err == nil {
		for i := range maps.Keys(r.members) {
			if !r.inheritsMembers(i) {
				r.names.regroup(i, r.members)
			}
		}
	}
}

// inheritsMembers reports that a name above item i is in a group itself, so
// that working out its groups works out those of i.
func (r *Roster) inheritsMembers(i uint32) bool {
	for up := r.names.nodes.at(i).parent; up != none; up = r.names.nodes.at(up).parent {
		if _, ok := r.members[up]; ok {
			return true
		}
	}
	return false
}

func (in *reading) groups() {
	in.each(func(uint32) { in.roster.mention(in.group()) })
}

func (in *reading) accounts() {
	in.each(func(uint32) {
		e, _ := in.entry()
		created, ok := e.Body.(ledger.ACMEKeyCreated)
		a := Account{ACMEKeyCreated: created}
		in.full(a.Thumbprint[:])
		a.Cancelled = in.flag()
		if in.err == nil && !ok {
			in.fail(errors.New("it holds an ACME account that is none"))
		}
		in.roster.accounts.byKey.Store(a.Key, a)
	})
}

func (in *reading) tokens() {
	in.each(func(uint32) {
		e, _ := in.entry()
		issued, ok := e.Body.(ledger.TokenIssued)
		token := Token{issued, in.flag()}
		if in.err == nil && !ok {
			in.fail(errors.New("it holds an app token that is none"))
		}
		in.roster.tokens.byHash.Store(issued.Token, token)
	})
}

func (in *reading) flag() bool {
	v := in.u8()
	if v > 1 {
		in.fail(errors.New("it holds a truth that is neither"))
	}
	return v == 1
}

func (in *reading) invites() {
	in.each(func(uint32) {
		e, _ := in.entry()
		invite, ok := e.Body.(ledger.InviteCreated)
		if in.err == nil && !ok {
			in.fail(errors.New("it holds an invite that is none"))
		}
		in.roster.invites[invite.Code] = invite
	})
}

func (in *reading) certificates() {
	r := in.roster
	names, issuers := r.names.nodes.n, len(r.trust.Load().issuers)
	profiles := len(r.words.known)
	issued, last := make([]uint64, issuers), make([]uint32, issuers)
	var row [certificateSize]byte
	in.each(func(uint32) {
		if !in.full(row[:]) {
			return
		}
		name := binary.BigEndian.Uint32(row[52:])
		issuer, kind := binary.BigEndian.Uint16(row[56:]), binary.BigEndian.Uint16(row[58:])
		if name >= names || int(issuer) >= issuers || int(kind) >= profiles || row[60] > 1 {
			in.fail(errRange)
			return
		}
		_, c := r.certificates.records.grow()
		copy(c.tbs[:], row[:32])
		copy(c.serial[:], row[32:52])
		c.name, c.issuer, c.profile = name, issuer, kind
		if row[60] == 1 {
			c.mark.Store(uint32(void))
		}
		issued[issuer]++
		last[issuer] = max(last[issuer], profile.ShardOf(trimmed(c.serial[:])))
	})
	if in.err != nil {
		return
	}
	for i, n := range issued {
		if n > 0 {
			r.published.issued[uint16(i)], r.published.last[uint16(i)] = n, last[i]
		}
	}
	r.certificates.index.fill(r.certificates.count(), func(i uint32) uint64 {
		c := r.certificates.records.at(i)
		return r.certificates.hash(c.issuer, &c.serial)
	})
}

func trimmed(serial []byte) []byte {
	for len(serial) > 0 && serial[0] == 0 {
		serial = serial[1:]
	}
	return serial
}

func (in *reading) revoked() {
	r := in.roster
	in.each(func(uint32) {
		s := shard{in.u16(), in.u32()}
		in.each(func(uint32) {
			e, reason := withdrawn{in.u32(), in.u32()}, ledger.Reason(in.u8())
			if in.err == nil && e.item >= r.certificates.count() {
				in.fail(errRange)
			}
			if in.err != nil {
				return
			}
			c := r.certificates.records.at(e.item)
			c.mark.Store(c.mark.Load() | uint32(newMark(reason, time.Unix(int64(e.at), 0))))
			r.published.revoked[s] = append(r.published.revoked[s], e)
		})
	})
}

// fill makes the table of the items below n at once.
func (x *index) fill(n uint32, hashOf func(item uint32) uint64) {
	slots := firstSlots
	for int(n) > slots/4*3 {
		slots *= 2
	}
	t := make([]atomic.Uint32, slots)
	parts := uint32(runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	for part := range parts {
		wg.Go(func() {
			for i := uint64(n) * uint64(part) / uint64(parts); i < uint64(n)*uint64(part+1)/uint64(parts); i++ {
				placeBesideOthers(t, uint32(i), hashOf(uint32(i)))
			}
		})
	}
	wg.Wait()
	x.table.Store(&t)
	x.used = int(n)
}

// placeBesideOthers is place for several goroutines at once.
func placeBesideOthers(t []atomic.Uint32, item uint32, hash uint64) {
	mask := len(t) - 1
	value := tag(hash, len(t)) | (item + 1)
	for i := int(hash) & mask; !t[i].CompareAndSwap(0, value); {
		i = (i + 1) & mask
	}
}

// take makes an empty index what another one is.
func (x *index) take(from *index) {
	x.table.Store(from.table.Load())
	x.used = from.used
}

// take makes an empty shelf what another one is.
func (s *shelf[T]) take(from *shelf[T]) {
	s.blocks.Store(from.blocks.Load())
	s.n = from.n
}
