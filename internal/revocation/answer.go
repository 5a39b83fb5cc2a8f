package revocation

import (
	"crypto/x509"
	encodingasn1 "encoding/asn1"
	"errors"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/profile"
	"github.com/postern-project/postern/internal/roster"
)

var (
	oidBasic = encodingasn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}
	oidNonce = encodingasn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}
)

// A Failure is an OCSP answer that says nothing about certificates, and is not
// signed (RFC 6960 section 4.2.1).
type Failure int

// The failures, by their numbers in RFC 6960.
const (
	Malformed     Failure = 1 // the request cannot be read
	InternalError Failure = 2
	TryLater      Failure = 3
	Unauthorized  Failure = 6 // we do not answer for that issuer (RFC 5019 section 2.2.3)
)

// DER returns the answer.
func (f Failure) DER() []byte { return []byte{0x30, 3, 0x0a, 1, byte(f)} }

// A Single is what the ledger says of one certificate that was asked about.
type Single struct {
	ID       CertID
	Standing roster.Standing
}

// An Answer is an OCSP answer before it is signed.
type Answer struct {
	// Responder is the certificate of the key that signs, which the issuer
	// signed for OCSP.
	Responder              *x509.Certificate
	Produced               time.Time
	ThisUpdate, NextUpdate time.Time
	Singles                []Single
	Nonce                  []byte
}

// Encode returns the to-be-signed part: a ResponseData (RFC 6960 section
// 4.2.1). What the ledger does not hold is unknown, and never good.
func (a Answer) Encode() ([]byte, error) {
	if a.Responder == nil || len(a.Singles) == 0 || !a.ThisUpdate.Before(a.NextUpdate) {
		return nil, errors.New("an OCSP answer has a responder, certificates and an end after its beginning")
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, 512))
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.Tag(1).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) { b.AddBytes(a.Responder.RawSubject) })
		b.AddASN1GeneralizedTime(a.Produced.UTC())
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			for _, s := range a.Singles {
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { a.addSingle(b, s) })
			}
		})
		if len(a.Nonce) > 0 {
			b.AddASN1(asn1.Tag(1).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
					profile.AddExtension(b, oidNonce, false, func(b *cryptobyte.Builder) { b.AddASN1OctetString(a.Nonce) })
				})
			})
		}
	})
	return b.Bytes()
}

func (a Answer) addSingle(b *cryptobyte.Builder, s Single) {
	b.AddBytes([]byte(s.ID.raw))
	switch {
	case !s.Standing.Known:
		b.AddASN1(asn1.Tag(2).ContextSpecific(), func(*cryptobyte.Builder) {})
	case s.Standing.Revoked:
		b.AddASN1(asn1.Tag(1).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
			b.AddASN1GeneralizedTime(s.Standing.At.UTC())
			if why := s.Standing.Reason; why != ledger.ReasonUnspecified {
				b.AddASN1(asn1.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) { b.AddASN1Enum(int64(why)) })
			}
		})
	default:
		b.AddASN1(asn1.Tag(0).ContextSpecific(), func(*cryptobyte.Builder) {})
	}
	b.AddASN1GeneralizedTime(a.ThisUpdate.UTC())
	b.AddASN1(asn1.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) { b.AddASN1GeneralizedTime(a.NextUpdate.UTC()) })
}

// Seal returns the whole answer, DER: what was signed, the signature by the
// responder's key, and its certificate.
func (a Answer) Seal(tbs, signature []byte) ([]byte, error) {
	how, err := profile.SignatureOf(a.Responder)
	if err != nil {
		return nil, err
	}
	constructed := asn1.Tag(0).ContextSpecific().Constructed()
	basic, err := how.Assemble(tbs, signature, func(b *cryptobyte.Builder) {
		b.AddASN1(constructed, func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(a.Responder.Raw) })
		})
	})
	if err != nil {
		return nil, err
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, len(basic)+64))
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Enum(0) // successful
		b.AddASN1(constructed, func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(oidBasic)
				b.AddASN1OctetString(basic)
			})
		})
	})
	return b.Bytes()
}
