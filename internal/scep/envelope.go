package scep

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/subtle"
	"crypto/x509"
	encodingasn1 "encoding/asn1"
	"errors"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// An envelope is EnvelopedData (RFC 5652 section 6) as SCEP uses it: a content
// key encrypted to one certificate by RSA, and AES in CBC mode.
type envelope struct {
	encryptedKey []byte
	keyLen       int // of the content key, in bytes
	iv, content  []byte
}

var (
	oidData      = encodingasn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidEnveloped = encodingasn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 3}
	oidRSA       = encodingasn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	oidAES128    = encodingasn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 2}
	oidAES192    = encodingasn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 22}
	oidAES256    = encodingasn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}

	tag0 = asn1.Tag(0).ContextSpecific()
)

// errAlgorithm says that a message is protected in a way that is not taken. It
// is told from the message as everybody can read it.
var errAlgorithm = errors.New("the message is not encrypted by RSA (PKCS #1 v1.5) and AES in CBC mode")

// errEnvelope says that a message cannot be opened, whatever the reason: who
// could tell them apart could have messages opened bit by bit.
var errEnvelope = errors.New("the message was not encrypted for this server, or is damaged")

// parseEnvelope reads a ContentInfo, BER, and picks out what is for the
// certificate.
func parseEnvelope(data []byte, to *x509.Certificate) (*envelope, error) {
	der, err := normalize(data)
	if err != nil {
		return nil, errEnvelope
	}
	var info, explicit, enveloped, recipients, encrypted, algorithm cryptobyte.String
	var kind encodingasn1.ObjectIdentifier
	var version int
	in := cryptobyte.String(der)
	if !in.ReadASN1(&info, asn1.SEQUENCE) || !info.ReadASN1ObjectIdentifier(&kind) || !kind.Equal(oidEnveloped) ||
		!info.ReadASN1(&explicit, tag0.Constructed()) || !explicit.ReadASN1(&enveloped, asn1.SEQUENCE) ||
		!enveloped.ReadASN1Integer(&version) || !enveloped.SkipOptionalASN1(tag0.Constructed()) || // originatorInfo
		!enveloped.ReadASN1(&recipients, asn1.SET) || !enveloped.ReadASN1(&encrypted, asn1.SEQUENCE) ||
		!encrypted.ReadASN1ObjectIdentifier(&kind) || !encrypted.ReadASN1(&algorithm, asn1.SEQUENCE) {
		return nil, errEnvelope
	}
	e := &envelope{}
	if err := e.readCipher(algorithm); err != nil {
		return nil, err
	}
	if e.content, err = octets(encrypted); err != nil {
		return nil, err
	}
	return e, e.readRecipient(recipients, to)
}

// readCipher reads how the content is encrypted.
func (e *envelope) readCipher(algorithm cryptobyte.String) error {
	var oid encodingasn1.ObjectIdentifier
	if !algorithm.ReadASN1ObjectIdentifier(&oid) {
		return errEnvelope
	}
	for _, known := range []struct {
		oid encodingasn1.ObjectIdentifier
		len int
	}{{oidAES128, 16}, {oidAES192, 24}, {oidAES256, 32}} {
		if known.oid.Equal(oid) {
			e.keyLen = known.len
		}
	}
	if e.keyLen == 0 {
		return errAlgorithm
	}
	if !algorithm.ReadASN1((*cryptobyte.String)(&e.iv), asn1.OCTET_STRING) || len(e.iv) != aes.BlockSize {
		return errEnvelope
	}
	return nil
}

// octets reads the encrypted content: [0] IMPLICIT OCTET STRING, in one piece
// or in several.
func octets(in cryptobyte.String) ([]byte, error) {
	var whole cryptobyte.String
	if in.PeekASN1Tag(tag0) {
		if !in.ReadASN1(&whole, tag0) {
			return nil, errEnvelope
		}
		return whole, nil
	}
	if !in.ReadASN1(&whole, tag0.Constructed()) {
		return nil, errEnvelope
	}
	var all []byte
	for !whole.Empty() {
		var piece cryptobyte.String
		if !whole.ReadASN1(&piece, asn1.OCTET_STRING) {
			return nil, errEnvelope
		}
		all = append(all, piece...)
	}
	return all, nil
}

// readRecipient takes the key that was encrypted to the certificate.
func (e *envelope) readRecipient(recipients cryptobyte.String, to *x509.Certificate) error {
	for !recipients.Empty() {
		var recipient, who, issuer, algorithm, key cryptobyte.String
		var version int
		var oid encodingasn1.ObjectIdentifier
		serial := new(big.Int)
		if !recipients.ReadASN1(&recipient, asn1.SEQUENCE) {
			return errEnvelope // of another kind than a key encrypted to a certificate
		}
		if !recipient.ReadASN1Integer(&version) || !recipient.ReadASN1(&who, asn1.SEQUENCE) ||
			!who.ReadASN1Element(&issuer, asn1.SEQUENCE) || !who.ReadASN1Integer(serial) ||
			!recipient.ReadASN1(&algorithm, asn1.SEQUENCE) || !recipient.ReadASN1(&key, asn1.OCTET_STRING) {
			return errEnvelope
		}
		if serial.Cmp(to.SerialNumber) != 0 || !bytes.Equal(issuer, to.RawIssuer) {
			continue
		}
		if !algorithm.ReadASN1ObjectIdentifier(&oid) || !oid.Equal(oidRSA) {
			return errAlgorithm
		}
		e.encryptedKey = key
		return nil
	}
	return errEnvelope
}

// open returns the content. Whether the content key could be decrypted shows
// neither in the error nor in the time: a random one takes its place, as RFC 3218
// section 2.3 has it, and what comes of that is no certificate request.
func (e *envelope) open(key *rsa.PrivateKey) ([]byte, error) {
	content := make([]byte, e.keyLen)
	rand.Read(content)
	// The error tells only what everybody can compute from the message: that it
	// is longer than the key. The random content key does then as well.
	//lint:ignore SA1019 SCEP clients know no other
	_ = rsa.DecryptPKCS1v15SessionKey(nil, key, e.encryptedKey, content)
	block, err := aes.NewCipher(content)
	if err != nil || len(e.content) == 0 || len(e.content)%aes.BlockSize != 0 {
		return nil, errEnvelope
	}
	plain := make([]byte, len(e.content))
	cipher.NewCBCDecrypter(block, e.iv).CryptBlocks(plain, e.content)
	return unpad(plain)
}

// unpad takes the padding off (RFC 5652 section 6.3), always looking at a whole
// block.
func unpad(plain []byte) ([]byte, error) {
	last := plain[len(plain)-aes.BlockSize:]
	n := int(last[aes.BlockSize-1])
	good := subtle.ConstantTimeLessOrEq(1, n) & subtle.ConstantTimeLessOrEq(n, aes.BlockSize)
	for i, b := range last {
		inside := subtle.ConstantTimeLessOrEq(aes.BlockSize-i, n)
		good &= subtle.ConstantTimeSelect(inside, subtle.ConstantTimeByteEq(b, byte(n)), 1)
	}
	if good != 1 {
		return nil, errEnvelope
	}
	return plain[:len(plain)-n], nil
}

// seal encrypts content to a certificate with an RSA key, with AES-128 in CBC
// mode, which is what every client of RFC 8894 has (section 2.9).
func seal(content []byte, to *x509.Certificate) ([]byte, error) {
	pub, ok := to.PublicKey.(*rsa.PublicKey)
	if !ok {
		return nil, errors.New("the certificate's key is not RSA")
	}
	key, iv := make([]byte, 16), make([]byte, aes.BlockSize)
	rand.Read(key)
	rand.Read(iv)
	//lint:ignore SA1019 SCEP clients know no other
	encryptedKey, err := rsa.EncryptPKCS1v15(rand.Reader, pub, key)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	n := aes.BlockSize - len(content)%aes.BlockSize
	sealed := append(bytes.Clone(content), bytes.Repeat([]byte{byte(n)}, n)...)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(sealed, sealed)

	b := cryptobyte.NewBuilder(nil)
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oidEnveloped)
		b.AddASN1(tag0.Constructed(), func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1Int64(0)
				b.AddASN1(asn1.SET, func(b *cryptobyte.Builder) { addRecipient(b, to, encryptedKey) })
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1ObjectIdentifier(oidData)
					b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddASN1ObjectIdentifier(oidAES128)
						b.AddASN1OctetString(iv)
					})
					b.AddASN1(tag0, func(b *cryptobyte.Builder) { b.AddBytes(sealed) })
				})
			})
		})
	})
	return b.Bytes()
}

func addRecipient(b *cryptobyte.Builder, to *x509.Certificate, encryptedKey []byte) {
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(0)
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddBytes(to.RawIssuer)
			b.AddASN1BigInt(to.SerialNumber)
		})
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oidRSA)
			b.AddASN1NULL()
		})
		b.AddASN1OctetString(encryptedKey)
	})
}
