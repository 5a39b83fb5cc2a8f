package chain

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"iter"
	"slices"
	"time"
)

// Bounds on looking for another way up. Ways are found by names, which costs
// next to nothing; these bound what does cost.
const (
	maxWays   = 3 // that the standard library is asked about
	maxForged = 4 // signatures that turn out not to be the issuer's
)

// A finder looks for ways from a leaf up to a root among the known certificates
// and those that were presented.
type finder struct {
	judge
	presented []*x509.Certificate
	// signed remembers what came of each signature that was checked.
	signed map[link]error
	forged int
}

// A link is a certificate and the one above it.
type link struct{ child, parent *x509.Certificate }

// errForged says that no further way up was looked for.
var errForged = fmt.Errorf("%d of the signatures shown were not made by the issuer that they name", maxForged)

// ways yields the ways from leaf to a root on which each certificate may stand
// where it stands and has signed the one below it, the known ones first. What
// is left to judge are names and policies. A key is used only once somebody who
// is trusted vouches for it, so signatures are checked from the root down.
func (f *finder) ways(leaf *x509.Certificate) iter.Seq[[]*x509.Certificate] {
	return func(yield func([]*x509.Certificate) bool) {
		if f.fits(leaf, 0) {
			f.climb([]*x509.Certificate{leaf}, yield)
		}
	}
}

// climb goes on above way, and reports whether to look for more.
func (f *finder) climb(way []*x509.Certificate, yield func([]*x509.Certificate) bool) bool {
	if len(way) == maxPath {
		return true
	}
	for _, c := range f.above(way) {
		next, more := append(slices.Clip(way), c), true
		if !holds(f.anchors.Roots, c) {
			more = f.climb(next, yield)
		} else if f.sound(next) {
			more = yield(next)
		}
		if !more || f.forged >= maxForged {
			return false
		}
	}
	return true
}

// above returns the certificates that may stand above way, those whose key id
// is the one that is asked for first.
func (f *finder) above(way []*x509.Certificate) []*x509.Certificate {
	top := way[len(way)-1]
	var fit, rest []*x509.Certificate
	for _, c := range slices.Concat(f.anchors.Roots, f.anchors.Intermediates, f.presented) {
		switch {
		case !bytes.Equal(c.RawSubject, top.RawIssuer) || holds(way, c) || !f.fits(c, len(way)):
		case keyFits(top, c):
			fit = append(fit, c)
		default:
			rest = append(rest, c)
		}
	}
	return append(fit, rest...)
}

// fits reports whether c may stand i steps above the leaf, names aside.
func (f *finder) fits(c *x509.Certificate, i int) bool {
	if !validAt(c, f.now) || len(c.UnhandledCriticalExtensions) > 0 {
		return false
	}
	if i == 0 {
		return UsageFault(c, f.purpose) == ""
	}
	return !slices.ContainsFunc(f.authority(c, i), func(s Step) bool { return !s.OK })
}

// sound reports whether every signature of the way holds.
func (f *finder) sound(way []*x509.Certificate) bool {
	for i := len(way) - 2; i >= 0; i-- {
		l := link{way[i], way[i+1]}
		err, known := f.signed[l]
		if !known {
			if err = signedBy(l.child, l.parent); err != nil {
				f.forged++
			}
			f.signed[l] = err
		}
		if err != nil {
			return false
		}
	}
	return true
}

// accept returns the chain from presented[leaf] to a root by which it is good,
// or why there is none. It is the one judgement of both Verify and Explain.
func (v *Verifier) accept(presented []*x509.Certificate, leaf int, now time.Time) ([]*x509.Certificate, error) {
	chain, refused := v.verify(presented[leaf], v.intermediates, now)
	if refused == nil {
		return chain, nil
	}
	f := &finder{judge: judge{anchors: v.anchors, purpose: v.purpose, now: now}, signed: map[link]error{}}
	for i, c := range presented {
		if i != leaf && !v.anchors.hold(c) {
			f.presented = append(f.presented, c)
		}
	}
	if len(f.presented) == 0 {
		return nil, refused // the known ones have been tried
	}
	asked := 0
	for way := range f.ways(presented[leaf]) {
		if chain, refused = v.verify(way[0], poolOf(way[1:]), now); refused == nil {
			return chain, nil
		}
		if asked++; asked == maxWays {
			break
		}
	}
	if f.forged >= maxForged {
		refused = errForged
	}
	return nil, refused
}
