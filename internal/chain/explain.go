package chain

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/postern-project/postern/internal/refusal"
)

// Explain tells step by step whether the presented chain, leaf first, is good
// for p under a at the moment now, and where host is not "" whether it is for
// that host name or IP address. It also explains chains that Postern did not
// make: out of order, without their intermediate, with something too much.
// The chain is good when Faults finds nothing in the steps. It never panics.
func Explain(presented []*x509.Certificate, a Anchors, p Purpose, host string, now time.Time) (steps []Step) {
	defer func() {
		if recover() != nil {
			steps = []Step{{Title: "certificate", Code: refusal.BadCertificate, Detail: errPanic.Error(),
				Remedy: "Do not use it."}}
		}
	}()
	if len(presented) == 0 {
		return []Step{{Title: "certificate", Code: refusal.NoCertificate, Detail: "no certificate was presented",
			Remedy: "Put the certificate first, then the certificates of its issuers."}}
	}
	steps, presented = tooMany(presented)
	if err := Bounds(presented); err != nil {
		return append(steps, Step{Title: "certificate", Code: refusal.BadCertificate, Detail: err.Error(),
			Remedy: "Have it issued again by an authority that keeps to the usual bounds."})
	}
	a = a.usable(p)
	w, leaf := walker{anchors: a, presented: presented, thorough: true, now: now}, leafOf(presented)
	chain, refused := NewVerifier(a, p).accept(presented, leaf, now)
	if refused != nil && a.System != nil {
		chain, refused = w.underSystem(leaf, p)
	}
	if errors.Is(refused, errForged) {
		return append(steps, Step{Title: "signature", Code: refusal.BadChain, Detail: refused.Error(),
			Remedy: "Put only the certificate and those of its issuers into the file: others of the same name are damaged or forged."})
	}
	path := w.along(chain)
	if refused != nil {
		path = w.walk(leaf)
	}
	steps = append(steps, orderSteps(path, presented)...)
	steps = append(steps, judge{anchors: a, purpose: p, host: host, now: now}.steps(path)...)
	if refused != nil && len(Faults(steps)) == 0 {
		steps = append(steps, refusedStep(refused))
	}
	return steps
}

// underSystem returns the chain that the standard library accepts under the
// roots that cannot be listed. No gateway believes them.
func (w walker) underSystem(leaf int, p Purpose) ([]*x509.Certificate, error) {
	chains, err := w.presented[leaf].Verify(x509.VerifyOptions{
		Roots: w.anchors.System, Intermediates: poolOf(slices.Concat(w.anchors.Intermediates, w.presented)),
		CurrentTime: w.now, KeyUsages: []x509.ExtKeyUsage{p.usage()},
	})
	if err != nil {
		return nil, err
	}
	return chains[0], nil
}

// refusedStep tells what the standard library found where we see no fault: its
// word counts.
func refusedStep(err error) Step {
	return Step{Title: "verification", Code: refusal.BadChain, Detail: Printable(err.Error()),
		Remedy: "Have the certificate issued again; what stands here is rare and worth reporting."}
}

// tooMany cuts what is longer than any chain that is accepted.
func tooMany(presented []*x509.Certificate) ([]Step, []*x509.Certificate) {
	if len(presented) <= MaxPresented {
		return nil, presented
	}
	return []Step{{
		Title: "length", Code: refusal.BadCertificate,
		Detail: fmt.Sprintf("%d certificates presented: at most %d are read", len(presented), MaxPresented),
		Remedy: "Send the certificate and its intermediates only, without the root and without other authorities.",
	}}, presented[:MaxPresented]
}

// leafOf returns the place of the certificate that the chain is about: the
// first, unless that is an authority's and there is one that is not.
func leafOf(presented []*x509.Certificate) int {
	if !isAuthority(presented[0]) {
		return 0
	}
	return max(0, slices.IndexFunc(presented, func(c *x509.Certificate) bool { return !isAuthority(c) }))
}

// orderSteps compares the order in which the certificates were presented with
// the one that TLS wants: each certificate after the one it certifies.
func orderSteps(p *path, presented []*x509.Certificate) []Step {
	var used []int
	for _, n := range p.place {
		if n >= 0 {
			used = append(used, n)
		}
	}
	if used[0] != 0 {
		return []Step{{
			Title: "order", Code: refusal.BadChain,
			Detail: fmt.Sprintf("the certificate %s comes as number %d and has to come first", Quote(NameOf(p.leaf())), used[0]+1),
			Remedy: "Put the certificates into this order: " + list(namesAlong(p)) + ".",
		}}
	}
	var steps []Step
	if !slices.IsSorted(used) {
		steps = append(steps, Step{
			Title: "order", OK: true, Warning: true,
			Detail: "the issuers are out of order, which older clients refuse: " + list(namesAlong(p)) + " is right",
		})
	}
	if extra := unused(presented, used); len(extra) > 0 {
		steps = append(steps, Step{
			Title: "not needed", OK: true, Warning: true,
			Detail: list(extra) + " has no place in this chain",
		})
	}
	return steps
}

func namesAlong(p *path) []string {
	var names []string
	for i, c := range p.certs {
		if p.place[i] >= 0 {
			names = append(names, Quote(NameOf(c)))
		}
	}
	return names
}

func unused(presented []*x509.Certificate, used []int) []string {
	var names []string
	for i, c := range presented {
		if !slices.Contains(used, i) {
			names = append(names, Quote(NameOf(c)))
		}
	}
	return names
}
