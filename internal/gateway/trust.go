package gateway

import (
	"crypto/x509"

	"github.com/postern-project/postern/internal/chain"
	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
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
	known *memory
}

// believe returns the trust as the roster has it now.
func (g *Gateway) believe() *trust {
	// The generation is read first: if it changes meanwhile, the next request
	// sees that and reads again.
	t := &trust{generation: g.roster.Generation(), domain: g.roster.TrustDomain(), hints: x509.NewCertPool()}
	var anchors chain.Anchors
	known := g.roster.Anchors()
	anchors.Roots, anchors.Intermediates = known.Trusted(), known.Bridges()
	for _, root := range anchors.Roots {
		t.hints.AddCert(root)
	}
	for _, i := range g.roster.Issuers() {
		// Distrusted issuers stay: what they issued honestly is in the ledger
		// and goes on working, what they did not issue raises the alarm. What a
		// retired root has signed leads to its successor.
		anchors.Intermediates = append(anchors.Intermediates, i.Certificate)
		if i.Use == ledger.UseClients {
			t.hints.AddCert(i.Certificate)
		}
	}
	t.verifier = chain.NewVerifier(anchors, chain.Client)
	t.known = newMemory()
	return t
}

// Believes reports whether chains are verified with the issuer that has the key
// id: whoever shows a certificate by it is judged by the ledger alone.
func (g *Gateway) Believes(issuer ledger.KeyID) bool {
	t := g.trusted()
	_, known := g.roster.Issuer(issuer)
	return known && t.generation == g.roster.Generation()
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
