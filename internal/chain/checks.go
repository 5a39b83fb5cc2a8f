package chain

import (
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/refusal"
)

// UsageFault returns why c cannot be a leaf for p, or "".
//
// A client's certificate has to say clientAuth itself: neither a missing list
// nor anyExtendedKeyUsage opens a door. Servers without a list exist and are
// accepted by everybody, so for them only the any is refused. A certificate
// with a keyUsage must allow signatures, which is all that TLS 1.3 does with
// it (RFC 8446 section 4.4.2.2).
func UsageFault(c *x509.Certificate, p Purpose) string {
	listed := len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) > 0
	switch {
	case p == Issuer && isCA(c):
		return ""
	case p == Issuer:
		return Quote(NameOf(c)) + " is no authority's certificate, so it may not issue others"
	case p != Client && p != Server:
		return "no purpose is asked for"
	case p == Client && isAuthority(c):
		return fmt.Sprintf("%s is an authority's certificate, which issues others and opens nothing itself", Quote(NameOf(c)))
	case c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageDigitalSignature == 0 && !isAuthority(c):
		return fmt.Sprintf("the key usage of %s does not allow digital signatures, which TLS needs", Quote(NameOf(c)))
	case p == Server && !listed, slices.Contains(c.ExtKeyUsage, p.usage()):
		return ""
	case p == Client:
		return fmt.Sprintf("%s is for %s; a client's certificate needs clientAuth", Quote(NameOf(c)), usageWords(c))
	default:
		return fmt.Sprintf("%s is for %s; a server's certificate needs serverAuth", Quote(NameOf(c)), usageWords(c))
	}
}

func isAuthority(c *x509.Certificate) bool { return c.BasicConstraintsValid && c.IsCA }

func (j judge) usage(c *x509.Certificate) Step {
	s := Step{Title: "purpose", OK: true, Detail: usageWords(c)}
	if fault := UsageFault(c, j.purpose); fault != "" {
		s.OK, s.Code, s.Detail = false, refusal.WrongPurpose, fault
		s.Remedy = usageRemedy(c, j.purpose)
		return s
	}
	if j.purpose == Issuer {
		s.Detail = "issues others; " + usageWords(c)
	} else if isAuthority(c) {
		s.Warning, s.Detail = true, "an authority's certificate used as a server's: some clients refuse it"
	} else if j.purpose == Server && len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0 {
		s.Warning, s.Detail = true, "no extended key usage: Apple's devices want serverAuth"
	}
	return s
}

func usageRemedy(c *x509.Certificate, p Purpose) string {
	switch {
	case p == Client && slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth):
		return "This is a server's certificate used as a client's: use the one of the device or service (profile 'device' or 'service')."
	case p == Server && slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth):
		return "This is a client's certificate used as a server's: use one with the profile 'server'."
	case p == Server:
		return "Have a certificate issued with the usages digitalSignature and serverAuth (profile 'server')."
	default:
		return "Have a certificate issued with the usages digitalSignature and clientAuth (profile 'device' or 'service')."
	}
}

// authority looks at what lets c, which stands i steps above the leaf, issue
// certificates.
func (j judge) authority(c *x509.Certificate, i int) []Step {
	steps := []Step{j.basicConstraints(c, i)}
	if len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0 || j.purpose == Issuer {
		return steps
	}
	s := Step{Title: "purpose", OK: true, Detail: "issues for " + usageWords(c)}
	if !slices.Contains(c.ExtKeyUsage, j.purpose.usage()) && !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny) {
		s.OK, s.Code = false, refusal.WrongPurpose
		s.Detail = fmt.Sprintf("%s may issue for %s only, not for a %s", Quote(NameOf(c)), usageWords(c), j.purpose)
		s.Remedy = fmt.Sprintf("Have the certificate issued by an authority for %ss.", j.purpose)
	}
	return append(steps, s)
}

func (j judge) basicConstraints(c *x509.Certificate, i int) Step {
	s := Step{Title: "basic constraints", Code: refusal.BadChain}
	below := i - 1 // certificates between c and the leaf
	switch {
	case !isCA(c):
		s.Detail = Quote(NameOf(c)) + " is no authority's certificate, so it may not issue others"
		s.Remedy = "Have the certificate issued by an authority; a certificate of a server or device cannot issue."
	case c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0:
		s.Detail = "the key usage of " + Quote(NameOf(c)) + " does not allow it to sign certificates"
		s.Remedy = "Have the authority's certificate issued again with the usage keyCertSign."
	case c.BasicConstraintsValid && c.MaxPathLen >= 0 && below > c.MaxPathLen:
		s.Detail = fmt.Sprintf("%s allows %s below it, and there %s (path length)", Quote(NameOf(c)), authorities(c.MaxPathLen), isOrAre(below))
		s.Remedy = "Have the certificate issued directly by an authority that is allowed to, with fewer levels between."
	default:
		s.OK, s.Code, s.Detail = true, "", "may issue certificates"
		if c.BasicConstraintsValid && c.MaxPathLen >= 0 {
			s.Detail += levels(c.MaxPathLen)
		}
	}
	return s
}

// levels says how many levels of authorities may stand below one.
func levels(n int) string {
	switch n {
	case 0:
		return ", no further authorities"
	case 1:
		return ", and one more level of authorities"
	}
	return fmt.Sprintf(", and %d more levels of authorities", n)
}

func authorities(n int) string {
	switch n {
	case 0:
		return "no authority"
	case 1:
		return "1 authority"
	}
	return fmt.Sprintf("%d authorities", n)
}

func isOrAre(n int) string {
	if n == 1 {
		return "is 1"
	}
	return fmt.Sprintf("are %d", n)
}

func (j judge) validity(c *x509.Certificate, i int) Step {
	s := Step{Title: "validity", OK: true}
	switch {
	case c.NotAfter.Before(c.NotBefore):
		s.OK, s.Code = false, refusal.NotYetValid
		if j.now.After(c.NotAfter) {
			s.Code = refusal.Expired
		}
		s.Detail = fmt.Sprintf("%s ends on %s, before it begins on %s: it is good at no time", Quote(NameOf(c)), When(c.NotAfter), When(c.NotBefore))
		s.Remedy = "Have it issued again."
	case j.now.Before(c.NotBefore):
		s.OK, s.Code = false, refusal.NotYetValid
		s.Detail = fmt.Sprintf("%s begins in %s, on %s", Quote(NameOf(c)), span(c.NotBefore.Sub(j.now)), When(c.NotBefore))
		s.Remedy = "Compare this machine's clock (" + When(j.now) + ") with the real time; if it is right, wait."
	case j.now.After(c.NotAfter):
		s.OK, s.Code = false, refusal.Expired
		s.Detail = fmt.Sprintf("%s ended %s ago, on %s", Quote(NameOf(c)), span(j.now.Sub(c.NotAfter)), When(c.NotAfter))
		s.Remedy = expiredRemedy(c, i)
	default:
		s.Detail = fmt.Sprintf("%s to %s, %s left", When(c.NotBefore), When(c.NotAfter), span(c.NotAfter.Sub(j.now)))
		s.Warning = c.NotAfter.Sub(j.now) < c.NotAfter.Sub(c.NotBefore)/10
	}
	return s
}

// ExpiredRemedy says what to do about a leaf that has ended.
func ExpiredRemedy(c *x509.Certificate) string {
	id, err := identity.FromURIs(c.URIs)
	switch {
	case err != nil:
		return "It cannot renew itself any more: have it issued again. Where Postern issued it, invite the device again: 'postern invite NAME'."
	case !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth):
		return fmt.Sprintf("It cannot renew itself any more: have it issued again, 'postern issue %s'.", id.Name())
	}
	return fmt.Sprintf("It cannot renew itself any more: invite the device again: 'postern invite %s'.", id.Name())
}

func expiredRemedy(c *x509.Certificate, i int) string {
	if i == 0 {
		return ExpiredRemedy(c)
	}
	return fmt.Sprintf("The authority %s has to be replaced by a successor with the same or a new key; certificates below it cannot help that.", Quote(NameOf(c)))
}

// clock says when every certificate of the path has the same trouble with the
// date: then it is more likely the clock than all of them.
func (j judge) clock(p *path) (Step, bool) {
	if len(p.certs) < 2 {
		return Step{}, false
	}
	every := func(f func(*x509.Certificate) bool) bool {
		return !slices.ContainsFunc(p.certs, func(c *x509.Certificate) bool { return !f(c) })
	}
	s := Step{Title: "clock"}
	switch {
	case every(func(c *x509.Certificate) bool { return j.now.Before(c.NotBefore) }):
		s.Code = refusal.NotYetValid
		s.Detail = fmt.Sprintf("this machine's clock says %s, and everything here begins later: it is probably %s or more behind", When(j.now), span(p.latestStart().Sub(j.now)))
	case every(func(c *x509.Certificate) bool { return j.now.After(c.NotAfter) }):
		s.Code = refusal.Expired
		s.Detail = fmt.Sprintf("this machine's clock says %s, and everything here has ended: it may be %s or more ahead", When(j.now), span(j.now.Sub(p.leaf().NotAfter)))
	default:
		return Step{}, false
	}
	s.Remedy = "Set the clock ('timedatectl set-ntp true' on Linux) and look again."
	return s, true
}

func (j judge) hostName(c *x509.Certificate) Step {
	s := Step{Title: "host name", OK: true, Detail: Quote(j.host) + " is among its names"}
	if c.VerifyHostname(j.host) == nil {
		return s
	}
	s.OK, s.Code = false, WrongHost
	names := hostNames(c)
	switch {
	case len(names) == 0 && c.Subject.CommonName != "":
		s.Detail = fmt.Sprintf("the certificate has no host names; the common name %s does not count", Quote(c.Subject.CommonName))
	case len(names) == 0:
		s.Detail = "the certificate has no host names"
	default:
		s.Detail = fmt.Sprintf("the certificate is for %s, not for %s", list(names), Quote(j.host))
	}
	s.Remedy = fmt.Sprintf("Have a certificate issued that names %s, or use one of the names it has.", Quote(j.host))
	return s
}

func hostNames(c *x509.Certificate) []string {
	var names []string
	for _, n := range c.DNSNames {
		names = append(names, Quote(n))
	}
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

// constraintWords names the name constraints of the path's authorities.
func constraintWords(p *path) []string {
	var words []string
	for _, c := range p.certs[1:] {
		words = append(words, texts("", c.PermittedDNSDomains)...)
		words = append(words, texts("", networks(c.PermittedIPRanges))...)
		words = append(words, texts("", c.PermittedEmailAddresses)...)
		words = append(words, texts("", c.PermittedURIDomains)...)
		words = append(words, texts("not ", c.ExcludedDNSDomains)...)
		words = append(words, texts("not ", networks(c.ExcludedIPRanges))...)
		words = append(words, texts("not ", c.ExcludedEmailAddresses)...)
		words = append(words, texts("not ", c.ExcludedURIDomains)...)
	}
	return words
}

func texts(prefix string, values []string) []string {
	var out []string
	for _, v := range values {
		out = append(out, prefix+Quote(v))
	}
	return out
}

func networks(nets []*net.IPNet) []string {
	var out []string
	for _, n := range nets {
		out = append(out, n.String())
	}
	return out
}

// latestStart returns the latest beginning among the path's certificates.
func (p *path) latestStart() time.Time {
	t := p.leaf().NotBefore
	for _, c := range p.certs[1:] {
		if c.NotBefore.After(t) {
			t = c.NotBefore
		}
	}
	return t
}
