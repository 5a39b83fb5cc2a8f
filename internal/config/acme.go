package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/permit"
	"github.com/postern-project/postern/internal/profile"
)

// An ACME is the ACME server of one profile.
type ACME struct {
	Profile string
	// Policy says which hosts it issues for, and for whom.
	Policy permit.Policy
	// Networks are where its validations may connect to; none is nowhere.
	Networks permit.Networks
	// Resolver is the DNS server that it asks; zero is the machine's.
	Resolver netip.AddrPort
	// HTTPPort and TLSPort are those of http-01 and tls-alpn-01; zero is 80
	// and 443.
	HTTPPort, TLSPort uint16
	// Challenges are the types that it offers; none is all of them.
	Challenges []string
	// OrdersPerHour bounds one account; zero is the default.
	OrdersPerHour int

	at position
}

// challenges are the types of challenges there are.
var challenges = []string{"http-01", "dns-01", "tls-alpn-01"}

// acme reads which profiles have an ACME server.
func (r *reader) acme(n ast.Node) []ACME {
	var all []ACME
	seen := map[string]position{}
	for _, p := range r.pairs(n, "acme") {
		if first, twice := seen[p.key]; twice {
			r.fail(p.at, "", "profile %s is on line %d already", p.key, first.line)
			continue
		}
		seen[p.key] = p.at
		all = append(all, r.acmeProfile(p))
	}
	return all
}

func (r *reader) acmeProfile(p pair) ACME {
	a := ACME{Profile: p.key, at: p.at}
	what := "acme " + p.key
	r.section(p.value, what, map[string]func(ast.Node){
		"names":           func(n ast.Node) { a.Policy.Names = r.patterns(n, "names") },
		"wildcards":       r.boolean("wildcards", &a.Policy.Wildcards),
		"open":            r.boolean("open", &a.Policy.Open),
		"rules":           func(n ast.Node) { a.Policy.Rules = r.acmeRules(n) },
		"networks":        func(n ast.Node) { a.Networks = r.acmeNetworks(n, "networks") },
		"challenges":      func(n ast.Node) { a.Challenges = r.challenges(n) },
		"resolver":        r.word("resolver", func(s string) (err error) { a.Resolver, err = parseResolver(s); return err }),
		"http_port":       r.word("http_port", func(s string) (err error) { a.HTTPPort, err = parsePort(s); return err }),
		"tls_port":        r.word("tls_port", func(s string) (err error) { a.TLSPort, err = parsePort(s); return err }),
		"orders_per_hour": r.word("orders_per_hour", func(s string) (err error) { a.OrdersPerHour, err = parseCount(s); return err }),
	})
	if len(a.Policy.Names) == 0 && r.problems == nil {
		r.fail(p.at, `list what it may issue for, such as names: ["*.home.internal"]`, "%s has no names, so it would issue nothing", what)
	}
	return a
}

func (r *reader) patterns(n ast.Node, what string) []permit.Pattern {
	var all []permit.Pattern
	for _, it := range r.list(n, what) {
		p, err := permit.ParsePattern(it.text)
		if err != nil {
			r.fail(it.at, `an entry is a name such as db.internal, "*.web.internal" for all names below it, or a network`, "%s: %v", what, err)
			continue
		}
		all = append(all, p)
	}
	return all
}

func (r *reader) acmeNetworks(n ast.Node, what string) []netip.Prefix {
	var all []netip.Prefix
	for _, it := range r.list(n, what) {
		p, err := permit.ParsePrefix(it.text)
		if err != nil {
			r.fail(it.at, "", "%s: %v", what, err)
			continue
		}
		all = append(all, p)
	}
	return all
}

func (r *reader) challenges(n ast.Node) []string {
	var all []string
	for _, it := range r.list(n, "challenges") {
		if !contains(challenges, it.text) {
			r.fail(it.at, unknownHint(it.text, challenges), "challenges: %q is none", it.text)
			continue
		}
		all = append(all, it.text)
	}
	return all
}

func contains(all []string, s string) bool {
	for _, v := range all {
		if v == s {
			return true
		}
	}
	return false
}

// acmeRules reads a list of rules, each a mapping.
func (r *reader) acmeRules(n ast.Node) []permit.Rule {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		r.fail(at(n), "write a list, such as - {names: [db.internal], identities: [services/db]}", "rules: a list is wanted")
		return nil
	}
	var all []permit.Rule
	for i, v := range seq.Values {
		var rule permit.Rule
		what := fmt.Sprintf("rule %d", i+1)
		r.section(v, what, map[string]func(ast.Node){
			"names":      func(n ast.Node) { rule.Names = r.patterns(n, "names") },
			"identities": func(n ast.Node) { rule.Identities = r.names(n, "identities") },
			"networks":   func(n ast.Node) { rule.Networks = r.acmeNetworks(n, "networks") },
			"accounts": func(n ast.Node) {
				for _, it := range r.list(n, "accounts") {
					rule.Accounts = append(rule.Accounts, it.text)
				}
			},
		})
		for _, p := range r.pairs(v, what) {
			// an empty list would say nothing about its matter, and so let
			// everybody in who was meant to be kept out
			if empty(p.value) {
				r.fail(p.at, "leave it out to mean anybody", "%s: %s is empty", what, p.key)
			}
		}
		if len(rule.Names) == 0 && r.problems == nil {
			r.fail(at(v), "", "%s lets nobody have anything: it has no names", what)
		}
		all = append(all, rule)
	}
	return all
}

func empty(n ast.Node) bool {
	switch n := n.(type) {
	case nil, *ast.NullNode:
		return true
	case *ast.SequenceNode:
		return len(n.Values) == 0
	}
	return false
}

func (r *reader) names(n ast.Node, what string) []identity.Name {
	var all []identity.Name
	for _, it := range r.list(n, what) {
		name, err := identity.ParseName(it.text)
		if err != nil {
			r.fail(it.at, "a name looks like ben/phone or services/checkout", "%s: %v", what, err)
			continue
		}
		all = append(all, name)
	}
	return all
}

func parseResolver(s string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return netip.AddrPortFrom(a, 53), nil
	}
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		return ap, fmt.Errorf("%q is no address of a DNS server, such as 10.0.0.53 or 10.0.0.53:5353", s)
	}
	return ap, nil
}

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is no port between 1 and 65535", s)
	}
	return uint16(n), nil
}

func parseCount(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 24)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is no number between 1 and %d", s, 1<<24-1)
	}
	return int(n), nil
}

// acmeProfilesAreForServers finds ACME servers of profiles that hold no host
// names, or that do not exist.
func (r *reader) acmeProfilesAreForServers(c Config) {
	for _, a := range c.ACME {
		p, err := c.Profiles.Find(a.Profile)
		switch {
		case err != nil:
			r.fail(a.at, "", "acme: %v", err)
		case p.Usage() != profile.Server:
			r.fail(a.at, "name a profile with usage: server", "acme: profile %s is for clients, and ACME proves host names", a.Profile)
		case p.Names() != profile.ByRequester:
			r.fail(a.at, "add 'names: requester' to the profile", "acme: profile %s does not let requesters name their hosts, as ACME does", a.Profile)
		}
	}
}

// acmeWarnings tells what is allowed and hardly meant.
func (c Config) acmeWarnings(all *problems) {
	for _, a := range c.ACME {
		onlyDNS := len(a.Challenges) == 1 && a.Challenges[0] == "dns-01"
		if len(a.Networks) == 0 && !onlyDNS {
			all.add(c.File, c.lines, a.at, fmt.Sprintf("acme %s may connect nowhere, so only dns-01 can be validated", a.Profile),
				"list where your servers are, such as networks: [192.168.1.0/24], or say challenges: [dns-01]")
		}
		if a.Policy.Open {
			all.add(c.File, c.lines, a.at, fmt.Sprintf("acme %s is open: whoever reaches it and controls one of its names gets a certificate", a.Profile), "")
		}
	}
}
