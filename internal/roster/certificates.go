package roster

import (
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/postern-project/postern/internal/ledger"
)

// A record is one certificate, in 64 bytes; with its share of the index it
// takes about 75, and with a name of its own 149. Only mark changes once
// readers know of it.
type record struct {
	tbs     ledger.Hash
	serial  [ledger.MaxSerial]byte
	name    uint32 // item of names
	issuer  uint16 // item of trust.issuers
	profile uint16 // item of words
	mark    atomic.Uint32
}

// A mark says in 32 bits whether, why and on which day a certificate was
// revoked, and whether it was void from the start. The zero mark is good.
type mark uint32

const (
	revoked mark = 1 << 31
	void    mark = 1 << 30 // recorded after its issuer was distrusted
)

func newMark(why ledger.Reason, at time.Time) mark {
	days := at.Unix() / (24 * 60 * 60)
	return revoked | mark(why)<<16 | mark(uint16(days))
}

func (m mark) revoked() bool         { return m&revoked != 0 }
func (m mark) void() bool            { return m&void != 0 }
func (m mark) reason() ledger.Reason { return ledger.Reason(m >> 16 & 0x7f) }
func (m mark) day() time.Time        { return time.Unix(int64(uint16(m))*24*60*60, 0).UTC() }

// certificates finds a record by its issuer and serial number, so that a
// second certificate under a number already given out is noticed.
type certificates struct {
	records shelf[record]
	index   index
	seed    maphash.Seed
}

func (c *certificates) init() {
	c.index.init()
	c.seed = maphash.MakeSeed()
}

func (c *certificates) hash(issuer uint16, serial *[ledger.MaxSerial]byte) uint64 {
	return maphash.Bytes(c.seed, serial[:]) + uint64(issuer)
}

// find returns the item and the record of that number, whatever its
// to-be-signed part. Items count up in the order of the ledger.
func (c *certificates) find(issuer uint16, serial ledger.Serial) (uint32, *record, bool) {
	padded := serial.Padded()
	i, ok := c.index.find(c.hash(issuer, &padded), func(i uint32) bool {
		r := c.records.at(i)
		return r.issuer == issuer && r.serial == padded
	})
	if !ok {
		return none, nil, false
	}
	return i, c.records.at(i), true
}

// count returns the number of records, which is the item of the next one. It is
// the writer's to call.
func (c *certificates) count() uint32 { return c.records.n }

// add enters a record under a number that is free.
func (c *certificates) add(tbs ledger.Hash, serial ledger.Serial, name uint32, issuer, profile uint16, m mark) {
	i, r := c.records.grow()
	r.tbs, r.serial, r.name, r.issuer, r.profile = tbs, serial.Padded(), name, issuer, profile
	r.mark.Store(uint32(m))
	c.index.add(i, func(i uint32) uint64 {
		r := c.records.at(i)
		return c.hash(r.issuer, &r.serial)
	})
}
