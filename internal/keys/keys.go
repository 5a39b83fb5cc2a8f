// Package keys is where private keys live: in files that only their owner can
// read, and, for the root, sealed by a passphrase.
package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
)

// A Kind is a key's algorithm and size, as an operator writes it.
type Kind string

// The kinds of keys. The default is ECDSAP256.
const (
	ECDSAP256 Kind = "ecdsa-p256"
	ECDSAP384 Kind = "ecdsa-p384"
	RSA3072   Kind = "rsa-3072"
)

// ParseKind returns the kind written as s; "" is ECDSAP256.
func ParseKind(s string) (Kind, error) {
	switch k := Kind(s); k {
	case "":
		return ECDSAP256, nil
	case ECDSAP256, ECDSAP384, RSA3072:
		return k, nil
	}
	return "", fmt.Errorf("%q is not a kind of key: use %s, %s or %s", s, ECDSAP256, ECDSAP384, RSA3072)
}

// Generate makes a key of kind k; the zero Kind is ECDSAP256. An RSA key takes
// about a second.
func Generate(k Kind) (crypto.Signer, error) {
	switch k {
	case ECDSAP256, "":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case ECDSAP384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case RSA3072:
		return rsa.GenerateKey(rand.Reader, 3072)
	}
	_, err := ParseKind(string(k))
	return nil, err
}

// Like makes a key of the same algorithm and size as pub, so that it signs
// with the same signature algorithm.
func Like(pub crypto.PublicKey) (crypto.Signer, error) {
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.GenerateKey(pub.Curve, rand.Reader)
	case *rsa.PublicKey:
		return rsa.GenerateKey(rand.Reader, pub.N.BitLen())
	}
	return nil, fmt.Errorf("a key of type %T signs no certificates here: use %s, %s or %s", pub, ECDSAP256, ECDSAP384, RSA3072)
}
