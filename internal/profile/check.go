package profile

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/postern-project/postern/internal/identity"
)

// minSerialBits is what every serial number has at least; of 127 random bits
// more than half are there in all practice.
const minSerialBits = 64

// The extensions of a leaf: these and no others, each at most once.
var (
	oidSubjectKeyID    = asn1.ObjectIdentifier{2, 5, 29, 14}
	oidKeyUsage        = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidSubjectAltName  = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidBasicConstraint = asn1.ObjectIdentifier{2, 5, 29, 19}
	oidAuthorityKeyID  = asn1.ObjectIdentifier{2, 5, 29, 35}
	oidExtKeyUsage     = asn1.ObjectIdentifier{2, 5, 29, 37}
	oidCRLPoints       = asn1.ObjectIdentifier{2, 5, 29, 31}
	oidAuthorityInfo   = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 1}
)

type extension struct {
	oid      asn1.ObjectIdentifier
	critical bool
}

// leafExtensions says which extensions a leaf holds, and which are critical.
// Those that say where to ask about it are added when there is such a place.
var leafExtensions = [...]extension{
	{oidKeyUsage, true}, {oidExtKeyUsage, false}, {oidBasicConstraint, true},
	{oidSubjectKeyID, false}, {oidAuthorityKeyID, false}, {oidSubjectAltName, false},
}

// Check reports whether c, as it was encoded and parsed again, is what r
// decided and nothing more, and whether the lints find a fault in it. It does
// not look at the signature.
func (p Profile) Check(c *x509.Certificate, r Request) error {
	if err := p.CheckFields(c, r); err != nil {
		return err
	}
	return Lint(c.Raw)
}

// CheckFields is Check without the lints of others, for a certificate whose
// to-be-signed part has been through Check already.
func (p Profile) CheckFields(c *x509.Certificate, r Request) error {
	hosts, err := p.hosts(r)
	if err != nil {
		return err
	}
	from, to, err := p.validity(r)
	if err != nil {
		return err
	}
	for _, lint := range []struct {
		name  string
		fault error
	}{
		{"serial", checkSerial(c, r.Shard)}, {"dates", checkDates(c, from, to)}, {"subject", checkSubject(c, r.ID, hosts)},
		{"names", checkNames(c, r.ID, hosts)}, {"usage", checkUsage(c, p.usage)}, {"key", checkKeyIs(c, r.PublicKey)},
		{"issuer", checkIssuer(c, r.Issuer)}, {"extensions", p.checkExtensions(c, r.Pointers)}, {"pointers", checkPointers(c, r.Pointers)},
		{"constraints", withinConstraints(c, r.Issuer)},
	} {
		if lint.fault != nil {
			name := "postern-" + lint.name
			return fmt.Errorf("certificate for %s: %w", r.ID, &LintError{[]string{name}, []string{name + " " + lint.fault.Error()}})
		}
	}
	return nil
}

func checkSerial(c *x509.Certificate, shard uint32) error {
	if n := c.SerialNumber; c.Version != 3 || n.Sign() <= 0 || n.BitLen() < minSerialBits || n.BitLen() > 159 || ShardOf(n.Bytes()) != shard {
		return errors.New("its version or serial number is not as decided")
	}
	return nil
}

func checkDates(c *x509.Certificate, from, to time.Time) error {
	if !c.NotBefore.Equal(from) || !c.NotAfter.Equal(to) {
		return fmt.Errorf("it is valid from %s to %s and %s to %s was decided", c.NotBefore, c.NotAfter, from, to)
	}
	return nil
}

func checkSubject(c *x509.Certificate, id identity.ID, hosts Hosts) error {
	if len(c.Subject.Names) != 1 || c.Subject.CommonName != subject(id, hosts) {
		return errors.New("its subject is not the one common name decided")
	}
	return nil
}

func checkNames(c *x509.Certificate, id identity.ID, hosts Hosts) error {
	got, err := identity.FromURIs(c.URIs)
	switch {
	case err != nil:
		return err
	case got != id:
		return fmt.Errorf("it names %s", got)
	case len(c.EmailAddresses) != 0:
		return errors.New("it holds mail addresses")
	case !slices.Equal(c.DNSNames, hosts.DNSNames):
		return fmt.Errorf("it holds the host names %q and %q were decided", c.DNSNames, hosts.DNSNames)
	case !slices.EqualFunc(c.IPAddresses, netIPs(hosts.IPs), net.IP.Equal):
		return fmt.Errorf("it holds the addresses %s and %s were decided", c.IPAddresses, hosts.IPs)
	}
	return nil
}

func checkUsage(c *x509.Certificate, u Usage) error {
	switch {
	case c.IsCA || !c.BasicConstraintsValid:
		return errors.New("it is not marked as the end of a chain")
	case c.KeyUsage != u.keyUsage():
		return fmt.Errorf("its key usage is not that of a %s alone", u)
	case u == registration && len(c.ExtKeyUsage) == 0 && len(c.UnknownExtKeyUsage) == 1 && c.UnknownExtKeyUsage[0].Equal(oidRegistration):
		return nil
	case u == registration || len(c.ExtKeyUsage) != 1 || c.ExtKeyUsage[0] != u.eku() || len(c.UnknownExtKeyUsage) != 0:
		return fmt.Errorf("its extended key usage is not that of a %s alone", u)
	}
	return nil
}

func checkKeyIs(c *x509.Certificate, pub crypto.PublicKey) error {
	spki, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return err
	}
	ski, err := keyID(spki)
	if err != nil {
		return err
	}
	if !bytes.Equal(c.RawSubjectPublicKeyInfo, spki) || !bytes.Equal(c.SubjectKeyId, ski) {
		return errors.New("it holds another public key than the one decided")
	}
	return nil
}

func checkIssuer(c, issuer *x509.Certificate) error {
	if !bytes.Equal(c.RawIssuer, issuer.RawSubject) || !bytes.Equal(c.AuthorityKeyId, issuer.SubjectKeyId) {
		return errors.New("it names another issuer than the one decided")
	}
	return nil
}

// checkPointers compares the addresses in the certificate with those decided.
func checkPointers(c *x509.Certificate, p Pointers) error {
	if !slices.Equal(c.CRLDistributionPoints, present(p.CRL)) || !slices.Equal(c.OCSPServer, present(p.OCSP)) ||
		!slices.Equal(c.IssuingCertificateURL, present(p.Issuer)) {
		return errors.New("its addresses for revocation and issuer are not as decided")
	}
	return nil
}

func (p Profile) checkExtensions(c *x509.Certificate, to Pointers) error {
	wanted := leafExtensions[:]
	if to.CRL != "" {
		wanted = append(wanted, extension{oidCRLPoints, false})
	}
	if to.OCSP != "" || to.Issuer != "" {
		wanted = append(wanted, extension{oidAuthorityInfo, false})
	}
	if p.usage == responder {
		wanted = append(wanted, extension{oidNoCheck, false})
	}
	if len(c.Extensions) != len(wanted) {
		return fmt.Errorf("it holds %d extensions instead of %d", len(c.Extensions), len(wanted))
	}
	for _, want := range wanted {
		i := slices.IndexFunc(c.Extensions, func(e pkixExtension) bool { return e.Id.Equal(want.oid) })
		if i < 0 {
			return fmt.Errorf("it lacks the extension %s", want.oid)
		}
		if c.Extensions[i].Critical != want.critical {
			return fmt.Errorf("its extension %s is marked wrongly (critical: %t)", want.oid, !want.critical)
		}
	}
	return nil
}
