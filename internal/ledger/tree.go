package ledger

import (
	"errors"
	"fmt"
	"math"

	"golang.org/x/mod/sumdb/tlog"
)

// A ReadNodes function returns the stored nodes at the given indexes, in the
// same order. Nodes are numbered in the order in which appending makes them
// (tlog.StoredHashIndex): leaf 0, leaf 1, their parent, leaf 2, and so on.
type ReadNodes = func(indexes []int64) ([]Hash, error)

// EmptyRoot is the root of the tree without leaves, SHA-256 of nothing (RFC
// 6962 section 2.1).
func EmptyRoot() Hash {
	root, _ := tlog.TreeHash(0, nil)
	return Hash(root)
}

// LeafHash returns the hash of a marshalled entry as a leaf of the tree (RFC
// 6962 section 2.1).
func LeafHash(marshalled []byte) Hash { return Hash(tlog.RecordHash(marshalled)) }

// NodeCount returns how many nodes a tree of size leaves stores, which is
// also the index of the first node that leaf number size will add.
func NodeCount(size uint64) int64 { return tlog.StoredHashCount(int64(size)) }

// StoredHashes returns the nodes that the leaf at index adds: itself, then
// each subtree it completes. They belong at NodeCount(index) and after.
func StoredHashes(index uint64, leaf Hash, read ReadNodes) ([]Hash, error) {
	if index >= maxSize {
		return nil, errSize
	}
	nodes, err := tlog.StoredHashesForRecordHash(int64(index), tlog.Hash(leaf), reader(read))
	return fromTlog(nodes), err
}

// TreeHash returns the root of the tree of the first size leaves.
func TreeHash(size uint64, read ReadNodes) (Hash, error) {
	if size > maxSize {
		return Hash{}, errSize
	}
	root, err := tlog.TreeHash(int64(size), reader(read))
	return Hash(root), err
}

// ProveInclusion returns the proof that the tree of size leaves holds the
// leaf at index (RFC 6962 section 2.1.1).
func ProveInclusion(index, size uint64, read ReadNodes) ([]Hash, error) {
	if size > maxSize || index >= size {
		return nil, fmt.Errorf("a ledger of %d entries has no entry %d", size, index)
	}
	proof, err := tlog.ProveRecord(int64(size), int64(index), reader(read))
	return fromTlog(proof), err
}

// CheckInclusion returns an error unless proof shows that the tree with the
// given size and root holds leaf at index.
func CheckInclusion(proof []Hash, index uint64, leaf Hash, size uint64, root Hash) error {
	if size > maxSize || index >= size {
		return fmt.Errorf("a ledger of %d entries has no entry %d", size, index)
	}
	if tlog.CheckRecord(toTlog(proof), int64(size), tlog.Hash(root), int64(index), tlog.Hash(leaf)) != nil {
		return fmt.Errorf("the proof does not show entry %d in the ledger of %d entries with root %s", index, size, root)
	}
	return nil
}

// ProveConsistency returns the proof that the tree of the first old leaves is
// the beginning of the tree of size leaves (RFC 6962 section 2.1.2).
func ProveConsistency(old, size uint64, read ReadNodes) ([]Hash, error) {
	if size > maxSize || old > size {
		return nil, fmt.Errorf("a ledger of %d entries does not extend one of %d", size, old)
	}
	if old == 0 {
		return nil, nil
	}
	proof, err := tlog.ProveTree(int64(size), int64(old), reader(read))
	return fromTlog(proof), err
}

// CheckConsistency returns an error unless proof shows that the tree with old
// leaves and oldRoot is the beginning of the one with size leaves and root.
// Every tree extends the empty one, and that needs no proof.
func CheckConsistency(proof []Hash, old uint64, oldRoot Hash, size uint64, root Hash) error {
	if size > maxSize || old > size {
		return fmt.Errorf("a ledger of %d entries does not extend one of %d", size, old)
	}
	if old == 0 {
		if oldRoot != EmptyRoot() || len(proof) != 0 || size == 0 && root != oldRoot {
			return errors.New("the empty ledger has another root, and needs no proof")
		}
		return nil
	}
	if tlog.CheckTree(toTlog(proof), int64(size), tlog.Hash(root), int64(old), tlog.Hash(oldRoot)) != nil {
		return fmt.Errorf("the ledger of %d entries with root %s does not extend the one of %d with root %s", size, root, old, oldRoot)
	}
	return nil
}

// maxSize keeps the index of every node within an int64.
const maxSize = math.MaxInt64 / 4

var errSize = fmt.Errorf("a ledger holds at most %d entries", uint64(maxSize))

func reader(read ReadNodes) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		if len(indexes) == 0 {
			return nil, nil
		}
		nodes, err := read(indexes)
		return toTlog(nodes), err
	})
}

func toTlog(nodes []Hash) []tlog.Hash {
	out := make([]tlog.Hash, len(nodes))
	for i, n := range nodes {
		out[i] = tlog.Hash(n)
	}
	return out
}

func fromTlog(nodes []tlog.Hash) []Hash {
	out := make([]Hash, len(nodes))
	for i, n := range nodes {
		out[i] = Hash(n)
	}
	return out
}
