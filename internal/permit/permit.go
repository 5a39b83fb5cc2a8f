package permit

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/postern-project/postern/internal/identity"
)

// A Policy says which hosts a profile's ACME server may certify, and for whom.
// The zero Policy lets nobody have anything.
type Policy struct {
	// Names bound what anybody gets.
	Names []Pattern
	// Wildcards lets wildcard certificates be made.
	Wildcards bool
	// Open lets anybody make an account; else it takes a key for external
	// account binding.
	Open bool
	// Rules, when there are any, say who gets what among Names: a host needs
	// one rule that speaks of it and of the requester.
	Rules []Rule
}

// A Rule lets some requesters have some hosts. A list that is empty says
// nothing about its matter; a rule whose lists are all empty is for everybody.
type Rule struct {
	Names      []Pattern
	Identities []identity.Name // the account's, and all below them
	Accounts   []string        // identifiers of accounts
	Networks   []netip.Prefix  // that the request comes from
}

// A Requester is who asks.
type Requester struct {
	Name    identity.Name // that the account stands for
	Account string
	Hosts   []Pattern  // all that the account's key may have; nil for no such bound
	From    netip.Addr // where the request comes from
}

// A Decision is a yes or no with the rule that gave it.
type Decision struct {
	Allow  bool
	Detail string
}

// Decide returns the verdict on one host.
func (p Policy) Decide(r Requester, h Host) Decision {
	switch {
	case !covered(p.Names, h):
		return no("%s is not among the names of this profile (%s)", h, list(p.Names))
	case h.Wildcard() && !p.Wildcards:
		return no("%s is a wildcard, and this profile has no 'wildcards: true'", h)
	case r.Hosts != nil && !covered(r.Hosts, h):
		return no("%s is not among the names that the account's key was made for (%s)", h, list(r.Hosts))
	case len(p.Rules) == 0:
		return Decision{Allow: true, Detail: "among the names of this profile"}
	}
	for i, rule := range p.Rules {
		if rule.speaksOf(r) && covered(rule.Names, h) {
			return Decision{Allow: true, Detail: fmt.Sprintf("rule %d", i+1)}
		}
	}
	return no("none of the profile's %d rules lets this account have %s", len(p.Rules), h)
}

func no(format string, args ...any) Decision { return Decision{Detail: fmt.Sprintf(format, args...)} }

func covered(all []Pattern, h Host) bool {
	return slices.ContainsFunc(all, func(p Pattern) bool { return p.matches(h) })
}

func (rule Rule) speaksOf(r Requester) bool {
	from := r.From.Unmap().WithZone("")
	return (len(rule.Identities) == 0 || slices.ContainsFunc(rule.Identities, func(n identity.Name) bool { return n.Covers(r.Name) })) &&
		(len(rule.Accounts) == 0 || slices.Contains(rule.Accounts, r.Account)) &&
		(len(rule.Networks) == 0 || slices.ContainsFunc(rule.Networks, func(n netip.Prefix) bool { return n.Contains(from) }))
}

// list writes some patterns.
func list(all []Pattern) string {
	const few = 5
	var words []string
	for _, p := range all[:min(few, len(all))] {
		words = append(words, p.String())
	}
	if len(all) > few {
		words = append(words, fmt.Sprintf("and %d more", len(all)-few))
	}
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}
