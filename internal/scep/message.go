package scep

import (
	"crypto/rsa"
	"crypto/x509"
	encodingasn1 "encoding/asn1"
	"errors"
	"fmt"
	"strconv"

	"github.com/smallstep/pkcs7"

	"github.com/postern-project/postern/internal/profile"
)

// A kind is a messageType (RFC 8894 section 3.2.1.2).
type kind int

const (
	certRep    kind = 3
	renewalReq kind = 17
	pkcsReq    kind = 19
	certPoll   kind = 20
	getCert    kind = 21
	getCRL     kind = 22
)

func (k kind) String() string {
	switch k {
	case certRep:
		return "CertRep"
	case renewalReq:
		return "RenewalReq"
	case pkcsReq:
		return "PKCSReq"
	case certPoll:
		return "CertPoll"
	case getCert:
		return "GetCert"
	case getCRL:
		return "GetCRL"
	}
	return "message type " + strconv.Itoa(int(k))
}

// A message is a pkiMessage whose signature fits (RFC 8894 section 3.2). Who
// signed it is not said by that: the signer's certificate is of their own making.
type message struct {
	kind        kind
	transaction string
	nonce       []byte // the sender's
	signer      *x509.Certificate
	content     []byte // an envelope, still closed
}

// The attributes of a message (RFC 8894 section 3.2.1).
var (
	oidMessageType    = encodingasn1.ObjectIdentifier{2, 16, 840, 1, 113733, 1, 9, 2}
	oidStatus         = encodingasn1.ObjectIdentifier{2, 16, 840, 1, 113733, 1, 9, 3}
	oidFailInfo       = encodingasn1.ObjectIdentifier{2, 16, 840, 1, 113733, 1, 9, 4}
	oidSenderNonce    = encodingasn1.ObjectIdentifier{2, 16, 840, 1, 113733, 1, 9, 5}
	oidRecipientNonce = encodingasn1.ObjectIdentifier{2, 16, 840, 1, 113733, 1, 9, 6}
	oidTransaction    = encodingasn1.ObjectIdentifier{2, 16, 840, 1, 113733, 1, 9, 7}
)

// Bounds on a message's parts.
const (
	maxCertificates = 4
	maxTransaction  = 128 // characters; clients send the hash of a key
	maxNonce        = 64  // bytes; 16 are usual
)

// parse reads a message, BER, and checks its signature. Package pkcs7 leaves
// open what it is given; what a message may be is checked here.
func parse(data []byte) (*message, error) {
	der, err := normalize(data)
	if err != nil {
		return nil, err
	}
	p7, err := pkcs7.Parse(der)
	if err != nil {
		return nil, fmt.Errorf("the message is no CMS SignedData: %w", err)
	}
	if len(p7.Signers) != 1 || len(p7.Certificates) == 0 || len(p7.Certificates) > maxCertificates || len(p7.CRLs) > 0 {
		return nil, errors.New("the message has not one signer with its certificate")
	}
	m := &message{signer: p7.GetOnlySigner(), content: p7.Content}
	if m.signer == nil {
		return nil, errors.New("the message lacks its signer's certificate")
	}
	if err := checkSigner(p7, m.signer); err != nil {
		return nil, err
	}
	if err := p7.Verify(); err != nil {
		return nil, errors.New("the message's signature does not fit")
	}
	return m, m.readAttributes(p7)
}

// checkSigner refuses algorithms and keys that are not to be relied on.
func checkSigner(p7 *pkcs7.PKCS7, signer *x509.Certificate) error {
	how := p7.Signers[0]
	strong := false
	for _, digest := range []encodingasn1.ObjectIdentifier{pkcs7.OIDDigestAlgorithmSHA256, pkcs7.OIDDigestAlgorithmSHA384, pkcs7.OIDDigestAlgorithmSHA512} {
		strong = strong || how.DigestAlgorithm.Algorithm.Equal(digest)
	}
	if !strong {
		return errors.New("the message is not signed over SHA-256 or better")
	}
	if _, ok := signer.PublicKey.(*rsa.PublicKey); !ok {
		return errors.New("the message is not signed by an RSA key")
	}
	return profile.CheckKey(signer.PublicKey)
}

// readAttributes reads what is signed beside the content.
func (m *message) readAttributes(p7 *pkcs7.PKCS7) error {
	var of encodingasn1.ObjectIdentifier
	if err := p7.UnmarshalSignedAttribute(pkcs7.OIDAttributeContentType, &of); err != nil || !of.Equal(oidData) {
		return errors.New("the message's signed content type is not data")
	}
	var number string
	if err := p7.UnmarshalSignedAttribute(oidMessageType, &number); err != nil {
		return errors.New("the message has no type")
	}
	n, err := strconv.ParseUint(number, 10, 8)
	if err != nil {
		return errors.New("the message's type is no number")
	}
	m.kind = kind(n)
	if err := p7.UnmarshalSignedAttribute(oidTransaction, &m.transaction); err != nil || m.transaction == "" || len(m.transaction) > maxTransaction {
		return fmt.Errorf("the message has no transaction id of at most %d characters", maxTransaction)
	}
	if err := p7.UnmarshalSignedAttribute(oidSenderNonce, &m.nonce); err != nil || len(m.nonce) == 0 || len(m.nonce) > maxNonce {
		return fmt.Errorf("the message has no nonce of at most %d bytes", maxNonce)
	}
	return nil
}
