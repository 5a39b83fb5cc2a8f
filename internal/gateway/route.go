package gateway

import (
	"fmt"

	"github.com/postern-project/postern/internal/rule"
)

// A Route is a part of a site with rules of its own, in place of the site's.
type Route struct {
	// Match says which requests it is for.
	Match rule.Pattern
	// List says who may pass. The zero List lets nobody in.
	List rule.List
}

// A way is one part of a door and what it asks.
type way struct {
	match string // the pattern as it was written; "" for the rest of the site
	list  rule.List
	// What follows from list.
	strangers bool // they could pass, wherever they are
	networks  bool // it asks where somebody is
}

func newWay(match string, list rule.List) *way {
	return &way{match: match, list: list, strangers: list.AdmitsStrangers(), networks: list.UsesNetworks()}
}

// ways are the parts of a door.
type ways struct {
	rest   *way         // what no route matches
	routes *rule.Routes // nil when rest is all there is
	byRule []*way       // by the routes' index
	// What some part of the door does.
	strangers, networks bool
}

func newWays(s Site) (ways, error) {
	w := ways{rest: newWay("", s.List)}
	patterns := make([]rule.Pattern, len(s.Routes))
	for i, r := range s.Routes {
		patterns[i] = r.Match
		w.byRule = append(w.byRule, newWay(r.Match.String(), r.List))
	}
	for _, one := range w.all() {
		w.strangers = w.strangers || one.strangers
		w.networks = w.networks || one.networks
	}
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
