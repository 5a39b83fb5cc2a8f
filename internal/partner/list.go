package partner

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	tags "golang.org/x/crypto/cryptobyte/asn1"
)

// MaxList bounds a revocation list, in bytes.
const MaxList = 10 << 20

// The extensions of lists and of their entries that are understood (RFC 5280
// sections 5.2 and 5.3).
var (
	oidAuthorityKey  = asn1.ObjectIdentifier{2, 5, 29, 35}
	oidNumber        = asn1.ObjectIdentifier{2, 5, 29, 20}
	oidDelta         = asn1.ObjectIdentifier{2, 5, 29, 27}
	oidIssuingPoint  = asn1.ObjectIdentifier{2, 5, 29, 28}
	oidFreshest      = asn1.ObjectIdentifier{2, 5, 29, 46}
	oidReason        = asn1.ObjectIdentifier{2, 5, 29, 21}
	oidInvalidity    = asn1.ObjectIdentifier{2, 5, 29, 24}
	oidCertificateOf = asn1.ObjectIdentifier{2, 5, 29, 29}
)

// A List is a complete revocation list whose signature was checked.
type List struct {
	issuer                 *x509.Certificate
	number                 *big.Int // nil for none
	thisUpdate, nextUpdate time.Time
	// points are the addresses of the distribution point that the list is
	// limited to; nil for none.
	points  []string
	limited bool
	// usersOnly and authoritiesOnly limit it to certificates of a kind.
	usersOnly, authoritiesOnly bool
	serials                    map[string]bool
}

// ParseList reads a list, DER or PEM, that one of issuers has signed. What is
// not understood and critical, a delta list, an indirect one and one for some
// reasons only are errors: such a list does not say of a certificate that it is
// good.
func ParseList(data []byte, issuers []*x509.Certificate) (*List, error) {
	if len(data) > MaxList {
		return nil, fmt.Errorf("a revocation list of more than %d bytes", MaxList)
	}
	if block, rest := pem.Decode(data); block != nil {
		if block.Type != "X509 CRL" || len(bytes.TrimSpace(rest)) > 0 {
			return nil, errors.New("the PEM file holds something else than one X509 CRL")
		}
		data = block.Bytes
	}
	raw, err := x509.ParseRevocationList(data)
	if err != nil {
		return nil, fmt.Errorf("no revocation list: %w", err)
	}
	i := slices.IndexFunc(issuers, func(c *x509.Certificate) bool {
		return bytes.Equal(c.RawSubject, raw.RawIssuer) && c.KeyUsage&x509.KeyUsageCRLSign != 0 && raw.CheckSignatureFrom(c) == nil
	})
	if i < 0 {
		return nil, fmt.Errorf("the revocation list of %s is signed by no authority of the trust file that may sign one", raw.Issuer)
	}
	if raw.NextUpdate.IsZero() {
		return nil, errors.New("the revocation list does not say when the next one is due (RFC 5280 section 5.1.2.5)")
	}
	l := &List{issuer: issuers[i], number: raw.Number, thisUpdate: raw.ThisUpdate, nextUpdate: raw.NextUpdate, serials: make(map[string]bool, len(raw.RevokedCertificateEntries))}
	if err := l.readExtensions(raw); err != nil {
		return nil, err
	}
	return l, l.readEntries(raw)
}

func (l *List) readExtensions(raw *x509.RevocationList) error {
	for _, e := range raw.Extensions {
		switch {
		case e.Id.Equal(oidDelta):
			return errors.New("a delta list: only complete lists are read")
		case e.Id.Equal(oidIssuingPoint):
			if err := l.readIssuingPoint(e.Value); err != nil {
				return err
			}
		case e.Id.Equal(oidAuthorityKey), e.Id.Equal(oidNumber), e.Id.Equal(oidFreshest):
		case e.Critical:
			return fmt.Errorf("the list has a critical extension %s that is not understood", e.Id)
		}
	}
	return nil
}

func (l *List) readEntries(raw *x509.RevocationList) error {
	for _, entry := range raw.RevokedCertificateEntries {
		for _, e := range entry.Extensions {
			switch {
			case e.Id.Equal(oidCertificateOf):
				return errors.New("an indirect list, which speaks of other issuers' certificates")
			case e.Id.Equal(oidReason), e.Id.Equal(oidInvalidity):
			case e.Critical:
				return fmt.Errorf("an entry of the list has a critical extension %s that is not understood", e.Id)
			}
		}
		l.serials[string(entry.SerialNumber.Bytes())] = true
	}
	return nil
}

// readIssuingPoint reads what the list is limited to (RFC 5280 section 5.2.5).
func (l *List) readIssuingPoint(der []byte) error {
	in := cryptobyte.String(der)
	var seq cryptobyte.String
	if !in.ReadASN1(&seq, tags.SEQUENCE) || !in.Empty() {
		return errors.New("an issuing distribution point that cannot be read")
	}
	for !seq.Empty() {
		var value cryptobyte.String
		var tag tags.Tag
		if !seq.ReadAnyASN1(&value, &tag) {
			return errors.New("an issuing distribution point that cannot be read")
		}
		yes := len(value) == 1 && value[0] != 0
		switch tag {
		case tags.Tag(0).ContextSpecific().Constructed():
			l.limited = true
			points, ok := readPoint(value)
			if !ok {
				return errors.New("the list's distribution point is not named by addresses")
			}
			l.points = points
		case tags.Tag(1).ContextSpecific():
			l.usersOnly = yes
		case tags.Tag(2).ContextSpecific():
			l.authoritiesOnly = yes
		case tags.Tag(3).ContextSpecific():
			return errors.New("the list speaks of revocations for some reasons only")
		case tags.Tag(4).ContextSpecific():
			if yes {
				return errors.New("an indirect list, which speaks of other issuers' certificates")
			}
		case tags.Tag(5).ContextSpecific():
			if yes {
				return errors.New("the list speaks of attribute certificates only")
			}
		default:
			return errors.New("an issuing distribution point that cannot be read")
		}
	}
	return nil
}

// readPoint reads the addresses of a distribution point's full name.
func readPoint(in cryptobyte.String) (points []string, ok bool) {
	var names cryptobyte.String
	if !in.ReadASN1(&names, tags.Tag(0).ContextSpecific().Constructed()) || !in.Empty() {
		return nil, false
	}
	for !names.Empty() {
		var value cryptobyte.String
		var tag tags.Tag
		if !names.ReadAnyASN1(&value, &tag) {
			return nil, false
		}
		if tag == tags.Tag(6).ContextSpecific() {
			points = append(points, string(value))
		}
	}
	return points, true
}

// speaksOf reports whether the list is for certificates such as c.
func (l *List) speaksOf(c, issuer *x509.Certificate) bool {
	if !bytes.Equal(issuer.RawSubject, l.issuer.RawSubject) || !bytes.Equal(issuer.RawSubjectPublicKeyInfo, l.issuer.RawSubjectPublicKeyInfo) {
		return false
	}
	authority := c.BasicConstraintsValid && c.IsCA
	if l.usersOnly && authority || l.authoritiesOnly && !authority {
		return false
	}
	// RFC 5280 section 6.3.3 (b) (2) (i): one of the point's names has to be
	// one of the certificate's.
	return !l.limited || slices.ContainsFunc(l.points, func(p string) bool { return slices.Contains(c.CRLDistributionPoints, p) })
}

func (l *List) revoked(serial *big.Int) bool { return l.serials[string(serial.Bytes())] }

// newer reports whether l may take the place of old, the list of the same
// source: an older one would forget revocations.
func (l *List) newer(old *List) bool {
	if old == nil {
		return true
	}
	if l.number != nil && old.number != nil && l.number.Cmp(old.number) < 0 {
		return false
	}
	return !l.thisUpdate.Before(old.thisUpdate)
}
