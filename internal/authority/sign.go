package authority

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postern-project/postern/internal/ledger"
)

// sign has the issuer sign the to-be-signed part of rehearsed, which the
// ledger holds by then. It is the one place where an issuer's key is used. The
// result is parsed again and has the same to-be-signed bytes, or is an error.
func sign(rehearsed *x509.Certificate, by *issuer) (*x509.Certificate, error) {
	// Everything is taken over as it was encoded: the extensions in their
	// order, the subject as it stands.
	template := &x509.Certificate{
		SerialNumber:       rehearsed.SerialNumber,
		SignatureAlgorithm: rehearsed.SignatureAlgorithm,
		RawSubject:         rehearsed.RawSubject,
		NotBefore:          rehearsed.NotBefore,
		NotAfter:           rehearsed.NotAfter,
		ExtraExtensions:    rehearsed.Extensions,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.Certificate, rehearsed.PublicKey, by.key)
	if err != nil {
		return nil, fmt.Errorf("sign with issuer %s: %w", by.Name, err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("sign with issuer %s: %w", by.Name, err)
	}
	if !bytes.Equal(c.RawTBSCertificate, rehearsed.RawTBSCertificate) {
		return nil, fmt.Errorf("sign with issuer %s: what was signed is not what the ledger holds", by.Name)
	}
	return c, nil
}

// rehearse encodes a certificate with the signature of the issuer's
// throw-away key. Its to-be-signed part is final.
func rehearse(template *x509.Certificate, as *issuer) (*x509.Certificate, error) {
	u, err := as.understudy()
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, u.stage, template.PublicKey, u.Signer)
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
