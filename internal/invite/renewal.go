package invite

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// renewalFrom is how long before a long-lived certificate's end it is renewed.
const renewalFrom = 30 * 24 * time.Hour

// DueFrom returns from when on a certificate is to be renewed: in the last
// third of its life, or the last thirty days of a longer one.
func DueFrom(notBefore, notAfter time.Time) time.Time {
	return notAfter.Add(-min(notAfter.Sub(notBefore)/3, renewalFrom))
}

// renewalMessage is what the key of a certificate signs to have another key
// certified in its place. The certificate is named by the SHA-256 of its
// to-be-signed part, as the ledger names it, and the key by that of its
// SubjectPublicKeyInfo.
func renewalMessage(old *x509.Certificate, spki []byte) []byte {
	tbs, key := sha256.Sum256(old.RawTBSCertificate), sha256.Sum256(spki)
	return append(append([]byte("postern renewal 1\n"), tbs[:]...), key[:]...)
}

// ProveRenewal returns the proof that the holder of a certificate wants the key
// spki, SubjectPublicKeyInfo in DER, to be certified in its place: a signature
// by the certificate's key, ECDSA or RSA PKCS #1 v1.5 with SHA-256, or Ed25519.
func ProveRenewal(key crypto.Signer, old *x509.Certificate, spki []byte) ([]byte, error) {
	message := renewalMessage(old, spki)
	switch key.Public().(type) {
	case ed25519.PublicKey:
		return key.Sign(rand.Reader, message, crypto.Hash(0))
	case *ecdsa.PublicKey, *rsa.PublicKey:
		digest := sha256.Sum256(message)
		return key.Sign(rand.Reader, digest[:], crypto.SHA256)
	}
	return nil, fmt.Errorf("a key of the type %T proves no renewal", key.Public())
}

// ErrNoProof says that a proof was not made by the certificate's key for that
// very renewal.
var ErrNoProof = errors.New("the old certificate's key did not sign this renewal")

// CheckRenewal returns ErrNoProof unless proof is what ProveRenewal makes with
// the key of old.
func CheckRenewal(old *x509.Certificate, spki, proof []byte) error {
	algorithm := x509.UnknownSignatureAlgorithm
	switch old.PublicKey.(type) {
	case ed25519.PublicKey:
		algorithm = x509.PureEd25519
	case *ecdsa.PublicKey:
		algorithm = x509.ECDSAWithSHA256
	case *rsa.PublicKey:
		algorithm = x509.SHA256WithRSA
	}
	if old.CheckSignature(algorithm, renewalMessage(old, spki), proof) != nil {
		return ErrNoProof
	}
	return nil
}
