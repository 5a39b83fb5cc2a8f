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
	"time"

	"github.com/postern-project/postern/internal/identity"
)

// How long authorities last.
const (
	RootYears   = 20
	IssuerYears = 10
)

// RootTemplate returns the self-signed root of a trust domain, all but the
// signature: twenty years, one intermediate deep. Its name holds the beginning
// of its key's identifier, for two roots of one name confuse programs.
func RootTemplate(d identity.TrustDomain, pub crypto.PublicKey, now time.Time) (*x509.Certificate, error) {
	c, err := authority(d, "root", pub, now, RootYears)
	if err != nil {
		return nil, err
	}
	c.MaxPathLen = 1
	return c, nil
}

// IssuerTemplate returns an intermediate for certificates of one usage, to be
// signed by root: ten years and never past the root, and no authority below it.
// One for servers is bound to the trust domain, where that is a name on the
// internet, beside names and addresses that are private anyway.
func IssuerTemplate(d identity.TrustDomain, name string, u Usage, pub crypto.PublicKey, root *x509.Certificate, now time.Time) (*x509.Certificate, error) {
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
	if u == Server && realDomain(d.String()) {
		c.PermittedDNSDomainsCritical = true
		c.PermittedDNSDomains = append([]string{d.String()}, privateZones...)
		c.PermittedIPRanges = privateIPNets()
	}
	return c, nil
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
	case !slices.Equal(c.PermittedDNSDomains, template.PermittedDNSDomains) || len(c.PermittedIPRanges) != len(template.PermittedIPRanges):
		return errors.New("its name constraints are not as decided")
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
