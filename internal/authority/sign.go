package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postern-project/postern/internal/keys"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/profile"
)

// sign has the issuer sign the to-be-signed part of rehearsed, which the
// ledger holds by then. It is the one place where an issuer's key signs a
// certificate. The result has the same to-be-signed bytes. A signature by
// hardware, or by RSA, is verified before it leaves: a fault in either can give
// the key away.
func sign(rehearsed *x509.Certificate, by *issuer) (*x509.Certificate, error) {
	how, err := profile.SignatureOf(by.Certificate)
	if err != nil {
		return nil, fmt.Errorf("sign with issuer %s: %w", by.Name, err)
	}
	signature, err := crypto.SignMessage(by.key, rand.Reader, rehearsed.RawTBSCertificate, how.Hash())
	if err != nil {
		return nil, notSigned(by, err)
	}
	if _, plain := by.key.(*ecdsa.PrivateKey); !plain {
		if err := by.Certificate.CheckSignature(how.Algorithm, rehearsed.RawTBSCertificate, signature); err != nil {
			return nil, fmt.Errorf("sign with issuer %s: what came back is not its signature: %w", by.Name, err)
		}
	}
	c := *rehearsed
	c.Signature = signature
	c.Raw, err = how.Assemble(rehearsed.RawTBSCertificate, signature)
	return &c, err
}

// notSigned tells of a key in hardware that is not there. What was to be signed
// is recorded, so that it is signed when it is asked for again.
func notSigned(by *issuer, err error) error {
	if gone, ok := errors.AsType[*keys.TokenError](err); ok {
		return &Error{Code: CodeKeyUnavailable, Msg: fmt.Sprintf("issuer %s did not sign: %v", by.Name, gone), Hint: "nothing was lost, try again once it answers"}
	}
	return fmt.Errorf("sign with issuer %s: %w", by.Name, err)
}

// rehearse encodes a certificate with a signature that is worth nothing. Its
// to-be-signed part is final.
func rehearse(template *x509.Certificate, as *issuer) (*x509.Certificate, error) {
	u, err := as.understudy()
	if err != nil {
		return nil, err
	}
	tbs, err := profile.Encode(template, as.Certificate)
	if err != nil {
		return nil, fmt.Errorf("encode certificate: %w", err)
	}
	der, err := u.Assemble(tbs, u.worthless)
	if err != nil {
		return nil, fmt.Errorf("encode certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// parseTBS reads a to-be-signed part alone, by adding an empty signature.
func parseTBS(tbs []byte) (*x509.Certificate, error) {
	var fields, algorithm cryptobyte.String
	rest := cryptobyte.String(tbs)
	if !rest.ReadASN1(&fields, asn1.SEQUENCE) || !rest.Empty() ||
		!fields.SkipASN1(asn1.Tag(0).ContextSpecific().Constructed()) || // version
		!fields.SkipASN1(asn1.INTEGER) || // serial number
		!fields.ReadASN1Element(&algorithm, asn1.SEQUENCE) {
		return nil, errors.New("the kept to-be-signed part of a certificate cannot be read: 'postern ledger verify' shows what is damaged")
	}
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(tbs)
		b.AddBytes(algorithm)
		b.AddASN1BitString(nil)
	})
	der, err := b.Bytes()
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func refOf(c *x509.Certificate, by *issuer) (ledger.Ref, error) {
	serial, err := ledger.SerialFromBytes(c.SerialNumber.Bytes())
	if err != nil {
		return ledger.Ref{}, err
	}
	return ledger.Ref{Issuer: by.KeyID, Serial: serial, TBS: sha256.Sum256(c.RawTBSCertificate)}, nil
}
