// Package partner judges certificates of other authorities: those of a trust
// file, for whom a site is opened besides its own devices. Who of them is meant
// is said by typed entries, and whether a certificate was withdrawn by the
// authority's revocation lists. Nobody here is ever an enrolled identity.
package partner

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/chain"
	"github.com/postern-project/postern/internal/refusal"
	"github.com/postern-project/postern/internal/rule"
)

// A Trust is one foreign authority as a site trusts it.
type Trust struct {
	Name rule.Partner
	// Anchors are verified by; everything else of the trust file is an
	// intermediate.
	Anchors chain.Anchors
	// Members are those who are meant: a certificate has to meet one entry.
	// Without entries nobody is.
	Members []Member
	// Lists are where the authority's revocation lists are: http:// addresses
	// and absolute paths. Without lists nothing is asked about revocation.
	Lists []string
	// AcceptOverdue lets a list count whose next one is overdue.
	AcceptOverdue bool
}

// Anchored returns the anchors that the certificates of a trust file are:
// authorities that no other one of the file has signed are roots. What is no
// authority is an error, and so is a file without a root.
func Anchored(certs []*x509.Certificate) (chain.Anchors, error) {
	var a chain.Anchors
	for _, c := range certs {
		if !c.IsCA || !c.BasicConstraintsValid {
			return chain.Anchors{}, fmt.Errorf("%q is no authority's certificate: a trust file holds those only", c.Subject)
		}
		signed := slices.ContainsFunc(certs, func(up *x509.Certificate) bool { return up != c && c.CheckSignatureFrom(up) == nil })
		if signed {
			a.Intermediates = append(a.Intermediates, c)
		} else {
			a.Roots = append(a.Roots, c)
		}
	}
	if len(a.Roots) == 0 {
		return chain.Anchors{}, fmt.Errorf("no certificate to begin with: each one is signed by another")
	}
	return a, nil
}

// A Member is an entry that a certificate meets when it meets every field of
// it that is set. The zero Member is met by none.
type Member struct {
	DNS, Email, URI string
	IP              netip.Addr
	// Key is the SHA-256 of the subject public key info.
	Key [sha256.Size]byte
	// Subject holds fields by their usual letters: cn, o, ou, c, st, l.
	Subject map[string]string
}

// subjectFields are the object identifiers behind the letters.
var subjectFields = map[string]string{"cn": "2.5.4.3", "c": "2.5.4.6", "l": "2.5.4.7", "st": "2.5.4.8", "o": "2.5.4.10", "ou": "2.5.4.11"}

// SubjectFields returns the letters that Member.Subject knows.
func SubjectFields() []string { return []string{"cn", "o", "ou", "c", "st", "l"} }

// ParseKey reads a pin: sha256/ and 44 characters of base64, or 64 hexadecimal
// digits.
func ParseKey(s string) (key [sha256.Size]byte, err error) {
	raw, err := hex.DecodeString(s)
	if text, ok := strings.CutPrefix(s, "sha256/"); ok {
		raw, err = base64.StdEncoding.DecodeString(text)
	}
	if err != nil || len(raw) != len(key) {
		return key, fmt.Errorf("%q is no pin: write sha256/ and the base64 of the key's SHA-256, or its 64 hexadecimal digits", s)
	}
	return [sha256.Size]byte(raw), nil
}

// met reports whether c meets the entry. Names are compared in their own type
// only: a DNS name is never looked for among the e-mail addresses.
func (m Member) met(c *x509.Certificate) bool {
	asked := false
	for _, q := range []struct{ set, met bool }{
		{m.DNS != "", slices.ContainsFunc(c.DNSNames, func(s string) bool { return sameASCII(s, m.DNS) })},
		{m.Email != "", slices.ContainsFunc(c.EmailAddresses, func(s string) bool { return sameAddress(s, m.Email) })},
		{m.URI != "", slices.ContainsFunc(c.URIs, func(u *url.URL) bool { return u.String() == m.URI })},
		{m.IP.IsValid(), hasIP(c, m.IP)},
		{m.Key != [sha256.Size]byte{}, sha256.Sum256(c.RawSubjectPublicKeyInfo) == m.Key},
	} {
		if q.set && !q.met {
			return false
		}
		asked = asked || q.set
	}
	for field, want := range m.Subject {
		if !hasField(c, subjectFields[field], want) {
			return false
		}
		asked = true
	}
	return asked
}

// sameASCII compares DNS names, whose letters A-Z have no case.
func sameASCII(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	lower := func(c byte) byte {
		if 'A' <= c && c <= 'Z' {
			return c + 'a' - 'A'
		}
		return c
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

// sameAddress compares e-mail addresses: the part before the last @ byte by
// byte (RFC 5280 section 7.5).
func sameAddress(a, b string) bool {
	i, j := strings.LastIndexByte(a, '@'), strings.LastIndexByte(b, '@')
	return i > 0 && i == j && a[:i] == b[:j] && sameASCII(a[i:], b[j:])
}

func hasIP(c *x509.Certificate, want netip.Addr) bool {
	for _, ip := range c.IPAddresses {
		if a, ok := netip.AddrFromSlice(ip); ok && a.Unmap() == want.Unmap() {
			return true
		}
	}
	return false
}

// hasField reports whether the subject has the field exactly once, with that
// value: what stands there twice can be read in two ways.
func hasField(c *x509.Certificate, oid, want string) bool {
	found, equal := 0, false
	for _, a := range c.Subject.Names {
		if a.Type.String() == oid {
			found++
			value, ok := a.Value.(string)
			equal = ok && value == want
		}
	}
	return oid != "" && found == 1 && equal
}

// A Checker judges certificates by a trust and the lists that there are at one
// moment. It never changes.
type Checker struct {
	trust    Trust
	verifier *chain.Verifier
	lists    []*List
}

// NewChecker returns the checker of t with lists.
func NewChecker(t Trust, lists []*List) *Checker {
	return &Checker{trust: t, verifier: chain.NewVerifier(t.Anchors, chain.Client), lists: lists}
}

// Name returns the partner's name.
func (c *Checker) Name() rule.Partner { return c.trust.Name }

// Roots returns the anchors, as hints for clients.
func (c *Checker) Roots() []*x509.Certificate { return c.trust.Anchors.Roots }

// A Judgement is what a chain comes to between Since and Until. The zero Code
// is yes.
type Judgement struct {
	Code         refusal.Code
	Detail       string
	Known        bool // the chain is this partner's, whatever else is wrong
	Since, Until time.Time
}

// Judge says whether the presented chain, leaf first, is a member's.
func (c *Checker) Judge(presented []*x509.Certificate, now time.Time) Judgement {
	r := c.verifier.Verify(presented, now)
	if !r.OK() || len(r.Chain) < 2 {
		known := r.Code != "" && r.Code != refusal.UnknownIssuer && r.Code != refusal.SelfSigned && r.Code != refusal.BadChain
		return Judgement{Code: cmpCode(r.Code, refusal.BadChain), Detail: r.Detail, Known: known, Until: now.Add(time.Second)}
	}
	j := Judgement{Known: true}
	for _, cert := range r.Chain {
		j.Since = latest(j.Since, cert.NotBefore)
		j.Until = earliest(j.Until, cert.NotAfter)
	}
	if code, detail := c.withdrawn(r.Chain, now, &j); code != "" {
		j.Code, j.Detail = code, detail
		return j
	}
	if !slices.ContainsFunc(c.trust.Members, func(m Member) bool { return m.met(r.Chain[0]) }) {
		j.Code, j.Detail = refusal.NotOnList, "the certificate meets no entry of trust "+c.trust.Name.String()
	}
	return j
}

func cmpCode(a, b refusal.Code) refusal.Code {
	if a != "" {
		return a
	}
	return b
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// withdrawn asks for every certificate below the anchor whether its issuer's
// lists have it (RFC 5280 section 6.3.3). A certificate for which there is no
// list that speaks of it is not known to be good.
func (c *Checker) withdrawn(path []*x509.Certificate, now time.Time, j *Judgement) (refusal.Code, string) {
	if len(c.trust.Lists) == 0 {
		return "", ""
	}
	for i, cert := range path[:len(path)-1] {
		issuer := path[i+1]
		asked, why := false, "there is no revocation list of "+issuer.Subject.String()+" that speaks of the certificate"
		for _, l := range c.lists {
			if !l.speaksOf(cert, issuer) {
				continue
			}
			switch {
			case l.revoked(cert.SerialNumber):
				return refusal.Revoked, "on the revocation list of " + issuer.Subject.String()
			case now.Before(l.thisUpdate):
				why = "the revocation list of " + issuer.Subject.String() + " begins in the future"
			case now.Before(l.nextUpdate):
				asked, j.Until = true, earliest(j.Until, l.nextUpdate)
			case c.trust.AcceptOverdue:
				asked = true
			default:
				why = fmt.Sprintf("the revocation list of %s was due on %s", issuer.Subject, l.nextUpdate.UTC().Format(time.RFC3339))
			}
		}
		if !asked {
			return refusal.RevocationUnknown, why
		}
	}
	return "", ""
}
