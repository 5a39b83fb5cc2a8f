package ledger

import (
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// A Builder computes the root of a stream of leaves in memory that grows with
// the logarithm of their number. The zero Builder is the empty tree. A copy
// goes on by itself.
type Builder struct {
	size uint64
	// complete holds, for each set bit i of size, the root of a finished
	// subtree of 1<<i leaves; larger ones stand further left.
	complete [64]Hash
}

// ResumeBuilder returns the Builder of a tree whose first size leaves are
// stored, so that appending to it reads nothing more.
func ResumeBuilder(size uint64, read ReadNodes) (*Builder, error) {
	b := &Builder{size: size}
	if size > maxSize {
		return nil, errSize
	}
	var levels []int
	var indexes []int64
	for left := size; left != 0; {
		level := bits.Len64(left) - 1
		left &^= 1 << level
		levels = append(levels, level)
		indexes = append(indexes, tlog.StoredHashIndex(level, int64(size>>level-1)))
	}
	if size == 0 {
		return b, nil
	}
	nodes, err := reader(read).ReadHashes(indexes)
	if err != nil {
		return nil, err
	}
	if len(nodes) != len(indexes) {
		return nil, errShort
	}
	for i, level := range levels {
		b.complete[level] = Hash(nodes[i])
	}
	return b, nil
}

// Add appends a leaf and returns the nodes that it adds to the stored ones,
// as StoredHashes does.
func (b *Builder) Add(leaf Hash) []Hash {
	nodes := append(make([]Hash, 0, bits.TrailingZeros64(^b.size)+1), leaf)
	level, node := 0, leaf
	for ; b.size>>level&1 == 1; level++ {
		node = nodeHash(b.complete[level], node)
		nodes = append(nodes, node)
	}
	b.complete[level] = node
	b.size++
	return nodes
}

// Size returns the number of leaves.
func (b *Builder) Size() uint64 { return b.size }

// Root returns the root of the leaves added so far.
func (b *Builder) Root() Hash {
	if b.size == 0 {
		return EmptyRoot()
	}
	level := bits.TrailingZeros64(b.size)
	root := b.complete[level]
	for level++; b.size>>level != 0; level++ {
		if b.size>>level&1 == 1 {
			root = nodeHash(b.complete[level], root)
		}
	}
	return root
}

func nodeHash(left, right Hash) Hash {
	return Hash(tlog.NodeHash(tlog.Hash(left), tlog.Hash(right)))
}
