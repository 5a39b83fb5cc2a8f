package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
	"slices"
	"testing"
)

// naiveRoot is RFC 6962 section 2.1 word for word.
func naiveRoot(entries [][]byte) Hash {
	switch n := len(entries); n {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return sha256.Sum256(append([]byte{0}, entries[0]...))
	default:
		k := 1 << (bits.Len(uint(n-1)) - 1) // the largest power of two smaller than n
		left, right := naiveRoot(entries[:k]), naiveRoot(entries[k:])
		return sha256.Sum256(append(append([]byte{1}, left[:]...), right[:]...))
	}
}

// numbered returns n different marshalled entries.
func numbered(n int) [][]byte {
	entries := make([][]byte, n)
	for i := range entries {
		entries[i] = binary.BigEndian.AppendUint32(nil, uint32(i))
	}
	return entries
}

// nodes is a store of nodes in memory.
type nodes []Hash

func (n nodes) read(indexes []int64) ([]Hash, error) {
	var out []Hash
	for _, i := range indexes {
		if i < 0 || i >= int64(len(n)) {
			return nil, errors.New("no such node")
		}
		out = append(out, n[i])
	}
	return out, nil
}

// grown returns the nodes of the tree over entries.
func grown(t *testing.T, entries [][]byte) nodes {
	t.Helper()
	var stored nodes
	for i, e := range entries {
		if int64(len(stored)) != NodeCount(uint64(i)) {
			t.Fatalf("%d nodes for %d leaves, NodeCount says %d", len(stored), i, NodeCount(uint64(i)))
		}
		added, err := StoredHashes(uint64(i), LeafHash(e), stored.read)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, added...)
	}
	return stored
}

const trees = 130 // past two powers of two

func TestRootEqualsTheNaiveOneAfterEveryAppend(t *testing.T) {
	entries := numbered(trees)
	stored := grown(t, entries)
	var b Builder
	for n := range entries {
		want := naiveRoot(entries[:n])
		if got, err := TreeHash(uint64(n), stored.read); err != nil || got != want {
			t.Fatalf("TreeHash(%d) = %v, %v, want %v", n, got, err, want)
		}
		if b.Size() != uint64(n) || b.Root() != want {
			t.Fatalf("Builder of %d leaves: size %d, root %v, want %v", n, b.Size(), b.Root(), want)
		}
		resumed, err := ResumeBuilder(uint64(n), stored.read)
		if err != nil || resumed.Root() != want {
			t.Fatalf("ResumeBuilder(%d) = %v, root differs", n, err)
		}
		added := b.Add(LeafHash(entries[n]))
		if first := NodeCount(uint64(n)); !slices.Equal(added, stored[first:NodeCount(uint64(n)+1)]) {
			t.Fatalf("Builder adds other nodes for leaf %d than StoredHashes", n)
		}
		if again := resumed.Add(LeafHash(entries[n])); !slices.Equal(again, added) {
			t.Fatalf("a resumed Builder adds other nodes for leaf %d", n)
		}
	}
}

func TestEmptyRootIsThatOfRFC6962(t *testing.T) {
	if got, want := EmptyRoot().String(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"; got != want {
		t.Errorf("EmptyRoot = %s, want %s", got, want)
	}
	if got, want := LeafHash(nil).String(), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"; got != want {
		t.Errorf("LeafHash of nothing = %s, want %s", got, want)
	}
}

func TestInclusionIsProvedForEveryEntryAndNoOther(t *testing.T) {
	entries := numbered(40)
	stored := grown(t, entries)
	for size := 1; size <= len(entries); size++ {
		root := naiveRoot(entries[:size])
		for i := range size {
			proof, err := ProveInclusion(uint64(i), uint64(size), stored.read)
			if err != nil {
				t.Fatal(err)
			}
			check := func(proof []Hash, index int, leaf Hash, size int, root Hash) error {
				return CheckInclusion(proof, uint64(index), leaf, uint64(size), root)
			}
			leaf := LeafHash(entries[i])
			if err := check(proof, i, leaf, size, root); err != nil {
				t.Fatalf("entry %d of %d: %v", i, size, err)
			}
			if check(proof, i, flip(leaf, i), size, root) == nil || check(proof, i, leaf, size, flip(root, i)) == nil {
				t.Fatalf("entry %d of %d: a flipped bit in leaf or root goes unnoticed", i, size)
			}
			if size > 1 && check(proof, (i+1)%size, leaf, size, root) == nil {
				t.Fatalf("entry %d of %d is proved at another place", i, size)
			}
			forEachFlip(proof, func(bad []Hash) {
				if check(bad, i, leaf, size, root) == nil {
					t.Fatalf("entry %d of %d: a flipped bit in the proof goes unnoticed", i, size)
				}
			})
		}
	}
}

func TestConsistencyIsProvedForEveryBeginningAndNoOther(t *testing.T) {
	entries := numbered(40)
	stored := grown(t, entries)
	for size := 0; size <= len(entries); size++ {
		root := naiveRoot(entries[:size])
		for old := range size + 1 {
			oldRoot := naiveRoot(entries[:old])
			proof, err := ProveConsistency(uint64(old), uint64(size), stored.read)
			if err != nil {
				t.Fatal(err)
			}
			check := func(proof []Hash, oldRoot, root Hash) error {
				return CheckConsistency(proof, uint64(old), oldRoot, uint64(size), root)
			}
			if err := check(proof, oldRoot, root); err != nil {
				t.Fatalf("%d to %d: %v", old, size, err)
			}
			if check(proof, flip(oldRoot, size), root) == nil {
				t.Fatalf("%d to %d: a flipped bit in the old root goes unnoticed", old, size)
			}
			if (old > 0 || size == 0) && check(proof, oldRoot, flip(root, size)) == nil {
				t.Fatalf("%d to %d: a flipped bit in the new root goes unnoticed", old, size)
			}
			forEachFlip(proof, func(bad []Hash) {
				if check(bad, oldRoot, root) == nil {
					t.Fatalf("%d to %d: a flipped bit in the proof goes unnoticed", old, size)
				}
			})
		}
	}
}

// flip returns h with one bit changed.
func flip(h Hash, bit int) Hash {
	h[bit/8%len(h)] ^= 1 << (bit % 8)
	return h
}

// forEachFlip calls f with every list that differs from list in one bit of
// one hash, or in its length by one.
func forEachFlip(list []Hash, f func([]Hash)) {
	for i := range list {
		bad := slices.Clone(list)
		bad[i] = flip(bad[i], 7*i)
		f(bad)
	}
	f(append(slices.Clone(list), Hash{}))
	if len(list) > 0 {
		f(list[1:])
	}
}

// Whoever recomputes the nodes from the entries finds any that was changed.
func TestAFlippedBitInANodeIsNoticed(t *testing.T) {
	entries := numbered(37)
	stored := grown(t, entries)
	for i := range stored {
		bad := slices.Clone(stored)
		bad[i] = flip(bad[i], 3*i)
		var b Builder
		var again nodes
		for _, e := range entries {
			again = append(again, b.Add(LeafHash(e))...)
		}
		differs := slices.IndexFunc(bad, func(h Hash) bool { return !slices.Contains(again, h) })
		if slices.Equal(again, bad) || differs != i {
			t.Errorf("node %d was changed, node %d is found", i, differs)
		}
	}
}

func TestACopiedBuilderGoesOnByItself(t *testing.T) {
	entries := numbered(9)
	var b Builder
	for _, e := range entries[:7] {
		b.Add(LeafHash(e))
	}
	c := b
	c.Add(LeafHash(entries[7]))
	if b.Root() != naiveRoot(entries[:7]) || c.Root() != naiveRoot(entries[:8]) {
		t.Error("adding to a copy changed the original")
	}
}

func TestTreeRefusesWhatIsOutOfBounds(t *testing.T) {
	broken := errors.New("disk")
	fails := func([]int64) ([]Hash, error) { return nil, broken }
	short := func([]int64) ([]Hash, error) { return nil, nil }
	for sentence, err := range map[string]error{
		"an entry that is not there yet":    second(ProveInclusion(3, 3, nodes{}.read)),
		"its check":                         CheckInclusion(nil, 3, Hash{}, 3, Hash{}),
		"a shorter ledger":                  second(ProveConsistency(4, 3, nodes{}.read)),
		"the check of a shorter ledger":     CheckConsistency(nil, 4, Hash{}, 3, Hash{}),
		"a ledger past every bound":         second(TreeHash(math.MaxUint64, nodes{}.read)),
		"a leaf past every bound":           second(StoredHashes(math.MaxUint64, Hash{}, nodes{}.read)),
		"a Builder past every bound":        second(ResumeBuilder(math.MaxUint64, nodes{}.read)),
		"inclusion past every bound":        CheckInclusion(nil, 1, Hash{}, math.MaxUint64, Hash{}),
		"consistency past every bound":      CheckConsistency(nil, 1, Hash{}, math.MaxUint64, Hash{}),
		"nodes that are missing":            second(ResumeBuilder(3, short)),
		"a root of missing nodes":           second(TreeHash(3, short)),
		"proof for an empty ledger, longer": CheckConsistency([]Hash{{}}, 0, EmptyRoot(), 1, Hash{}),
	} {
		if err == nil {
			t.Errorf("%s: no error", sentence)
		}
	}
	for sentence, err := range map[string]error{
		"TreeHash":         second(TreeHash(3, fails)),
		"StoredHashes":     second(StoredHashes(3, Hash{}, fails)),
		"ResumeBuilder":    second(ResumeBuilder(3, fails)),
		"ProveInclusion":   second(ProveInclusion(1, 3, fails)),
		"ProveConsistency": second(ProveConsistency(1, 3, fails)),
	} {
		if !errors.Is(err, broken) {
			t.Errorf("%s: error %v hides that of the disk", sentence, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func BenchmarkBuilderAdd(b *testing.B) {
	var tree Builder
	for b.Loop() {
		tree.Add(Hash{1})
	}
}
