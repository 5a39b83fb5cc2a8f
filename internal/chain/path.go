package chain

import (
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"slices"
	"time"
)

// An ending is how a path from the leaf upwards ends.
type ending uint8

const (
	missing   ending = iota // the issuer's certificate is nowhere
	anchored                // at an anchor
	selfMade                // at a certificate that signed itself and is no anchor
	lookalike               // at an authority with a known name and another key
	tooLong
)

// maxPath bounds a path: what may be presented, and as many known issuers.
const maxPath = 2 * MaxPresented

// A path is the way from a leaf upwards, found by names and, where a known
// certificate stands above, by its signature.
type path struct {
	certs []*x509.Certificate
	// signed[i] is what came of checking certs[i]'s signature with the key of
	// certs[i+1]. errUnchecked means that nobody who is trusted vouches for
	// that key, so that no work was spent on it.
	signed []error
	// place[i] is where certs[i] stood among the presented ones, or -1.
	place []int
	end   ending
	// other is the known authority that a lookalike is taken for.
	other *x509.Certificate
}

var errUnchecked = errors.New("not checked")

func (p *path) leaf() *x509.Certificate { return p.certs[0] }
func (p *path) top() *x509.Certificate  { return p.certs[len(p.certs)-1] }

// A walker finds paths.
type walker struct {
	anchors   Anchors
	presented []*x509.Certificate
	// thorough checks every signature, also those that cannot make the chain
	// good. Without it a stranger's keys cost us nothing.
	thorough bool
	now      time.Time
}

// along returns the path over a chain whose every link has been checked.
func (w walker) along(chain []*x509.Certificate) *path {
	p := &path{end: anchored, certs: chain, signed: make([]error, max(0, len(chain)-1))}
	for _, c := range chain {
		p.place = append(p.place, slices.IndexFunc(w.presented, c.Equal))
	}
	return p
}

// walk returns the path from presented[leaf] upwards.
func (w walker) walk(leaf int) *path {
	p := &path{certs: []*x509.Certificate{w.presented[leaf]}, place: []int{leaf}}
	for {
		cur := p.top()
		switch {
		case holds(w.anchors.Roots, cur):
			p.end = anchored
		case len(p.certs) == maxPath:
			p.end = tooLong
		case w.climb(p, cur):
			continue
		}
		break
	}
	w.checkDown(p)
	return p
}

// climb adds the issuer of cur to p, or says how p ends.
func (w walker) climb(p *path, cur *x509.Certificate) bool {
	c, err := w.known(p, cur)
	next := w.issuerAmongPresented(p, cur)
	if c != nil && (validAt(c, w.now) || next < 0 || !validAt(w.presented[next], w.now)) {
		p.add(c, slices.IndexFunc(w.presented, c.Equal), err)
		return true
	}
	if bytes.Equal(cur.RawIssuer, cur.RawSubject) && (len(p.certs) > 1 && !w.thorough || w.signedItself(cur)) {
		p.end = selfMade
		return false
	}
	if next >= 0 {
		p.add(w.presented[next], next, errUnchecked)
		return true
	}
	if p.other != nil {
		p.end = lookalike
	}
	return false
}

func (p *path) add(c *x509.Certificate, place int, signed error) {
	p.certs = append(p.certs, c)
	p.place = append(p.place, place)
	p.signed = append(p.signed, signed)
}

// known returns the known certificate whose key signed cur, the valid one
// where there are several, and what is wrong with the signature: nothing, or
// an algorithm too weak to tell.
func (w walker) known(p *path, cur *x509.Certificate) (*x509.Certificate, error) {
	var second *x509.Certificate
	for _, c := range slices.Concat(w.anchors.Roots, w.anchors.Intermediates) {
		if !bytes.Equal(c.RawSubject, cur.RawIssuer) || holds(p.certs, c) {
			continue
		}
		err := signedBy(cur, c)
		switch {
		case err == nil && validAt(c, w.now):
			return c, nil
		case err == nil:
			second = cmp.Or(second, c)
		case isWeak(err) && keyFits(cur, c):
			return c, err
		default:
			p.other = c
		}
	}
	if second == nil {
		second = w.systemIssuer(p, cur)
	}
	return second, nil
}

func validAt(c *x509.Certificate, t time.Time) bool {
	return !t.Before(c.NotBefore) && !t.After(c.NotAfter)
}

// systemIssuer asks the pool that cannot be listed. The moment is one at which
// cur is valid, so that an expired root is found too and can be named.
func (w walker) systemIssuer(p *path, cur *x509.Certificate) *x509.Certificate {
	if w.anchors.System == nil {
		return nil
	}
	at := w.now
	if at.After(cur.NotAfter) {
		at = cur.NotAfter
	}
	for _, t := range []time.Time{at, cur.NotBefore} {
		chains, err := cur.Verify(x509.VerifyOptions{
			Roots: w.anchors.System, Intermediates: x509.NewCertPool(), CurrentTime: t,
			KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
		})
		if err == nil && len(chains[0]) == 2 && !holds(p.certs, chains[0][1]) {
			return chains[0][1]
		}
	}
	return nil
}

// issuerAmongPresented returns the place of the presented certificate that
// could have issued cur, by name, or -1. One whose key id fits goes before one
// that only has the name, and one that is valid now before both.
func (w walker) issuerAmongPresented(p *path, cur *x509.Certificate) int {
	best, bestScore := -1, -1
	for i, c := range w.presented {
		if !bytes.Equal(c.RawSubject, cur.RawIssuer) || slices.Contains(p.place, i) || holds(p.certs, c) || w.knows(c) {
			continue
		}
		if score := w.score(cur, c); score > bestScore {
			best, bestScore = i, score
		}
	}
	return best
}

// knows reports whether c is a known certificate: known has tried it already.
func (w walker) knows(c *x509.Certificate) bool { return w.anchors.hold(c) }

func (a Anchors) hold(c *x509.Certificate) bool {
	return holds(a.Roots, c) || holds(a.Intermediates, c)
}

func (w walker) score(cur, parent *x509.Certificate) int {
	score := 0
	if w.thorough && signedBy(cur, parent) == nil {
		score += 4
	}
	if keyFits(cur, parent) {
		score += 2
	}
	if validAt(parent, w.now) {
		score++
	}
	return score
}

// checkDown checks the signatures that climbing left open, from the top: a key
// is used only once somebody trusted vouches for it.
func (w walker) checkDown(p *path) {
	trusted := p.end == anchored
	for i := len(p.signed) - 1; i >= 0; i-- {
		if p.signed[i] == errUnchecked && (trusted || w.thorough) {
			p.signed[i] = signedBy(p.certs[i], p.certs[i+1])
		}
		trusted = trusted && p.signed[i] == nil
	}
}

// signedBy checks the signature of child with the key of parent, and nothing
// else about them. SHA-1 is refused as MD5 is: a collision costs less than a
// car, and CheckSignature on its own would still take it.
func signedBy(child, parent *x509.Certificate) error {
	switch child.SignatureAlgorithm {
	case x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.DSAWithSHA1:
		return x509.InsecureAlgorithmError(child.SignatureAlgorithm)
	}
	return parent.CheckSignature(child.SignatureAlgorithm, child.RawTBSCertificate, child.Signature)
}

// signedItself reports whether c is signed with its own key. Where the
// algorithm is too weak to tell, or a stranger's key so slow that finding out
// would cost us milliseconds, its word is taken: nothing is gained by it.
func (w walker) signedItself(c *x509.Certificate) bool {
	if k, ok := c.PublicKey.(*ecdsa.PublicKey); ok && k.Curve == elliptic.P521() && !w.thorough {
		return true
	}
	err := signedBy(c, c)
	return err == nil || isWeak(err)
}

func isWeak(err error) bool {
	_, ok := errors.AsType[x509.InsecureAlgorithmError](err)
	return ok
}

// keyFits reports whether the key identifiers do not contradict each other.
func keyFits(child, parent *x509.Certificate) bool {
	return len(child.AuthorityKeyId) == 0 || len(parent.SubjectKeyId) == 0 ||
		bytes.Equal(child.AuthorityKeyId, parent.SubjectKeyId)
}

// holds reports whether certs holds c itself, byte for byte.
func holds(certs []*x509.Certificate, c *x509.Certificate) bool {
	return slices.ContainsFunc(certs, c.Equal)
}
