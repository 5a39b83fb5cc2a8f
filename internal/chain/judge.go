package chain

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/postern-project/postern/internal/refusal"
)

// A judge turns a path into steps.
type judge struct {
	anchors Anchors
	purpose Purpose
	host    string
	now     time.Time
}

// steps returns one step for the clock when that looks wrong, one for each
// certificate of the path, and one for its end.
func (j judge) steps(p *path) []Step {
	var steps []Step
	if s, odd := j.clock(p); odd {
		steps = append(steps, s)
	}
	for i := range p.certs {
		steps = append(steps, j.certificate(p, i))
	}
	return append(steps, j.ending(p)...)
}

// certificate looks at the i-th certificate of the path.
func (j judge) certificate(p *path, i int) Step {
	c := p.certs[i]
	s := Step{Title: j.role(p, i) + " " + Quote(NameOf(c)), Detail: j.describe(p, i)}
	s.Children = append(s.Children, j.critical(c, i)...)
	s.Children = append(s.Children, j.signature(p, i)...)
	if i == 0 {
		s.Children = append(s.Children, j.usage(c))
	} else {
		s.Children = append(s.Children, j.authority(c, i)...)
	}
	s.Children = append(s.Children, j.validity(c, i))
	if i == 0 && j.host != "" {
		s.Children = append(s.Children, j.hostName(c))
	}
	return sum(s)
}

// sum says whether s went well from what is below it.
func sum(s Step) Step {
	s.OK = !slices.ContainsFunc(s.Children, func(c Step) bool { return !c.OK })
	return s
}

func (j judge) role(p *path, i int) string {
	switch {
	case i == 0:
		return "certificate"
	case i == len(p.certs)-1 && (p.end == anchored || p.end == selfMade):
		return "root"
	default:
		return "issuer"
	}
}

func (j judge) describe(p *path, i int) string {
	c := p.certs[i]
	from := "known here"
	if n := p.place[i]; n >= 0 {
		from = fmt.Sprintf("number %d of those shown", n+1)
	}
	text := fmt.Sprintf("%s, serial %s, %s", KeyWords(c.PublicKey), SerialOf(c), from)
	if names := NamesOf(c); i == 0 && len(names) > 0 {
		text += "; names " + list(names)
	}
	return text
}

func (j judge) critical(c *x509.Certificate, i int) []Step {
	if len(c.UnhandledCriticalExtensions) == 0 {
		return nil
	}
	code := refusal.BadCertificate
	if i > 0 {
		code = refusal.BadChain
	}
	return []Step{{
		Title: "extensions", Code: code,
		Detail: fmt.Sprintf("%s demands that %s be understood, and it is not", Quote(NameOf(c)), c.UnhandledCriticalExtensions[0]),
		Remedy: "Have the certificate issued again without that critical extension.",
	}}
}

// signature looks at the link from the i-th certificate to the one above it.
func (j judge) signature(p *path, i int) []Step {
	if i >= len(p.signed) {
		return nil
	}
	c, parent, err := p.certs[i], p.certs[i+1], p.signed[i]
	s := Step{Title: "signature", OK: err == nil}
	switch {
	case err == nil:
		s.Detail = fmt.Sprintf("by %s, %s", Quote(NameOf(parent)), c.SignatureAlgorithm)
	case errors.Is(err, errUnchecked):
		return nil
	case isWeak(err):
		s.Code = refusal.BadChain
		s.Detail = fmt.Sprintf("%s is signed with %s, which can be forged and is accepted nowhere any more", Quote(NameOf(c)), c.SignatureAlgorithm)
		s.Remedy = "Have " + Quote(NameOf(c)) + " issued again with SHA-256."
	default:
		s.Code = refusal.BadChain
		s.Detail = fmt.Sprintf("%s names %s as its issuer, but its signature was not made with that key", Quote(NameOf(c)), Quote(NameOf(parent)))
		s.Remedy = "The certificate was damaged or forged, or the issuer has the same name and another key: put the issuer's right certificate after it."
	}
	return []Step{s}
}

// ending says where the path leads.
func (j judge) ending(p *path) []Step {
	top := p.top()
	s := Step{Title: "anchor"}
	switch p.end {
	case anchored:
		s.OK = true
		s.Detail = Quote(NameOf(top)) + " is trusted here"
		return append(j.constraints(p), s)
	case selfMade:
		j.selfMade(p, &s)
	case lookalike:
		j.lookalike(p, &s)
	case tooLong:
		s.Code, s.Detail = refusal.BadChain, fmt.Sprintf("after %d certificates there is no root", len(p.certs))
		s.Remedy = "Have the certificate issued by an authority with fewer levels."
	default:
		j.missing(p, &s)
	}
	return []Step{s}
}

func (j judge) selfMade(p *path, s *Step) {
	top := p.top()
	if len(p.certs) == 1 {
		s.Code = refusal.SelfSigned
		s.Detail = Quote(NameOf(top)) + " is signed by itself, so nobody vouches for it"
		s.Remedy = "Use a certificate that an authority issued; to trust this very one, name it with --root."
		return
	}
	s.Code = refusal.UnknownIssuer
	s.Detail = fmt.Sprintf("the chain leads to %s, which is not trusted here", Quote(NameOf(top)))
	if p.other != nil {
		s.Detail = fmt.Sprintf("the chain leads to a root that calls itself %s like one that is trusted here, with another key", Quote(NameOf(top)))
	}
	s.Remedy = "If you trust that authority, name its root with --root ROOT.pem; otherwise use a certificate of one that is trusted."
}

func (j judge) lookalike(p *path, s *Step) {
	top := p.top()
	s.Code = refusal.UnknownIssuer
	s.Detail = fmt.Sprintf("%s comes from an authority that calls itself %s like one that is known here, with another key", Quote(NameOf(top)), Quote(IssuerOf(top)))
	s.Remedy = "Use a certificate of the authority that is trusted, or name this one's root with --root ROOT.pem."
	if len(top.AuthorityKeyId) > 0 && keyFits(top, p.other) && len(p.other.SubjectKeyId) > 0 {
		s.Code = refusal.BadChain
		s.Detail = fmt.Sprintf("%s says that the key of %s signed it, and that key did not", Quote(NameOf(top)), Quote(IssuerOf(top)))
		s.Remedy = "The certificate was damaged or forged: fetch it again from where it was issued."
	}
}

// missing tells a gap in the chain from an authority that is not known at all.
func (j judge) missing(p *path, s *Step) {
	top := p.top()
	s.Code = refusal.UnknownIssuer
	s.Detail = fmt.Sprintf("%s was issued by %s, whose certificate is neither known here nor among those shown", Quote(NameOf(top)), Quote(IssuerOf(top)))
	s.Remedy = fmt.Sprintf("If %s is an intermediate, put its certificate into the file after %s (servers: into the file of ssl_certificate). If it is a root that you trust, name it with --root ROOT.pem.", Quote(IssuerOf(top)), Quote(NameOf(top)))
	if urls := top.IssuingCertificateURL; len(urls) > 0 {
		s.Remedy += " The certificate says that its issuer's is found at " + Printable(urls[0]) + "."
	}
}

// constraints asks the standard library for what only it judges: name
// constraints and policies. It is asked at a moment when all certificates of
// the path are valid, since dates come later in the order.
func (j judge) constraints(p *path) []Step {
	from, to := p.window()
	if !p.sound() || from.After(to) || len(p.certs) < 2 {
		return nil
	}
	err := p.verifyAt(from)
	limits := constraintWords(p)
	if err == nil {
		if len(limits) == 0 {
			return nil
		}
		return []Step{{Title: "name constraints", OK: true, Detail: "every name lies within " + list(limits)}}
	}
	invalid, ok := errors.AsType[x509.CertificateInvalidError](err)
	if !ok || invalid.Reason != x509.CANotAuthorizedForThisName && invalid.Reason != x509.NoValidChains {
		return nil // another step says it
	}
	return []Step{{
		Title: "name constraints", Code: refusal.BadChain,
		Detail: fmt.Sprintf("an authority of the chain may not vouch for these names: %s", Printable(err.Error())),
		Remedy: "Have the certificate issued for names that its authority may use, or by another authority.",
	}}
}

func (p *path) verifyAt(at time.Time) error {
	_, err := p.leaf().Verify(x509.VerifyOptions{
		Roots: poolOf(p.certs[len(p.certs)-1:]), Intermediates: poolOf(p.certs[1:]),
		CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	return err
}

// window returns the time during which every certificate of the path is valid;
// from is after to when there is none.
func (p *path) window() (from, to time.Time) {
	from, to = p.leaf().NotBefore, p.leaf().NotAfter
	for _, c := range p.certs[1:] {
		if c.NotBefore.After(from) {
			from = c.NotBefore
		}
		if c.NotAfter.Before(to) {
			to = c.NotAfter
		}
	}
	return from, to
}
