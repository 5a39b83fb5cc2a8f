package explain

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	"github.com/postern-project/postern/internal/chain"
)

// An opened is a file with what was found in it.
type opened struct {
	name  string
	certs []*x509.Certificate
	keys  []foundKey
	steps []chain.Step // what there is to say about the file alone
}

type foundKey struct {
	where string
	pub   crypto.PublicKey
}

// Files explains files: certificates and bundles, keys and whether they belong
// to a certificate, requests, PKCS#12. Files named together are looked at
// together: a root among them is an anchor, a key is compared with every
// certificate.
func Files(files []File, o Options) Report {
	var all []opened
	var names []string
	for _, f := range files {
		all = append(all, open(f, o))
		names = append(names, chain.Printable(f.Name))
	}
	o.askAnchors(all)
	var steps []chain.Step
	for _, f := range all {
		steps = append(steps, group("file "+chain.Quote(f.name), contents(f), f.steps...))
	}
	steps = append(steps, keySteps(all)...)
	steps = append(steps, chainSteps(all, o)...)
	r := report(strings.Join(names, ", "), steps)
	r.inFile = unasked(steps)
	return r
}

func (o *Options) askAnchors(all []opened) {
	if len(o.Roots) > 0 || o.Anchors == nil {
		return
	}
	roots, issuers := o.Anchors(certificates(all))
	o.Roots, o.Intermediates = roots, slices.Concat(o.Intermediates, issuers)
}

func certificates(all []opened) []*x509.Certificate {
	var certs []*x509.Certificate
	for _, f := range all {
		certs = append(certs, f.certs...)
	}
	return certs
}

// contents counts what a file holds.
func contents(f opened) string {
	var parts []string
	count := func(n int, one, many string) {
		switch {
		case n == 1:
			parts = append(parts, "1 "+one)
		case n > 1:
			parts = append(parts, fmt.Sprintf("%d %s", n, many))
		}
	}
	count(len(f.certs), "certificate", "certificates")
	count(len(f.keys), "private key", "private keys")
	return strings.Join(parts, ", ")
}

// keySteps says for each key which certificate it belongs to.
func keySteps(all []opened) []chain.Step {
	certs := certificates(all)
	var steps []chain.Step
	for _, f := range all {
		for _, k := range f.keys {
			steps = append(steps, keyStep(k, certs))
		}
	}
	return steps
}

func keyStep(k foundKey, certs []*x509.Certificate) chain.Step {
	words := chain.KeyWords(k.pub)
	if len(certs) == 0 {
		return good("key in "+chain.Quote(k.where), words+"; name a certificate too, to see whether it belongs to it")
	}
	for _, c := range certs {
		if sameKey(c.PublicKey, k.pub) {
			return good("key in "+chain.Quote(k.where), fmt.Sprintf("%s, belongs to %s", words, chain.Quote(chain.NameOf(c))))
		}
	}
	return bad("key in "+chain.Quote(k.where),
		fmt.Sprintf("%s, belongs to none of the certificates: the first one's is %s", words, otherKey(certs[0], k.pub)),
		"Use the key that was made together with the certificate, or have a certificate issued for this key.")
}

func otherKey(c *x509.Certificate, pub crypto.PublicKey) string {
	if words := chain.KeyWords(c.PublicKey); words != chain.KeyWords(pub) {
		return words
	}
	return "another one of the same kind"
}

func sameKey(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// chainSteps explains the chain of each file that has certificates in it. A
// file with nothing but authorities is explained on its own only when no file
// has a leaf.
func chainSteps(all []opened, o Options) []chain.Step {
	leaves := slices.ContainsFunc(all, func(f opened) bool { return hasLeaf(f.certs) })
	var steps []chain.Step
	for _, f := range all {
		if len(f.certs) == 0 || leaves && !hasLeaf(f.certs) {
			continue
		}
		anchors, remark := anchorsFor(all, o)
		steps = append(steps, remark...)
		purpose := purposeOf(f.certs, o)
		children := append(chain.Explain(f.certs, anchors, purpose, o.Host, o.Now), ledgerSteps(f.certs, o)...)
		steps = append(steps, group("chain of "+chain.Quote(f.name), "as "+article(purpose), children...))
	}
	return steps
}

func article(p chain.Purpose) string {
	if p == chain.Issuer {
		return "an issuer"
	}
	return "a " + p.String()
}

func isLeaf(c *x509.Certificate) bool { return !c.IsCA }

func hasLeaf(certs []*x509.Certificate) bool { return slices.ContainsFunc(certs, isLeaf) }

// purposeOf tells what a chain is for: as asked, else by the host, else by what
// the leaf says.
func purposeOf(certs []*x509.Certificate, o Options) chain.Purpose {
	leaf := certs[0]
	if i := slices.IndexFunc(certs, isLeaf); i >= 0 {
		leaf = certs[i]
	}
	server := slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	client := slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	switch {
	case o.Purpose != 0:
		return o.Purpose
	case o.Host != "":
		return chain.Server
	case leaf.IsCA:
		return chain.Issuer
	case client && (!server || len(leaf.DNSNames)+len(leaf.IPAddresses) == 0):
		return chain.Client
	default:
		return chain.Server
	}
}

// anchorsFor returns the anchors: those that were named, or the system's and
// the roots that stand in the files themselves.
func anchorsFor(all []opened, o Options) (chain.Anchors, []chain.Step) {
	a := chain.Anchors{Roots: o.Roots, Intermediates: slices.Clone(o.Intermediates)}
	for _, f := range all {
		a.Intermediates = append(a.Intermediates, slices.DeleteFunc(slices.Clone(f.certs), isLeaf)...)
	}
	if len(o.Roots) > 0 {
		return a, nil
	}
	a.System = systemRoots(o.System)
	var names []string
	for _, c := range a.Intermediates {
		if bytes.Equal(c.RawIssuer, c.RawSubject) {
			a.Roots = append(a.Roots, c)
			names = append(names, chain.Quote(chain.NameOf(c)))
		}
	}
	if len(names) == 0 {
		return a, nil
	}
	return a, []chain.Step{note("anchors", "taken from the files themselves: "+strings.Join(slices.Compact(names), ", ")+
		". Whether to trust them is for you to know; --root ROOT.pem names the ones you do")}
}
