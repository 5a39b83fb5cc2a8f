package ledger

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"github.com/postern-project/postern/internal/identity"
)

// Bounds on the parts of an entry, so that a reader never sets aside memory
// for more than it was given.
const (
	maxWord  = 63  // profiles, issuers' names, doors
	maxHost  = 253 // a DNS name
	maxItems = 100 // names and addresses in one certificate
)

// An encoder writes the parts of an entry. Every part has a fixed length or
// its length before it, so no two entries share an encoding.
type encoder struct{ *cryptobyte.Builder }

func (e encoder) hash(h Hash)            { e.AddBytes(h[:]) }
func (e encoder) time(t time.Time)       { e.AddUint64(uint64(t.UnixMilli())) }
func (e encoder) name(n identity.Name)   { e.text(n.String()) }
func (e encoder) group(g identity.Group) { e.text(g.String()) }
func (e encoder) text(s string)          { e.bytes([]byte(s)) }

func (e encoder) bytes(b []byte) {
	e.AddUint24LengthPrefixed(func(c *cryptobyte.Builder) { c.AddBytes(b) })
}

func (e encoder) ref(r Ref) {
	e.hash(r.Issuer)
	e.bytes([]byte(r.Serial.b))
	e.hash(r.TBS)
}

// optionalRef writes a byte that says whether a ref follows.
func (e encoder) optionalRef(r Ref) {
	if r.IsZero() {
		e.AddUint8(0)
		return
	}
	e.AddUint8(1)
	e.ref(r)
}

// A decoder reads what an encoder wrote. The first fault ends it: later reads
// return zero values and err stays.
type decoder struct {
	rest cryptobyte.String
	err  error
}

var errShort = errors.New("it ends too early")

// fail records the first fault.
func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.rest = nil
}

// need fails the decoder unless ok, and reports whether it still works.
func (d *decoder) need(ok bool) bool {
	if !ok {
		d.fail(errShort)
	}
	return d.err == nil
}

func (d *decoder) u8() (v uint8)   { d.need(d.rest.ReadUint8(&v)); return v }
func (d *decoder) u16() (v uint16) { d.need(d.rest.ReadUint16(&v)); return v }
func (d *decoder) u32() (v uint32) { d.need(d.rest.ReadUint32(&v)); return v }
func (d *decoder) u64() (v uint64) { d.need(d.rest.ReadUint64(&v)); return v }

func (d *decoder) hash() (h Hash) {
	d.need(d.rest.CopyBytes(h[:]))
	return h
}

// bytes returns a part of the input, not a copy of it.
func (d *decoder) bytes() []byte {
	var b cryptobyte.String
	d.need(d.rest.ReadUint24LengthPrefixed(&b))
	return b
}

// copied returns at least one byte that the input does not share.
func (d *decoder) copied() []byte {
	b := d.bytes()
	if d.err == nil && len(b) == 0 {
		d.fail(errors.New("an empty part"))
	}
	return append([]byte(nil), b...)
}

// time reads milliseconds since 1970 that a date with a four-digit year has.
func (d *decoder) time() time.Time {
	t := time.UnixMilli(int64(d.u64())).UTC()
	if y := t.Year(); y < 1 || y > 9999 {
		d.fail(fmt.Errorf("a time in the year %d", y))
	}
	return t
}

// word reads a short name made by us or by an operator: lower-case letters,
// digits and dashes, safe as the name of a file.
func (d *decoder) word() string {
	s := string(d.bytes())
	if d.err == nil && !IsWord(s) {
		d.fail(fmt.Errorf("%q is not a word of at most %d lower-case letters, digits and dashes", s, maxWord))
	}
	return s
}

// IsWord reports whether s can be the name of an issuer or a profile: at most 63
// lower-case letters, digits and dashes, not beginning with a dash.
func IsWord(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
		if !letter && (c != '-' || i == 0) {
			return false
		}
	}
	return 0 < len(s) && len(s) <= maxWord
}

// host reads a DNS name as a certificate has it: printable ASCII, no spaces.
func (d *decoder) host() string {
	s := string(d.bytes())
	if d.err == nil && (s == "" || len(s) > maxHost) {
		d.fail(fmt.Errorf("a host name of %d bytes", len(s)))
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			d.fail(fmt.Errorf("host name %q is not printable ASCII", s))
			break
		}
	}
	return s
}

func (d *decoder) address() netip.Addr {
	b := d.bytes()
	a, ok := netip.AddrFromSlice(b)
	if d.err == nil && !ok {
		d.fail(fmt.Errorf("an address of %d bytes", len(b)))
	}
	return a
}

func (d *decoder) name() identity.Name {
	n, err := identity.ParseName(string(d.bytes()))
	if d.err == nil && err != nil {
		d.fail(err)
	}
	return n
}

func (d *decoder) optionalName() (n identity.Name) {
	if err := n.UnmarshalText(d.bytes()); err != nil {
		d.fail(err)
	}
	return n
}

func (d *decoder) group() identity.Group {
	g, err := identity.ParseGroup(string(d.bytes()))
	if d.err == nil && err != nil {
		d.fail(err)
	}
	return g
}

func (d *decoder) optionalGroup() (g identity.Group) {
	if err := g.UnmarshalText(d.bytes()); err != nil {
		d.fail(err)
	}
	return g
}

func (d *decoder) domain() identity.TrustDomain {
	t, err := identity.ParseTrustDomain(string(d.bytes()))
	if d.err == nil && err != nil {
		d.fail(err)
	}
	return t
}

func (d *decoder) reason() Reason {
	r := Reason(d.u8())
	if _, known := reasonNames[r]; d.err == nil && !known {
		d.fail(fmt.Errorf("unknown %s", r))
	}
	return r
}

func (d *decoder) use() Use {
	u := Use(d.u8())
	if d.err == nil && u != UseClients && u != UseServers {
		d.fail(fmt.Errorf("unknown %s", u))
	}
	return u
}

func (d *decoder) serial() Serial {
	b := d.bytes()
	s, err := SerialFromBytes(b)
	if d.err == nil && err != nil {
		d.fail(err)
	}
	if d.err == nil && len(s.b) != len(b) {
		d.fail(errors.New("a serial number with leading zeros"))
	}
	return s
}

func (d *decoder) ref() Ref {
	return Ref{Issuer: d.hash(), Serial: d.serial(), TBS: d.hash()}
}

func (d *decoder) optionalRef() Ref {
	switch present := d.u8(); present {
	case 0:
		return Ref{}
	case 1:
		return d.ref()
	default:
		d.fail(fmt.Errorf("%d where 0 or 1 has to stand", present))
		return Ref{}
	}
}

// list reads up to limit items that read returns; none is a nil slice.
func list[T any](d *decoder, limit uint32, read func() T) []T {
	n := d.u32()
	if d.err == nil && n > limit {
		d.fail(fmt.Errorf("a list of %d items: at most %d are allowed", n, limit))
	}
	var items []T
	for i := uint32(0); i < n && d.err == nil; i++ {
		items = append(items, read())
	}
	return items
}

// writeList writes the number of items, then each of them.
func writeList[T any](e *encoder, items []T, write func(T)) {
	e.AddUint32(uint32(len(items)))
	for _, item := range items {
		write(item)
	}
}
