package gateway

import (
	"time"

	"github.com/postern-project/postern/internal/refusal"
	"github.com/postern-project/postern/internal/rule"
)

// A verdict is a yes or no with its reason. The zero Code is yes.
type verdict struct {
	client Client // zero for a stranger
	code   refusal.Code
	detail string
}

// judge says whether c may use a part of a site right now, for an errand or,
// when that is nil, at all. The order of looking is chain, roster, list,
// condition, so that one cause has one code.
func (g *Gateway) judge(c *conn, w *way, a *errand, now time.Time) verdict {
	v := g.speaker(c, a, now)
	if v.code == "" {
		return g.consult(c, v, w, a, now)
	}
	if refusal.Lookup(v.code).Alarm || !w.strangers && !w.networks {
		return v
	}
	// Whoever may come with no certificate may come with a bad one, and is
	// nobody. A forgery is theft all the same.
	stranger := g.consult(c, verdict{}, w, a, now)
	if stranger.code == "" || stranger.code == refusal.Condition && v.code == refusal.NoCertificate {
		return stranger
	}
	return v
}

// recognise says whom c speaks for right now, whatever a site's list says.
func (g *Gateway) recognise(c *conn, now time.Time) verdict {
	if len(c.presented) == 0 {
		return verdict{code: refusal.NoCertificate}
	}
	v := g.standing(g.credentialOf(c, now))
	if foreign(v.code) {
		return g.introduce(c, v, now)
	}
	return v
}

// credentialOf returns what c's chain comes to, and sees to it that c is in
// the index under it before anybody asks the roster: a revocation after that
// finds c, and one before it is in the roster's answer.
func (g *Gateway) credentialOf(c *conn, now time.Time) *credential {
	t := g.trusted()
	if cr := c.credential.Load(); cr != nil && cr.holds(t, now) {
		return cr
	}
	cr := t.examine(c.presented, now)
	g.index.file(c, cr)
	c.credential.Store(cr)
	return cr
}

// standing asks the roster about a credential. It has no side effects.
func (g *Gateway) standing(cr *credential) verdict {
	if cr.code != "" {
		return verdict{code: cr.code, detail: cr.detail}
	}
	known := g.roster.Check(cr.client.Ref, cr.client.Certificate.NotBefore)
	switch {
	case known.Code != "":
		return verdict{code: known.Code, detail: known.Detail}
	case cr.client.Name.IsZero():
		return verdict{code: refusal.NoIdentity, detail: cr.nameless}
	case known.Name != cr.client.Name:
		return verdict{code: refusal.NoIdentity, detail: "the ledger has it as " + known.Name.String()}
	}
	v := verdict{client: cr.client}
	v.client.Profile = known.Profile
	return v
}

// consult asks a list, and then a condition, about a stranger or somebody whose
// certificate is good.
func (g *Gateway) consult(c *conn, v verdict, w *way, a *errand, now time.Time) verdict {
	s := g.subject(c, v.client, w)
	if d := w.list.Decide(s); d.Allow {
		if w.When == nil || a == nil {
			return v
		}
		return g.ask(c, v, w, s, a, now)
	} else {
		return refuseByList(v, d)
	}
}

func refuseByList(v verdict, d rule.Decision) verdict {
	return verdict{client: v.client, code: refusal.NotOnList, detail: v.client.who() + ": " + d.String()}
}

// subject is what a list is asked about.
func (g *Gateway) subject(c *conn, client Client, w *way) rule.Subject {
	s := rule.Subject{Name: client.Name, Partner: client.Partner.Name}
	if !client.IsZero() {
		s.Groups = g.roster.Groups(client.Name)
	}
	if w.networks {
		s.Networks = g.networksOf(c)
	}
	return s
}

// reach says whether there is any part of d that c may use.
func (g *Gateway) reach(c *conn, d *door, now time.Time) verdict {
	for _, w := range d.byRule {
		if v := g.judge(c, w, nil, now); v.code == "" {
			return v
		}
	}
	return g.judge(c, d.rest, d.errand(), now)
}

// mayStay judges c while it lives: every request in hand by the part of the
// door that it is for, and a connection at rest by whether it could still ask
// for something.
func (g *Gateway) mayStay(c *conn, d *door, now time.Time) verdict {
	if c.bearer.Load() && len(c.presented) == 0 {
		return g.handMayStay(c, d, now) // at rest there is nobody whose right could end
	}
	if d.uniform || d.tcp() {
		v := g.judge(c, d.rest, d.errand(), now)
		if d.rest.spares(v.code) {
			return verdict{}
		}
		return v
	}
	if v := g.handMayStay(c, d, now); v.code != "" {
		return v
	}
	if d.strangers || d.networks || d.audit {
		return verdict{}
	}
	v := g.recognise(c, now)
	return verdict{code: v.code, detail: v.detail}
}

// handMayStay judges the requests in hand.
func (g *Gateway) handMayStay(c *conn, d *door, now time.Time) verdict {
	hand := c.inHand()
	for i := range hand {
		a := &hand[i]
		if isReserved(a.path) {
			continue
		}
		w := d.way(a.method, a.path)
		if v := g.judge(c, w, a, now); v.code != "" && !w.spares(v.code) {
			return v
		}
	}
	return verdict{}
}

// consultAny asks all parts of d, in the handshake. Where somebody is can not
// be asked yet, so a door that wants to know says yes until it can.
func (g *Gateway) consultAny(v verdict, d *door) verdict {
	if d.networks {
		return v
	}
	for _, w := range d.byRule {
		if w.list.Decide(g.subject(nil, v.client, w)).Allow {
			return v
		}
	}
	return g.consult(nil, v, d.rest, nil, time.Time{})
}
