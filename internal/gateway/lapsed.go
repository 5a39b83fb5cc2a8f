package gateway

import (
	"time"

	"github.com/postern-project/postern/internal/refusal"
)

// renewer says whom c speaks for as far as renewal goes: as recognise does, and
// where the operator allows it also the holder of a certificate whose end is
// all that is wrong with it. One of an issuer that is distrusted by now is
// not: its holder had the time until its end.
func (g *Gateway) renewer(c *conn, now time.Time) verdict {
	v := g.recognise(c, now)
	grace := g.table.Load().renewExpired
	if v.code != refusal.Expired || grace <= 0 {
		return v
	}
	end := c.presented[0].NotAfter
	if now.Before(end) || !now.Before(end.Add(grace)) {
		return v
	}
	cr := g.trusted().verify(c.presented, end.Add(-time.Second))
	lapsed := g.standing(cr)
	if lapsed.code != "" {
		return lapsed
	}
	if issuer, ok := g.roster.Issuer(cr.client.Ref.Issuer); ok && issuer.Distrusted {
		return verdict{code: refusal.IssuerDistrusted, detail: "it has ended, and its issuer " + issuer.Name + " is distrusted: it is not renewed"}
	}
	return lapsed
}

// offersRenewal reports whether a refused visitor's certificate can be renewed
// still.
func (x *exchange) offersRenewal(code refusal.Code) bool {
	return code == refusal.Expired && !x.conn.public && x.g.renewer(x.conn, x.start).code == ""
}

// offersAsking reports whether a refused visitor may ask for access. Whose
// access was ended by somebody is not told to ask for it again.
func (x *exchange) offersAsking(code refusal.Code) bool {
	switch code {
	case refusal.NoCertificate, refusal.Expired, refusal.UnknownIssuer, refusal.SelfSigned, refusal.BadChain:
		return x.door != nil && !x.door.public && x.door.site.AccessRequests && x.g.table.Load().askURL != ""
	}
	return false
}
