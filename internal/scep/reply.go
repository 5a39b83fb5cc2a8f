package scep

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	encodingasn1 "encoding/asn1"
	"fmt"
	"strconv"

	"github.com/smallstep/pkcs7"
)

// A failInfo tells a client why not (RFC 8894 section 3.2.1.4).
type failInfo int

const (
	badAlg          failInfo = 0
	badMessageCheck failInfo = 1
	badRequest      failInfo = 2
	badCertID       failInfo = 4
)

// The values of pkiStatus (RFC 8894 section 3.2.1.3).
const (
	success = "0"
	failure = "2"
)

// succeed answers a message with a chain of certificates, leaf first, sealed to
// the key that signed it.
func (m *message) succeed(by *tls.Certificate, chain [][]byte) ([]byte, error) {
	certificates, err := pkcs7.DegenerateCertificate(bytes.Join(chain, nil))
	if err != nil {
		return nil, err
	}
	sealed, err := seal(certificates, m.signer)
	if err != nil {
		return nil, err
	}
	return m.reply(by, sealed, pkcs7.Attribute{Type: oidStatus, Value: printable(success)})
}

// fail answers a message with a reason.
func (m *message) fail(by *tls.Certificate, why failInfo) ([]byte, error) {
	return m.reply(by, nil,
		pkcs7.Attribute{Type: oidStatus, Value: printable(failure)},
		pkcs7.Attribute{Type: oidFailInfo, Value: printable(strconv.Itoa(int(why)))})
}

// reply signs a CertRep (RFC 8894 section 3.3.2).
func (m *message) reply(by *tls.Certificate, content []byte, status ...pkcs7.Attribute) ([]byte, error) {
	sd, err := pkcs7.NewSignedData(content)
	if err != nil {
		return nil, err
	}
	sd.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
	nonce := make([]byte, 16)
	rand.Read(nonce)
	attributes := append(status,
		pkcs7.Attribute{Type: oidTransaction, Value: text(m.transaction)},
		pkcs7.Attribute{Type: oidMessageType, Value: printable(strconv.Itoa(int(certRep)))},
		pkcs7.Attribute{Type: oidSenderNonce, Value: nonce},
		pkcs7.Attribute{Type: oidRecipientNonce, Value: m.nonce})
	if err := sd.AddSigner(by.Leaf, by.PrivateKey, pkcs7.SignerInfoConfig{ExtraSignedAttributes: attributes}); err != nil {
		return nil, fmt.Errorf("sign the answer: %w", err)
	}
	// Not all clients know sha256WithRSAEncryption here; all have to know this
	// one, with NULL (RFC 5754 section 3.2).
	how := &sd.GetSignedData().SignerInfos[0].DigestEncryptionAlgorithm
	how.Algorithm, how.Parameters = oidRSA, encodingasn1.NullRawValue
	return sd.Finish()
}

// printable is a PrintableString, which the attributes have to be.
func printable(s string) encodingasn1.RawValue {
	return encodingasn1.RawValue{Tag: encodingasn1.TagPrintableString, Bytes: []byte(s)}
}

// text gives a transaction id back as it came: a PrintableString, or what some
// clients send in its place.
func text(s string) any {
	for _, r := range s {
		if r > 0x7e || r < 0x20 {
			return s
		}
	}
	return printable(s)
}

// degenerate returns certificates alone (RFC 8894 section 3.4).
func degenerate(certificates [][]byte) ([]byte, error) {
	for _, der := range certificates {
		if _, err := x509.ParseCertificate(der); err != nil {
			return nil, err
		}
	}
	return pkcs7.DegenerateCertificate(bytes.Join(certificates, nil))
}
