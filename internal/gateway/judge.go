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

// judge says whether c may use a site right now. The order of looking is
// chain, roster, list, so that one cause has one code.
func (g *Gateway) judge(c *conn, list rule.List, now time.Time) verdict {
	v := g.recognise(c, now)
	if v.code != "" && list.AdmitsStrangers() {
		// Whoever may come with no certificate may come with a bad one, and
		// is nobody. A forgery is theft all the same.
		if !refusal.Lookup(v.code).Alarm {
			return verdict{}
		}
	}
	if v.code != "" {
		return v
	}
	return g.consult(v, list)
}

// recognise says whom c speaks for right now, whatever a site's list says.
func (g *Gateway) recognise(c *conn, now time.Time) verdict {
	if len(c.presented) == 0 {
		return verdict{code: refusal.NoCertificate}
	}
	return g.standing(g.credentialOf(c, now))
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

// consult asks a site's list about somebody whose certificate is good.
func (g *Gateway) consult(v verdict, list rule.List) verdict {
	subject := rule.Subject{Name: v.client.Name, Groups: g.roster.Groups(v.client.Name)}
	if d := list.Decide(subject); !d.Allow {
		return verdict{client: v.client, code: refusal.NotOnList, detail: v.client.Name.String() + ": " + d.String()}
	}
	return v
}
