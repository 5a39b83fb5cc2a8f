package roster

import "sync/atomic"

// An index finds numbered items by hash: an open-addressing table of item
// numbers, four bytes a slot. One writer adds while any number of readers
// look up without locks.
//
// A table of 1<<bits slots holds numbers below 1<<bits, so the bits above are
// free. They hold a part of the hash, which spares a reader the way to almost
// every item that it does not look for.
type index struct {
	table atomic.Pointer[[]atomic.Uint32] // a slot is 0 or tag<<bits | item+1
	used  int                             // the writer's
}

const firstSlots = 64 // a power of two, as every later length is

func (x *index) init() {
	t := make([]atomic.Uint32, firstSlots)
	x.table.Store(&t)
}

// tag returns the part of hash that is kept in a slot of a table of slots.
func tag(hash uint64, slots int) uint32 {
	return uint32(hash>>32) &^ uint32(slots-1)
}

// find returns the item under hash that same accepts.
func (x *index) find(hash uint64, same func(item uint32) bool) (uint32, bool) {
	t := *x.table.Load()
	mask := len(t) - 1
	tag := tag(hash, len(t))
	for i := int(hash) & mask; ; i = (i + 1) & mask {
		slot := t[i].Load()
		if slot == 0 {
			return 0, false
		}
		item := slot&uint32(mask) - 1
		if slot&^uint32(mask) == tag && same(item) {
			return item, true
		}
	}
}

// add enters item, which must be complete: readers may find it at once. When
// the table is three quarters full it doubles; hashOf is asked for every item.
func (x *index) add(item uint32, hashOf func(item uint32) uint64) {
	t := *x.table.Load()
	if x.used+1 > len(t)/4*3 {
		larger := make([]atomic.Uint32, 2*len(t))
		for i := range t {
			if slot := t[i].Load(); slot != 0 {
				old := slot&uint32(len(t)-1) - 1
				place(larger, old, hashOf(old))
			}
		}
		x.table.Store(&larger)
		t = larger
	}
	place(t, item, hashOf(item))
	x.used++
}

func place(t []atomic.Uint32, item uint32, hash uint64) {
	mask := len(t) - 1
	i := int(hash) & mask
	for t[i].Load() != 0 {
		i = (i + 1) & mask
	}
	t[i].Store(tag(hash, len(t)) | (item + 1))
}

// A shelf is a list that grows without moving what readers look at.
type shelf[T any] struct {
	blocks atomic.Pointer[[]*[blockLen]T]
	n      uint32 // the writer's
}

const blockLen = 1 << 10

// at returns the place of item i, which must exist.
func (s *shelf[T]) at(i uint32) *T {
	blocks := *s.blocks.Load()
	return &blocks[i/blockLen][i%blockLen]
}

// grow returns the number and the place of a new item, which no reader knows
// of yet.
func (s *shelf[T]) grow() (uint32, *T) {
	i := s.n
	if i%blockLen == 0 {
		var blocks []*[blockLen]T
		if old := s.blocks.Load(); old != nil {
			blocks = *old
		}
		// Readers know only the shorter slices, so the array may be shared.
		blocks = append(blocks, new([blockLen]T))
		s.blocks.Store(&blocks)
	}
	s.n++
	return i, s.at(i)
}
