package profile

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
)

// The sizes of RSA keys in bits.
const (
	MinRSA       = 2048
	MinRSAIssuer = 3072
	MaxRSA       = 8192
)

// maxSPKI bounds an encoded public key in bytes; RSA with 8192 bits takes
// 1,062.
const maxSPKI = 2048

// ErrWeakKey is the ground of every refusal of a public key.
var ErrWeakKey = errors.New("this public key cannot be certified")

// ParseKey reads a SubjectPublicKeyInfo in DER and checks it as CheckKey does.
// What it accepts encodes to the same bytes again.
func ParseKey(spki []byte) (crypto.PublicKey, error) {
	if len(spki) > maxSPKI {
		return nil, weak("it takes %d bytes, at most %d are read", len(spki), maxSPKI)
	}
	pub, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return nil, weak("it is no SubjectPublicKeyInfo that can be read (%v)", err)
	}
	again, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil || !bytes.Equal(again, spki) {
		return nil, weak("it is not encoded the one way that DER allows")
	}
	if err := CheckKey(pub); err != nil {
		return nil, err
	}
	return pub, nil
}

// CheckKey refuses public keys that are weak, that are known to others, or
// that programs in use cannot read: with a reason, and what to use instead.
func CheckKey(pub crypto.PublicKey) error { return checkKey(pub, MinRSA) }

// CheckIssuerKey is CheckKey with the longer minimum for issuers.
func CheckIssuerKey(pub crypto.PublicKey) error { return checkKey(pub, MinRSAIssuer) }

func checkKey(pub crypto.PublicKey, minRSA int) error {
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		if err := checkECDSA(pub); err != nil {
			return err
		}
	case *rsa.PublicKey:
		if err := checkRSA(pub, minRSA); err != nil {
			return err
		}
	case ed25519.PublicKey:
		return weak("browsers and NSS cannot use Ed25519 in certificates: make an ECDSA P-256 key")
	default:
		return weak("keys of type %T are not used here: make an ECDSA P-256 key", pub)
	}
	return checkKnown(pub)
}

func checkECDSA(pub *ecdsa.PublicKey) error {
	//lint:ignore SA1019 a key without a point makes every other method panic
	if pub == nil || pub.X == nil || pub.Y == nil {
		return weak("it has no point: make a new key")
	}
	switch pub.Curve {
	case elliptic.P256(), elliptic.P384(), elliptic.P521():
	default:
		return weak("its curve is not P-256, P-384 or P-521: make an ECDSA P-256 key")
	}
	// ECDH refuses points off the curve and the point at infinity.
	if _, err := pub.ECDH(); err != nil {
		return weak("its point is not on the curve: make a new key")
	}
	return nil
}

// checkKnown refuses keys whose private half is printed in a standard.
func checkKnown(pub crypto.PublicKey) error {
	spki, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return weak("it cannot be encoded: %v", err)
	}
	sum := sha256.Sum256(spki)
	if where := testKeys[hex.EncodeToString(sum[:])]; where != "" {
		return weak("it is the key that %s prints with its private half: make a new key", where)
	}
	return nil
}

func weak(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrWeakKey, fmt.Errorf(format, args...))
}
