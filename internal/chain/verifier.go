package chain

import (
	"bytes"
	"crypto/x509"
	"errors"
	"slices"
	"time"

	"github.com/postern-project/postern/internal/refusal"
)

// A Verifier judges presented chains for one purpose under fixed anchors. It
// is safe for concurrent use.
type Verifier struct {
	anchors       Anchors
	purpose       Purpose
	roots         *x509.CertPool
	intermediates *x509.CertPool
	usages        []x509.ExtKeyUsage
}

// NewVerifier returns a verifier for p under a. Without roots it refuses
// everything.
func NewVerifier(a Anchors, p Purpose) *Verifier {
	a = a.usable(p)
	a.System = nil
	return &Verifier{
		anchors: a, purpose: p,
		roots: poolOf(a.Roots), intermediates: poolOf(a.Intermediates),
		usages: []x509.ExtKeyUsage{p.usage()},
	}
}

// usable returns a without empty certificates and, where clients are judged,
// without roots that are no authorities: a client's certificate among the
// roots would open doors with nobody's signature.
func (a Anchors) usable(p Purpose) Anchors {
	a.Roots = slices.DeleteFunc(slices.Clone(a.Roots), func(c *x509.Certificate) bool {
		return isEmpty(c) || p == Client && !isCA(c)
	})
	a.Intermediates = slices.DeleteFunc(slices.Clone(a.Intermediates), isEmpty)
	return a
}

func isEmpty(c *x509.Certificate) bool { return c == nil || len(c.Raw) == 0 }

func poolOf(certs []*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range certs {
		pool.AddCert(c)
	}
	return pool
}

// Verify judges the chain that a peer presented, leaf first, at the moment
// now. The causes are looked for in the order chain, issuer, purpose, dates;
// whether the peer holds the leaf's key is for TLS to find out. It never
// panics.
func (v *Verifier) Verify(presented []*x509.Certificate, now time.Time) (r Result) {
	defer func() {
		if recover() != nil {
			r = Result{Code: refusal.BadCertificate, Detail: errPanic.Error()}
		}
	}()
	if len(presented) == 0 {
		return Result{Code: refusal.NoCertificate, Detail: "no certificate was presented"}
	}
	if err := Bounds(presented); err != nil {
		return Result{Code: refusal.BadCertificate, Detail: err.Error()}
	}
	chain, err := v.accept(presented, 0, now)
	if err == nil {
		return Result{Chain: chain}
	}
	if errors.Is(err, errForged) {
		return Result{Code: refusal.BadChain, Detail: err.Error()}
	}
	p := walker{anchors: v.anchors, presented: presented, now: now}.walk(0)
	return v.refuse(p, now, err)
}

// verify is the standard library's judgement and what it leaves out: a leaf
// that is explicitly for the purpose. The pool of roots is never nil, which
// would mean the system's.
func (v *Verifier) verify(leaf *x509.Certificate, pool *x509.CertPool, now time.Time) ([]*x509.Certificate, error) {
	if fault := UsageFault(leaf, v.purpose); fault != "" {
		return nil, usageError(fault)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots: v.roots, Intermediates: pool, CurrentTime: now, KeyUsages: v.usages,
	})
	if err != nil {
		return nil, err
	}
	return chains[0], nil
}

type usageError string

func (e usageError) Error() string { return string(e) }

// sound reports whether every signature of the path was checked and holds.
func (p *path) sound() bool {
	return !slices.ContainsFunc(p.signed, func(err error) bool { return err != nil })
}

// refuse names the first cause, in the order of checks.
func (v *Verifier) refuse(p *path, now time.Time, err error) Result {
	steps := judge{anchors: v.anchors, purpose: v.purpose, now: now}.steps(p)
	if faults := Faults(steps); len(faults) > 0 {
		return Result{Code: faults[0].Code, Detail: faults[0].Detail}
	}
	s := refusedStep(err)
	return Result{Code: s.Code, Detail: s.Detail}
}

// order is the order in which causes are looked for. A cause that is not in it
// comes last.
var order = [...]refusal.Code{
	refusal.NoCertificate, refusal.BadCertificate, refusal.SelfSigned, refusal.UnknownIssuer,
	refusal.BadChain, refusal.WrongPurpose, refusal.NotYetValid, refusal.Expired, WrongHost,
}

func rank(c refusal.Code) int {
	if i := slices.Index(order[:], c); i >= 0 {
		return i
	}
	return len(order)
}

// Faults returns the failed steps that have no failed step below them, in the
// order in which their causes are looked for: the first one is the cause.
func Faults(steps []Step) []Step {
	faults := faultsIn(steps)
	slices.SortStableFunc(faults, func(a, b Step) int { return rank(a.Code) - rank(b.Code) })
	return faults
}

func faultsIn(steps []Step) []Step {
	var faults []Step
	for _, s := range steps {
		below := faultsIn(s.Children)
		if len(below) == 0 && !s.OK {
			below = []Step{s}
		}
		faults = append(faults, below...)
	}
	return faults
}

// isCA reports whether c may stand above others. Before version 3 nothing in
// a certificate could say so.
func isCA(c *x509.Certificate) bool {
	if c.Version < 3 {
		return bytes.Equal(c.RawIssuer, c.RawSubject)
	}
	return c.BasicConstraintsValid && c.IsCA
}
