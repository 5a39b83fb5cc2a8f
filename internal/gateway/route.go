package gateway

import (
	"fmt"

	"github.com/postern-project/postern/internal/rule"
)

// A Policy is what a site or a route asks beyond its list.
type Policy struct {
	// When has to hold for those whom the list lets in. Nil asks nothing.
	When *rule.Condition
	// Audit lets pass, and logs, what would be refused. It means nothing where
	// refusals are made in the handshake.
	Audit bool
	// CORS says which pages of other origins may use it; nil leaves that to
	// what is behind.
	CORS *CORS
	// CrossSite says which of them may send what changes things.
	CrossSite CrossSite
	// Limits bound how much one party may use: a site's all of it, a route's
	// what the route is for.
	Limits []Limit
}

// A Route is a part of a site with rules of its own, in place of the site's.
type Route struct {
	// Match says which requests it is for.
	Match rule.Pattern
	// List says who may pass. The zero List lets nobody in.
	List rule.List
	Policy
}

// A way is one part of a door and what it asks.
type way struct {
	match string // the pattern as it was written; "" for the rest of the site
	list  rule.List
	Policy
	// What follows from list.
	strangers bool // they could pass, wherever they are
	networks  bool // it asks where somebody is
	// own are the limiters of Policy.Limits, limiters all that count here.
	own, limiters []*limiter
}

func newWay(match string, list rule.List, p Policy, stealthy bool) *way {
	if stealthy {
		p.Audit = false
	}
	return &way{match: match, list: list, Policy: p, strangers: list.AdmitsStrangers(), networks: list.UsesNetworks() || p.When.Asks("client.networks")}
}

// ways are the parts of a door.
type ways struct {
	rest   *way         // what no route matches
	routes *rule.Routes // nil when rest is all there is
	byRule []*way       // by the routes' index
	// What some part of the door does.
	strangers, networks, timed, audit bool
	// uniform says that a connection at rest and every request on it have the
	// same rights.
	uniform bool
}

func newWays(s Site) (ways, error) {
	stealthy := s.Stealth || s.Tunnel != nil
	w := ways{rest: newWay("", s.List, s.Policy, stealthy)}
	patterns := make([]rule.Pattern, len(s.Routes))
	for i, r := range s.Routes {
		patterns[i] = r.Match
		w.byRule = append(w.byRule, newWay(r.Match.String(), r.List, r.Policy, stealthy))
	}
	for _, one := range w.all() {
		w.strangers = w.strangers || one.strangers
		w.networks = w.networks || one.networks
		w.audit = w.audit || one.Audit
		w.timed = w.timed || one.When.Timed()
	}
	w.timed = w.timed || len(s.Partners) > 0 // whose lists become overdue
	w.uniform = len(patterns) == 0 && s.When == nil
	if len(patterns) == 0 {
		return w, nil
	}
	var err error
	if w.routes, err = rule.NewRoutes(patterns); err != nil {
		return ways{}, fmt.Errorf("site %q: %w", s.Host, err)
	}
	return w, nil
}

// all returns every way, the rest of the site last.
func (w *ways) all() []*way { return append(w.byRule[:len(w.byRule):len(w.byRule)], w.rest) }

// way returns the part of the door that a request is for. The path is
// canonical.
func (w *ways) way(method, path string) *way {
	if w.routes == nil {
		return w.rest
	}
	if i, ok := w.routes.Find(method, path); ok {
		return w.byRule[i]
	}
	return w.rest
}
