package gateway

import (
	"crypto/x509"
	"time"

	"github.com/postern-project/postern/internal/chain"
	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/refusal"
	"github.com/postern-project/postern/internal/roster"
)

// A trust is what certificates are verified by, as of one trust generation of
// the roster. It never changes.
type trust struct {
	generation uint64
	domain     identity.TrustDomain
	verifier   *chain.Verifier
	// hints holds what a client is told to choose its certificate by. It is
	// never nil, since to the standard library nil means the system's roots.
	hints *x509.CertPool
}

// believe returns the trust as the roster has it now.
func (g *Gateway) believe() *trust {
	// The generation is read first: if it changes meanwhile, the next request
	// sees that and reads again.
	t := &trust{generation: g.roster.Generation(), domain: g.roster.TrustDomain(), hints: x509.NewCertPool()}
	var anchors chain.Anchors
	if root := g.roster.Root(); root != nil {
		anchors.Roots = []*x509.Certificate{root}
		t.hints.AddCert(root)
	}
	for _, i := range g.roster.Issuers() {
		// Distrusted issuers stay: what they issued honestly is in the ledger
		// and goes on working, what they did not issue raises the alarm.
		anchors.Intermediates = append(anchors.Intermediates, i.Certificate)
		if i.Use == ledger.UseClients {
			t.hints.AddCert(i.Certificate)
		}
	}
	t.verifier = chain.NewVerifier(anchors, chain.Client)
	return t
}

// trusted returns the trust in force, renewed when the roster has moved on.
func (g *Gateway) trusted() *trust {
	t := g.trust.Load()
	if t.generation == g.roster.Generation() {
		return t
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if t = g.trust.Load(); t.generation == g.roster.Generation() {
		return t
	}
	t = g.believe()
	if next, err := g.newTable(g.config, t, g.table.Load()); err == nil {
		g.table.Store(next)
	}
	g.trust.Store(t)
	return t
}

// A credential is what a chain of certificates came to under one trust. Only
// the chain is remembered, never what the roster said of it.
type credential struct {
	trust *trust
	// until is when the result has to be looked for again.
	until  time.Time
	client Client // Ref is zero unless the chain is good; Profile is never set
	code   refusal.Code
	detail string
	// nameless says why a good chain names nobody.
	nameless string
}

// unforgiving is for how long a bad chain is remembered, so that requests on
// one connection cannot cause a verification each.
const unforgiving = time.Second

// examine verifies a chain. It has no side effects.
func (t *trust) examine(presented []*x509.Certificate, now time.Time) *credential {
	result := t.verifier.Verify(presented, now)
	cr := &credential{trust: t, client: Client{Certificate: presented[0]}}
	if !result.OK() || len(result.Chain) < 2 {
		cr.code, cr.detail, cr.until = result.Code, result.Detail, now.Add(unforgiving)
		if cr.code == "" {
			cr.code, cr.detail = refusal.BadChain, "an anchor itself was shown as a client's certificate"
		}
		return cr
	}
	leaf, issuer := result.Chain[0], result.Chain[1]
	ref, err := roster.RefOf(leaf, issuer)
	if err != nil {
		cr.code, cr.detail, cr.until = refusal.BadCertificate, err.Error(), now.Add(unforgiving)
		return cr
	}
	cr.client.Ref = ref
	cr.until = leaf.NotAfter
	for _, c := range result.Chain[1:] {
		if c.NotAfter.Before(cr.until) {
			cr.until = c.NotAfter
		}
	}
	id, err := identity.FromURIs(leaf.URIs)
	switch {
	case err != nil:
		cr.nameless = err.Error()
	case id.Domain() != t.domain:
		cr.nameless = id.String() + " is of another trust domain than " + t.domain.String()
	default:
		cr.client.Name = id.Name()
	}
	return cr
}
