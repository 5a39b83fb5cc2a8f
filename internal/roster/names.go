package roster

import (
	"cmp"
	"hash/maphash"
	"slices"
	"sync/atomic"

	"github.com/postern-project/postern/internal/identity"
)

// none stands for no item.
const none = ^uint32(0)

// A node is one name that matters, with the name above it and those below.
// Readers use name, parent, suspended, withdrawn and groups; the rest is the writer's.
type node struct {
	name      identity.Name
	groups    atomic.Pointer[[]identity.Group] // its own and those of the names above, sorted; nil for none
	parent    uint32
	child     uint32 // the newest name directly below
	sibling   uint32 // the next older name below the same parent
	suspended atomic.Bool
	// withdrawn says that the whole name was revoked: the mark, and above it
	// the item of the first certificate recorded since.
	withdrawn atomic.Uint64
}

// withdraw revokes every certificate of the name, and of all below it, that
// was recorded before item next.
func (n *node) withdraw(next uint32, m mark) uint64 {
	w := uint64(next)<<32 | uint64(m)
	n.withdrawn.Store(w)
	return w
}

func (n *node) allGroups() []identity.Group {
	if g := n.groups.Load(); g != nil {
		return *g
	}
	return nil
}

type names struct {
	nodes shelf[node]
	index index
	seed  maphash.Seed
}

func (n *names) init() {
	n.index.init()
	n.seed = maphash.MakeSeed()
}

func (n *names) hash(name identity.Name) uint64 { return maphash.String(n.seed, name.String()) }

func (n *names) lookup(name identity.Name) (uint32, bool) {
	return n.index.find(n.hash(name), func(i uint32) bool { return n.nodes.at(i).name == name })
}

func (n *names) find(name identity.Name) (*node, bool) {
	i, ok := n.lookup(name)
	if !ok {
		return nil, false
	}
	return n.nodes.at(i), true
}

// suspender returns the nearest name at or above item i that is suspended.
func (n *names) suspender(i uint32) (identity.Name, bool) {
	for i != none {
		node := n.nodes.at(i)
		if node.suspended.Load() {
			return node.name, true
		}
		i = node.parent
	}
	return identity.Name{}, false
}

// withdrawal returns the mark of the nearest name at or above item i that was
// revoked as a whole after the certificate of that item was recorded.
func (n *names) withdrawal(i, certificate uint32) (mark, bool) {
	for i != none {
		node := n.nodes.at(i)
		if w := node.withdrawn.Load(); certificate < uint32(w>>32) {
			return mark(uint32(w)), true
		}
		i = node.parent
	}
	return 0, false
}

// enter returns the item of name, which it adds, with all names above it,
// where they are missing.
func (n *names) enter(name identity.Name) uint32 {
	if i, ok := n.lookup(name); ok {
		return i
	}
	parent := none
	for above := range name.Lineage() {
		if above != name {
			parent = n.enter(above)
			break
		}
	}
	i, node := n.append(name, parent)
	if parent != none {
		node.groups.Store(n.nodes.at(parent).groups.Load())
	}
	n.index.add(i, func(i uint32) uint64 { return n.hash(n.nodes.at(i).name) })
	return i
}

// append adds a name below its parent, or below none. It is not in the index
// yet.
func (n *names) append(name identity.Name, parent uint32) (uint32, *node) {
	i, node := n.nodes.grow()
	node.name, node.parent, node.child, node.sibling = name, parent, none, none
	if parent != none {
		p := n.nodes.at(parent)
		node.sibling, p.child = p.child, i
	}
	return i, node
}

// regroup works out anew the groups of item i and of everything below it.
// own holds what each name was itself put into.
func (n *names) regroup(i uint32, own map[uint32][]identity.Group) {
	node := n.nodes.at(i)
	var inherited *[]identity.Group
	if node.parent != none {
		inherited = n.nodes.at(node.parent).groups.Load()
	}
	node.groups.Store(union(inherited, own[i]))
	for c := node.child; c != none; c = n.nodes.at(c).sibling {
		n.regroup(c, own)
	}
}

// union returns inherited itself where own adds nothing, so that most names
// share one slice.
func union(inherited *[]identity.Group, own []identity.Group) *[]identity.Group {
	if len(own) == 0 {
		return inherited
	}
	var all []identity.Group
	if inherited != nil {
		all = append(all, *inherited...)
	}
	all = append(all, own...)
	slices.SortFunc(all, func(a, b identity.Group) int { return cmp.Compare(a.String(), b.String()) })
	all = slices.Compact(all)
	return &all
}

// words numbers the few words that many certificates share.
type words struct {
	list  atomic.Pointer[[]string]
	known map[string]uint16 // the writer's
}

func (w *words) at(i uint16) string { return (*w.list.Load())[i] }

// enter returns the number of s. It reports false when there are no numbers
// left.
func (w *words) enter(s string) (uint16, bool) {
	if i, ok := w.known[s]; ok {
		return i, true
	}
	var list []string
	if old := w.list.Load(); old != nil {
		list = *old
	}
	if len(list) > 0xffff {
		return 0, false
	}
	list = append(list, s)
	w.list.Store(&list)
	if w.known == nil {
		w.known = make(map[string]uint16)
	}
	w.known[s] = uint16(len(list) - 1)
	return w.known[s], true
}
