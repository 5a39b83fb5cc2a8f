package gateway

import (
	"bytes"
	"crypto/x509"
	"slices"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/refusal"
	"github.com/postern-project/postern/internal/roster"
)

// A credential is what a chain of certificates came to under one trust. Only
// the chain is remembered, never what the roster said of it.
type credential struct {
	trust *trust
	// The result has to be looked for again before since and from until on.
	since, until time.Time
	client       Client // Ref is zero unless the chain is good; Profile is never set
	code         refusal.Code
	detail       string
	serial       string // of client.Ref, as it is printed
	// nameless says why a good chain names nobody.
	nameless string

	// Of a good chain; key and ders only when it is not too large to be
	// remembered.
	presented, chain []*x509.Certificate // chain: as it was verified, from the leaf to the root
	key              fingerprint
	ders             [][]byte // of both, each once
}

// remembered reports whether cr is one that a memory keeps.
func (cr *credential) remembered() bool { return cr.code == "" && cr.ders != nil }

// holds reports whether cr is what the chain comes to under t at the time now.
func (cr *credential) holds(t *trust, now time.Time) bool {
	return cr.trust == t && !now.Before(cr.since) && now.Before(cr.until)
}

// unforgiving is for how long a bad chain is remembered, so that requests on
// one connection cannot cause a verification each.
const unforgiving = time.Second

// examine verifies a chain, or remembers that it did. What it remembers saves
// time and changes no answer.
func (t *trust) examine(presented []*x509.Certificate, now time.Time) *credential {
	key, ok := fingerprintOf(presented)
	if !ok {
		return t.verify(presented, now)
	}
	if cr := t.known.recall(key, now); cr != nil {
		return cr
	}
	cr := t.verify(presented, now)
	if cr.code == "" {
		cr.key, cr.ders = key, dersOf(cr.presented, cr.chain)
		t.known.keep(cr)
	}
	return cr
}

func (t *trust) verify(presented []*x509.Certificate, now time.Time) *credential {
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
	cr.client.Ref, cr.serial = ref, ref.Serial.String()
	cr.presented, cr.chain = presented, result.Chain
	cr.since, cr.until = common(result.Chain)
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

// dersOf returns the encodings of the certificates, each once.
func dersOf(chains ...[]*x509.Certificate) (ders [][]byte) {
	for _, chain := range chains {
		for _, c := range chain {
			if !slices.ContainsFunc(ders, func(der []byte) bool { return bytes.Equal(der, c.Raw) }) {
				ders = append(ders, c.Raw)
			}
		}
	}
	return ders
}

// common returns the time in which all of a chain is valid.
func common(chain []*x509.Certificate) (since, until time.Time) {
	since, until = chain[0].NotBefore, chain[0].NotAfter
	for _, c := range chain[1:] {
		if c.NotBefore.After(since) {
			since = c.NotBefore
		}
		if c.NotAfter.Before(until) {
			until = c.NotAfter
		}
	}
	return since, until
}
