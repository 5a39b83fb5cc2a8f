package access

import (
	"math/bits"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/rule"
)

// A Crowd is many people, arranged so that a list is answered for all of them
// at once. It is not safe for concurrent use.
type Crowd struct {
	names  []identity.Name
	under  map[identity.Name][]int // by every name and every name above it
	groups map[identity.Group][]int
	sets   map[rule.Term]set // answered before
}

// A set is a set of people, by their index.
type set []uint64

// NewCrowd returns the crowd of people whose certificates are good.
func NewCrowd(people []Asker) *Crowd {
	c := &Crowd{under: map[identity.Name][]int{}, groups: map[identity.Group][]int{}, sets: map[rule.Term]set{}}
	for _, p := range people {
		if p.Closed != "" || p.Name.IsZero() {
			continue
		}
		i := len(c.names)
		c.names = append(c.names, p.Name)
		for above := range p.Name.Lineage() {
			c.under[above] = append(c.under[above], i)
		}
		for _, g := range p.Groups {
			c.groups[g] = append(c.groups[g], i)
		}
	}
	return c
}

// Size returns how many people there are.
func (c *Crowd) Size() int { return len(c.names) }

// Of returns the names that a list lets in by what they are, wherever they
// come from.
func (c *Crowd) Of(l rule.List) []identity.Name {
	in := make(set, (len(c.names)+63)/64)
	for _, t := range l.Allow {
		for i, word := range c.set(t) {
			in[i] |= word
		}
	}
	for _, t := range l.Deny {
		for i, word := range c.set(t) {
			in[i] &^= word
		}
	}
	names := make([]identity.Name, 0, in.size())
	for i, word := range in {
		for ; word != 0; word &= word - 1 {
			names = append(names, c.names[i*64+bits.TrailingZeros64(word)])
		}
	}
	return names
}

func (s set) size() (n int) {
	for _, word := range s {
		n += bits.OnesCount64(word)
	}
	return n
}

// set returns the people whom a term speaks of.
func (c *Crowd) set(t rule.Term) set {
	if known, ok := c.sets[t]; ok {
		return known
	}
	s := make(set, (len(c.names)+63)/64)
	add := func(i int) { s[i/64] |= 1 << (i % 64) }
	name, isName := t.Name()
	group, isGroup := t.Group()
	switch {
	case isName:
		for _, i := range c.under[name] {
			add(i)
		}
	case isGroup:
		for _, i := range c.groups[group] {
			add(i)
		}
	default: // enrolled and strangers speak of everybody, a network of nobody for certain
		for i, n := range c.names {
			if t.Matches(rule.Subject{Name: n}) {
				add(i)
			}
		}
	}
	c.sets[t] = s
	return s
}
