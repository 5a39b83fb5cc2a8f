package config

import (
	"errors"
	"net/netip"
	"slices"

	"github.com/goccy/go-yaml/ast"

	"github.com/postern-project/postern/internal/gateway"
	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/rule"
)

// A Route is a part of a site with rules of its own. It takes nothing over
// from the site's list: what is written here is all there is.
type Route struct {
	Match rule.Pattern
	List  rule.List
	gateway.Policy

	at position
}

// maxRoutes bounds the routes of one site.
const maxRoutes = 1000

// mentions are the groups and networks that lists ask for, each with the place
// where it was met first.
type mentions struct {
	groups   map[identity.Group]position
	networks map[rule.Network]position
	partners map[rule.Partner]position
}

func newMentions() mentions {
	return mentions{groups: map[identity.Group]position{}, networks: map[rule.Network]position{}, partners: map[rule.Partner]position{}}
}

func (m mentions) note(t rule.Term, at position) {
	if g, ok := t.Group(); ok {
		if _, seen := m.groups[g]; !seen {
			m.groups[g] = at
		}
	}
	if p, ok := t.Partner(); ok {
		if _, seen := m.partners[p]; !seen {
			m.partners[p] = at
		}
	}
	if n, ok := t.Network(); ok {
		if _, seen := m.networks[n]; !seen {
			m.networks[n] = at
		}
	}
}

// routes reads the parts of a site. The one without match is for everything
// else, as the site's own list is, so it becomes that list.
func (r *reader) routes(n ast.Node, s *Site, what string) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		r.fail(at(n), `write "routes:" and under it lines such as "- match: /admin/"`, "%s: routes is a list", what)
		return
	}
	if len(seq.Values) > maxRoutes {
		r.fail(at(seq), "", "%s: more than %d routes", what, maxRoutes)
		return
	}
	for _, v := range seq.Values {
		r.route(v, s, what)
	}
	r.conflicts(s)
}

func (r *reader) route(n ast.Node, s *Site, what string) {
	one := Route{at: at(n), Policy: s.inherited()}
	matched, label := false, "a route of "+what
	keys := r.policyKeys(&one.List, &one.Policy, s.mentions)
	keys["match"] = func(n ast.Node) { matched, one.at = true, at(n); one.Match = r.pattern(n) }
	r.section(n, label, keys)
	switch {
	case !matched && len(one.Limits) > 0:
		r.fail(one.at, "write them under the site, whose limits count all of it", "%s has limits in the route for everything else", what)
	case !matched && s.hasRest:
		r.fail(one.at, "give it a match, or drop one of the two", "%s has a rule for everything else already", what)
	case !matched || one.Match.IsEverything() && !s.hasRest:
		one.Limits = s.Limits
		s.hasRest, s.List, s.Policy = true, one.List, one.Policy
	case one.Match.IsEverything():
		r.fail(one.at, "drop one of the two", "%s has a rule for everything else already, and %q is for the same", what, one.Match)
	case !one.Match.IsZero():
		s.Routes = append(s.Routes, one)
	}
}

// policyKeys are the keys that a site and a route have in common.
func (r *reader) policyKeys(l *rule.List, p *gateway.Policy, m mentions) map[string]func(ast.Node) {
	return map[string]func(ast.Node){
		"allow":      func(n ast.Node) { l.Allow = r.terms(n, "allow", m) },
		"deny":       func(n ast.Node) { l.Deny = r.terms(n, "deny", m) },
		"when":       func(n ast.Node) { r.condition(n, &p.When) },
		"mode":       r.word("mode", func(s string) error { return parseMode(s, &p.Audit) }),
		"limits":     func(n ast.Node) { r.limits(n, &p.Limits) },
		"cors":       func(n ast.Node) { r.cors(n, &p.CORS) },
		"cross_site": func(n ast.Node) { r.crossSite(n, &p.CrossSite) },
	}
}

// inherited is what routes take over from their site unless they say
// otherwise.
func (s *Site) inherited() gateway.Policy {
	return gateway.Policy{Audit: s.Audit, CORS: s.CORS, CrossSite: s.CrossSite}
}

func (r *reader) pattern(n ast.Node) rule.Pattern {
	var p rule.Pattern
	r.word("match", func(text string) (err error) {
		if p, err = rule.ParsePattern(text); err != nil {
			return err
		}
		if p.Within("/.postern/") {
			p = rule.Pattern{}
			return errors.New("/.postern/ is Postern's own on every site")
		}
		return nil
	})(n)
	return p
}

// conflicts reports the patterns between which nothing could choose.
func (r *reader) conflicts(s *Site) {
	patterns := make([]rule.Pattern, len(s.Routes))
	for i, route := range s.Routes {
		patterns[i] = route.Match
	}
	for _, c := range rule.Conflicts(patterns) {
		hint := "make one of them more specific"
		if c.Same {
			hint = "drop one of the two"
		}
		r.fail(s.Routes[c.Second].at, hint, "%v (line %d)", c, s.Routes[c.First].at.line)
	}
}

func (r *reader) networks(n ast.Node) rule.Networks {
	var all rule.Networks
	for _, p := range r.pairs(n, "networks") {
		name, err := rule.ParseNetwork(p.key)
		switch {
		case err != nil:
			r.fail(p.at, "", "%v", err)
			continue
		case all.Has(name):
			r.fail(p.at, "", "network %s stands here twice", name)
			continue
		}
		all = append(all, rule.Range{Name: name, Prefixes: r.prefixes(p)})
	}
	return all
}

func (r *reader) prefixes(p pair) []netip.Prefix {
	var all []netip.Prefix
	items := r.list(p.value, "network "+p.key)
	if len(items) == 0 {
		r.fail(p.at, "write its addresses, such as [192.168.1.0/24]", "network %s is empty", p.key)
	}
	for _, it := range items {
		prefix, err := rule.ParsePrefix(it.text)
		switch {
		case err != nil:
			r.fail(it.at, "", "network %s: %v", p.key, err)
		case prefix.Bits() == 0:
			r.fail(it.at, "for everybody write strangers in the list", "network %s: %s is every address there is", p.key, prefix)
		case prefix.Addr().IsLoopback():
			r.fail(it.at, "", "network %s: %s is this machine, which is never counted as a network", p.key, prefix)
		case slices.Contains(all, prefix):
			r.fail(it.at, "", "network %s: %s stands here twice", p.key, prefix)
		default:
			all = append(all, prefix)
		}
	}
	return all
}

// networksExist reports lists that ask for a network which nobody named.
func (r *reader) networksExist(c Config) {
	names := make([]string, len(c.Networks))
	for i, n := range c.Networks {
		names[i] = n.Name.String()
	}
	for _, s := range c.Sites {
		for n, at := range s.mentions.networks {
			if c.Networks.Has(n) {
				continue
			}
			hint := "name it under networks:, such as " + n.String() + ": [192.168.1.0/24]"
			if near := Nearest(n.String(), names); near != "" {
				hint = "did you mean \"network:" + near + "\"?"
			}
			r.fail(at, hint, "network %q is not known", n)
		}
	}
}

// warnings returns what is odd in the routes of a site.
func (s Site) routeWarnings(all *problems, c Config) {
	policyWarnings(s.Policy, s.List.AdmitsStrangers(), func(msg, hint string) {
		all.add(c.File, c.lines, s.at, "site "+s.Host+" "+msg, hint)
	})
	for _, route := range s.Routes {
		if route.Audit != s.Audit || route.CORS != s.CORS {
			policyWarnings(route.Policy, route.List.AdmitsStrangers(), func(msg, hint string) {
				all.add(c.File, c.lines, route.at, "route "+route.Match.String()+" of site "+s.Host+" "+msg, hint)
			})
		}
		switch {
		case len(route.List.Allow) == 0:
			all.add(c.File, c.lines, route.at, "route "+route.Match.String()+" of site "+s.Host+" lets nobody in: its allow list is empty", "name somebody, such as allow: [enrolled]")
		case s.Stealth && route.List.AdmitsStrangers():
			all.add(c.File, c.lines, route.at, "route "+route.Match.String()+" of site "+s.Host+" allows strangers, but stealth turns them away in the handshake", "drop one of the two")
		}
	}
}
