// Package rule decides who may use a site. A list is parsed once from what the
// operator wrote; deciding returns the verdict together with the rule that
// gave it, so that the log and 'postern explain' tell the same story.
package rule

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/postern-project/postern/internal/identity"
)

// A Subject is who asks, as far as it has been proved. The zero Subject is a
// stranger.
type Subject struct {
	// Name is the identity whose certificate the ledger calls good.
	Name identity.Name
	// Groups are the groups that hold Name or a name above it.
	Groups []identity.Group
	// Networks are the networks that the client's address is in.
	Networks []Network
	// Partner is set, and Name is not, for a member of a foreign authority.
	Partner Partner
}

type kind uint8

const (
	nobody kind = iota // the zero term matches nobody
	name
	group
	enrolled
	strangers
	network
	partner
)

// A Term is one entry of a list: a name with all below it, a group, a network,
// everybody enrolled, or everybody at all. Terms compare with ==. The zero Term
// matches nobody.
type Term struct {
	kind    kind
	name    identity.Name
	group   identity.Group
	network Network
	partner Partner
}

// ParseTerm returns the term written as s: "enrolled", "strangers",
// "group:NAME", "network:NAME", "foreign:NAME" or a name.
func ParseTerm(s string) (Term, error) {
	switch s {
	case "enrolled":
		return Term{kind: enrolled}, nil
	case "strangers":
		return Term{kind: strangers}, nil
	case "":
		return Term{}, errors.New("empty entry: write a name, group:NAME, network:NAME, enrolled or strangers")
	}
	if g, ok := strings.CutPrefix(s, "group:"); ok {
		parsed, err := identity.ParseGroup(g)
		if err != nil {
			return Term{}, err
		}
		return Term{kind: group, group: parsed}, nil
	}
	if n, ok := strings.CutPrefix(s, "foreign:"); ok {
		parsed, err := ParsePartner(n)
		if err != nil {
			return Term{}, err
		}
		return Term{kind: partner, partner: parsed}, nil
	}
	if n, ok := strings.CutPrefix(s, "network:"); ok {
		parsed, err := ParseNetwork(n)
		if err != nil {
			return Term{}, err
		}
		return Term{kind: network, network: parsed}, nil
	}
	n, err := identity.ParseName(s)
	if err != nil {
		return Term{}, err
	}
	return Term{kind: name, name: n}, nil
}

// String returns the term as ParseTerm reads it; the zero Term is "nobody".
func (t Term) String() string {
	switch t.kind {
	case name:
		return t.name.String()
	case group:
		return "group:" + t.group.String()
	case network:
		return "network:" + t.network.String()
	case partner:
		return "foreign:" + t.partner.String()
	case enrolled:
		return "enrolled"
	case strangers:
		return "strangers"
	}
	return "nobody"
}

// Name returns the name that the term asks for, and whether it asks for one.
func (t Term) Name() (identity.Name, bool) { return t.name, t.kind == name }

// Group returns the group that the term asks for, and whether it asks for one.
func (t Term) Group() (identity.Group, bool) { return t.group, t.kind == group }

// Network returns the network that the term asks for, and whether it asks for
// one.
func (t Term) Network() (Network, bool) { return t.network, t.kind == network }

// Matches reports whether the term speaks of s.
func (t Term) Matches(s Subject) bool {
	switch t.kind {
	case strangers:
		return true
	case enrolled:
		return !s.Name.IsZero()
	case name:
		return t.name.Covers(s.Name)
	case group:
		if s.Name.IsZero() || t.group.IsZero() {
			return false
		}
		return slices.Contains(s.Groups, t.group)
	case partner:
		return !t.partner.IsZero() && t.partner == s.Partner
	case network:
		return t.network != Network{} && slices.Contains(s.Networks, t.network)
	}
	return false
}

// A List says who may pass: whoever a term of Allow matches and no term of
// Deny. The zero List lets nobody in.
type List struct {
	Allow, Deny []Term
}

// Parse returns the list written as allow and deny, each entry as ParseTerm
// reads it. An empty allow is no error: it means nobody.
func Parse(allow, deny []string) (List, error) {
	var l List
	for _, part := range []struct {
		key   string
		words []string
		terms *[]Term
	}{{"allow", allow, &l.Allow}, {"deny", deny, &l.Deny}} {
		for i, w := range part.words {
			t, err := ParseTerm(w)
			if err != nil {
				return List{}, fmt.Errorf("%s, entry %d: %w", part.key, i+1, err)
			}
			*part.terms = append(*part.terms, t)
		}
	}
	return l, nil
}

// A Decision is a verdict with the term that gave it. The zero Decision is no.
type Decision struct {
	Allow bool
	// Term decided; the zero Term means that none spoke of the subject.
	Term Term
}

// String says the decision in words for a log line.
func (d Decision) String() string {
	switch {
	case d.Allow:
		return "allowed by " + d.Term.String()
	case d.Term != Term{}:
		return "denied by " + d.Term.String()
	}
	return "not on the list"
}

// Decide returns the verdict on s. Deny is asked before Allow.
func (l List) Decide(s Subject) Decision {
	for _, t := range l.Deny {
		if t.Matches(s) {
			return Decision{Term: t}
		}
	}
	for _, t := range l.Allow {
		if t.Matches(s) {
			return Decision{Allow: true, Term: t}
		}
	}
	return Decision{}
}

// AdmitsStrangers reports whether somebody without a certificate could pass,
// wherever they are.
func (l List) AdmitsStrangers() bool { return l.Decide(Subject{}).Allow }

// Terms returns every term of the list, those of Deny first.
func (l List) Terms() iter.Seq[Term] {
	return func(yield func(Term) bool) {
		for _, t := range l.Deny {
			if !yield(t) {
				return
			}
		}
		for _, t := range l.Allow {
			if !yield(t) {
				return
			}
		}
	}
}

// UsesNetworks reports whether a term asks for a network.
func (l List) UsesNetworks() bool {
	for t := range l.Terms() {
		if t.kind == network {
			return true
		}
	}
	return false
}
