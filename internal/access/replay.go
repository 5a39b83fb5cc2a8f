package access

import (
	"cmp"
	"slices"
	"strings"

	"github.com/postern-project/postern/internal/refusal"
)

// A Change is what becomes different for somebody at one part of a site.
type Change struct {
	// Who is a name, or "" for strangers.
	Who  string `json:"who,omitempty"`
	Site string `json:"site"`
	// Route is the new configuration's pattern, "" for the rest of the site.
	Route    string `json:"route,omitempty"`
	Requests int    `json:"requests"`
	// Example is one of the requests.
	Example string `json:"example"`
	// Why says what the new configuration decides by.
	Why string `json:"why"`
}

// A Difference is what another configuration would have changed for the
// requests of a log.
type Difference struct {
	Requests  int      `json:"requests"`   // in the log
	Undecided int      `json:"undecided"`  // for want of something that the log does not hold
	Passed    int      `json:"not_judged"` // refused before any rule was asked
	LeftOut   int      `json:"left_out"`   // that the log left out
	Gain      []Change `json:"gain"`
	Lose      []Change `json:"lose"`
}

// A Replay compares two configurations by requests.
type Replay struct {
	Old, New Policy
	// Who adds what is known of a request's maker to what the log holds.
	Who func(Request) Asker

	d          Difference
	gain, lose map[Change]*Change
}

// Add judges one request.
func (r *Replay) Add(q Request) {
	r.d.Requests++
	r.d.LeftOut += q.LeftOut
	if early(q.Code) {
		r.d.Passed++
		return
	}
	if strings.HasSuffix(q.Path, "…") { // the log has shortened it
		r.d.Undecided++
		return
	}
	a := r.Who(q)
	before, _ := decide(r.Old, q, a)
	after, part := decide(r.New, q, a)
	switch {
	case before.Verdict == after.Verdict && after.Verdict != Depends:
	case before.Verdict == Depends || after.Verdict == Depends:
		r.d.Undecided++
	case after.Verdict == Yes:
		note(&r.gain, q, a, part, after)
	default:
		note(&r.lose, q, a, part, after)
	}
}

func decide(p Policy, q Request, a Asker) (Answer, Part) {
	s, ok := p.Site(q.Site)
	if !ok {
		return Answer{Code: refusal.UnknownHost, Why: "the site is not there"}, Part{}
	}
	part := s.Part(q.Method, q.Path)
	answer := p.Decide(q.Site, part, a)
	if part.Audit && answer.Verdict == No {
		answer.Verdict, answer.Why = Yes, "audit mode, which would refuse: "+answer.Why
	}
	return answer, part
}

// note counts a request for a change.
func note(to *map[Change]*Change, q Request, a Asker, part Part, answer Answer) {
	key := Change{Site: q.Site, Route: part.Match}
	if a.Closed == "" {
		key.Who = a.Name.String()
	}
	if *to == nil {
		*to = map[Change]*Change{}
	}
	c := (*to)[key]
	if c == nil {
		made := key
		made.Example, made.Why = q.Method+" "+q.Path, answer.Why
		c = &made
		(*to)[key] = c
	}
	c.Requests++
}

// Difference returns what was found, most requests first.
func (r *Replay) Difference() Difference {
	d := r.d
	d.Gain, d.Lose = sorted(r.gain), sorted(r.lose)
	return d
}

func sorted(all map[Change]*Change) []Change {
	list := make([]Change, 0, len(all))
	for _, c := range all {
		list = append(list, *c)
	}
	slices.SortFunc(list, func(a, b Change) int {
		return cmp.Or(b.Requests-a.Requests, strings.Compare(a.Site, b.Site), strings.Compare(a.Who, b.Who), strings.Compare(a.Route, b.Route))
	})
	return list
}

// early reports whether a request was refused before any rule was asked.
func early(c refusal.Code) bool {
	switch c {
	case refusal.UnknownHost, refusal.Misdirected, refusal.BadRequest, refusal.AmbiguousPath, refusal.NotInLedger, refusal.IssuerDistrusted:
		return true
	}
	return false
}

// Nameless reports whether a request's certificate did not count when it was
// made, so that whoever made it was a stranger.
func (q Request) Nameless() bool {
	switch q.Code {
	case refusal.NoCertificate, refusal.BadCertificate, refusal.SelfSigned, refusal.UnknownIssuer, refusal.BadChain, refusal.WrongPurpose,
		refusal.NotYetValid, refusal.Expired, refusal.StaleRoster, refusal.Revoked, refusal.Suspended, refusal.NoIdentity:
		return true
	}
	return q.Name.IsZero()
}
