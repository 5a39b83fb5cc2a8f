package profile

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/identity"
)

// How long authorities last.
const (
	RootYears   = 20
	IssuerYears = 10
)

// RootTemplate returns the self-signed root of a trust domain, all but the
// signature: twenty years, room for issuers below it and for a successor that
// stands between. Its name holds the beginning of its key's identifier, for two
// roots of one name confuse programs.
func RootTemplate(d identity.TrustDomain, pub crypto.PublicKey, now time.Time) (*x509.Certificate, error) {
	c, err := authority(d, "root", pub, now, RootYears)
	if err != nil {
		return nil, err
	}
	c.MaxPathLen = 2
	return c, nil
}

// IssuerTemplate returns an intermediate for certificates of one usage, to be
// signed by root: ten years and never past the root, and no authority below it.
// One for clients is bound to names in the trust domain, and to no host and no
// address, for some programs heed the usage of the last certificate only, and a
// thief would have a server's. One for servers is bound to the trust domain,
// where that is a name on the internet, and to zones, beside names and addresses
// that are private anyway. It says where the root's list and certificate are
// found below publicURL; "" says nothing.
func IssuerTemplate(d identity.TrustDomain, name string, u Usage, pub crypto.PublicKey, root *x509.Certificate, now time.Time, publicURL string, zones ...string) (*x509.Certificate, error) {
	c, err := authority(d, name, pub, now, IssuerYears)
	if err != nil {
		return nil, err
	}
	if c.NotAfter.After(root.NotAfter) {
		c.NotAfter = root.NotAfter
	}
	c.MaxPathLenZero = true
	c.AuthorityKeyId = root.SubjectKeyId
	c.ExtKeyUsage = []x509.ExtKeyUsage{u.eku()}
	if publicURL != "" {
		c.CRLDistributionPoints = []string{publicURL + RootPath(root) + ".crl"}
		c.IssuingCertificateURL = []string{publicURL + RootPath(root) + ".crt"}
	}
	switch {
	case u == Client:
		c.PermittedDNSDomainsCritical = true // the whole extension is
		// "" among the excluded ones would say it shorter, and make Java 17 crash
		c.PermittedDNSDomains, c.ExcludedIPRanges = []string{nowhere}, everyIPNet()
		if uriHost(d.String()) {
			c.PermittedURIDomains = []string{d.String()}
		}
	case u == Server && realDomain(d.String()):
		c.PermittedDNSDomainsCritical = true
		c.PermittedDNSDomains = slices.Concat([]string{d.String()}, zones, privateZones)
		c.PermittedIPRanges = privateIPNets()
	}
	return c, nil
}

// RootPath is where a root's list (.crl) and certificate (.crt) are served,
// below the public address: each root has its own, by the end of its name.
func RootPath(root *x509.Certificate) string {
	return "/root/" + hex.EncodeToString(root.SubjectKeyId[:min(4, len(root.SubjectKeyId))])
}

// BridgeTemplate returns the certificate by which one root certifies the name
// and key of another, so that whoever knows only the one believes what the other
// has signed. Neither outlives the other.
func BridgeTemplate(whom, by *x509.Certificate, now time.Time) (*x509.Certificate, error) {
	if by.MaxPathLen < 2 {
		return nil, fmt.Errorf("the root %q leaves no room for another below it (path length %d), as roots of the first version do: make a new authority", by.Subject.CommonName, by.MaxPathLen)
	}
	now = now.UTC().Truncate(time.Second)
	until := whom.NotAfter
	if by.NotAfter.Before(until) {
		until = by.NotAfter
	}
	if !now.Before(until) {
		return nil, fmt.Errorf("one of the roots ended on %s", until.Format(time.DateOnly))
	}
	return &x509.Certificate{
		SerialNumber: newSerial(0), Subject: whom.Subject, RawSubject: whom.RawSubject,
		NotBefore: now.Add(-Backdate), NotAfter: until,
		KeyUsage: whom.KeyUsage, BasicConstraintsValid: true, IsCA: true, MaxPathLen: 1,
		SubjectKeyId: whom.SubjectKeyId, AuthorityKeyId: by.SubjectKeyId, PublicKey: whom.PublicKey,
	}, nil
}

// DomainOfRoot returns the trust domain that RootTemplate made root for. It
// fails for a root of another program, and for a domain that was too long for a
// root's name.
func DomainOfRoot(root *x509.Certificate) (identity.TrustDomain, error) {
	other := fmt.Errorf("the root %q is not one that postern made for a trust domain: name it with --trust-domain", root.Subject.CommonName)
	name, _, found := strings.Cut(root.Subject.CommonName, " root ")
	if !found {
		return identity.TrustDomain{}, other
	}
	d, err := identity.ParseTrustDomain(name)
	if err != nil || !IsRootOf(d, root) {
		return identity.TrustDomain{}, other
	}
	return d, nil
}

// IsRootOf reports whether root has the name that RootTemplate gives a root of
// d with this key. A root signs for one trust domain only.
func IsRootOf(d identity.TrustDomain, root *x509.Certificate) bool {
	want, err := RootTemplate(d, root.PublicKey, root.NotBefore)
	return err == nil && want.Subject.String() == root.Subject.String()
}

func authority(d identity.TrustDomain, what string, pub crypto.PublicKey, now time.Time, years int) (*x509.Certificate, error) {
	if d == (identity.TrustDomain{}) {
		return nil, errors.New("an authority needs a trust domain")
	}
	if err := CheckIssuerKey(pub); err != nil {
		return nil, err
	}
	ski, err := SubjectKeyID(pub)
	if err != nil {
		return nil, err
	}
	end := " " + what + " " + hex.EncodeToString(ski[:4])
	if len(end) > maxCommonName/2 {
		return nil, fmt.Errorf("issuer name %q is too long: use something like clients-1", what)
	}
	now = now.UTC().Truncate(time.Second)
	return &x509.Certificate{
		SerialNumber:          newSerial(0),
		Subject:               pkix.Name{Organization: []string{"Postern"}, CommonName: tail(d.String(), maxCommonName-len(end)) + end},
		NotBefore:             now.Add(-Backdate),
		NotAfter:              now.AddDate(years, 0, 0),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		SubjectKeyId:          ski,
		PublicKey:             pub,
	}, nil
}

// CheckAuthority reports whether c, as it was encoded, is what the template
// says, carries the signature of parent (itself for a root), and whether the
// lints find a fault in it.
func CheckAuthority(c, template, parent *x509.Certificate) error {
	switch {
	case !c.IsCA || c.KeyUsage != template.KeyUsage:
		return errors.New("it is not marked as an authority")
	case c.MaxPathLen != template.MaxPathLen || c.MaxPathLenZero != template.MaxPathLenZero:
		return errors.New("its path length is not as decided")
	case !slices.Equal(c.ExtKeyUsage, template.ExtKeyUsage) || len(c.UnknownExtKeyUsage) != 0:
		return errors.New("its extended key usage is not as decided")
	case !slices.Equal(c.PermittedDNSDomains, template.PermittedDNSDomains) || len(c.PermittedIPRanges) != len(template.PermittedIPRanges) ||
		!slices.Equal(c.PermittedURIDomains, template.PermittedURIDomains) ||
		len(c.ExcludedDNSDomains) != 0 || len(c.ExcludedIPRanges) != len(template.ExcludedIPRanges):
		return errors.New("its name constraints are not as decided")
	case !slices.Equal(c.CRLDistributionPoints, template.CRLDistributionPoints) || !slices.Equal(c.IssuingCertificateURL, template.IssuingCertificateURL) || len(c.OCSPServer) > 0:
		return errors.New("its addresses are not as decided")
	case !c.NotBefore.Equal(template.NotBefore) || !c.NotAfter.Equal(template.NotAfter):
		return errors.New("its dates are not as decided")
	case c.Subject.String() != template.Subject.String() || !bytes.Equal(c.RawIssuer, parent.RawSubject):
		return errors.New("its names are not as decided")
	}
	if err := c.CheckSignatureFrom(parent); err != nil {
		return err
	}
	return Lint(c.Raw)
}
