// Package revocation holds the words in which the world outside is told what
// was revoked: revocation lists (RFC 5280 section 5) and OCSP (RFC 6960). It
// writes what is to be signed and reads requests; it does no I/O, reads no clock
// and holds no key.
package revocation

import (
	"crypto/x509"
	encodingasn1 "encoding/asn1"
	"errors"
	"math/big"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/profile"
	"github.com/postern-project/postern/internal/roster"
)

var (
	oidCRLNumber         = encodingasn1.ObjectIdentifier{2, 5, 29, 20}
	oidReason            = encodingasn1.ObjectIdentifier{2, 5, 29, 21}
	oidDistributionPoint = encodingasn1.ObjectIdentifier{2, 5, 29, 28}
	oidAuthorityKeyID    = encodingasn1.ObjectIdentifier{2, 5, 29, 35}
)

// A List is one revocation list before it is signed.
type List struct {
	Issuer *x509.Certificate
	// Number grows with every list of the same scope.
	Number                 uint64
	ThisUpdate, NextUpdate time.Time
	// URL is where the list is found, as it stands in the certificates that it
	// is for. "" is a list of all that the issuer revoked.
	URL     string
	Revoked []roster.Revocation
}

// Encode returns the to-be-signed part of the list: a TBSCertList, which begins
// with a number where a certificate has its version in a tag, so that none can
// be taken for the other.
func (l List) Encode() ([]byte, error) {
	how, err := profile.SignatureOf(l.Issuer)
	if err != nil {
		return nil, err
	}
	if l.Number == 0 || !l.ThisUpdate.Before(l.NextUpdate) {
		return nil, errors.New("a revocation list has a number and an end after its beginning")
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, 512+64*len(l.Revoked)))
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1) // version 2
		how.Add(b)
		b.AddBytes(l.Issuer.RawSubject)
		profile.AddTime(b, l.ThisUpdate)
		profile.AddTime(b, l.NextUpdate)
		if len(l.Revoked) > 0 { // RFC 5280 section 5.1.2.6: absent, not empty
			b.AddASN1(asn1.SEQUENCE, l.addEntries)
		}
		b.AddASN1(asn1.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, l.addExtensions)
		})
	})
	return b.Bytes()
}

func (l List) addEntries(b *cryptobyte.Builder) {
	for _, r := range l.Revoked {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addSerial(b, r.Serial)
			profile.AddTime(b, r.At)
			if r.Reason == ledger.ReasonUnspecified {
				return // RFC 5280 section 5.3.1: left out rather than said
			}
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				profile.AddExtension(b, oidReason, false, func(b *cryptobyte.Builder) { b.AddASN1Enum(int64(r.Reason)) })
			})
		})
	}
}

// addSerial writes a positive integer by its bytes.
func addSerial(b *cryptobyte.Builder, s ledger.Serial) {
	b.AddASN1(asn1.INTEGER, func(b *cryptobyte.Builder) {
		bytes := s.Bytes()
		if len(bytes) > 0 && bytes[0]&0x80 != 0 {
			b.AddUint8(0)
		}
		b.AddBytes(bytes)
	})
}

func (l List) addExtensions(b *cryptobyte.Builder) {
	profile.AddExtension(b, oidAuthorityKeyID, false, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.Tag(0).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes(l.Issuer.SubjectKeyId) })
		})
	})
	profile.AddExtension(b, oidCRLNumber, false, func(b *cryptobyte.Builder) { b.AddASN1BigInt(new(big.Int).SetUint64(l.Number)) })
	if l.URL == "" {
		return
	}
	// RFC 5280 section 5.2.5: critical, with the distribution point of the
	// certificates in scope, none of which is an authority's.
	profile.AddExtension(b, oidDistributionPoint, true, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			profile.AddDistributionPoint(b, l.URL)
			b.AddASN1(asn1.Tag(1).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddUint8(0xff) })
		})
	})
}
