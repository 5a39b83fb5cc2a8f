package profile

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"
)

// A KeyKind is a kind of public key, as profiles name it.
type KeyKind struct {
	word  string
	curve elliptic.Curve // nil for RSA
	bits  int            // the least modulus; zero for ECDSA
}

// The kinds of keys. One of RSA means a modulus of at least so many bits.
var (
	ECDSAP256 = KeyKind{"ecdsa-p256", elliptic.P256(), 0}
	ECDSAP384 = KeyKind{"ecdsa-p384", elliptic.P384(), 0}
	ECDSAP521 = KeyKind{"ecdsa-p521", elliptic.P521(), 0}
	RSA2048   = KeyKind{"rsa-2048", nil, 2048}
	RSA3072   = KeyKind{"rsa-3072", nil, 3072}
	RSA4096   = KeyKind{"rsa-4096", nil, 4096}
)

func keyKinds() []KeyKind {
	return []KeyKind{ECDSAP256, ECDSAP384, ECDSAP521, RSA2048, RSA3072, RSA4096}
}

// ParseKeyKind reads the word for a kind of key, such as ecdsa-p256 or
// rsa-3072.
func ParseKeyKind(s string) (KeyKind, error) {
	for _, k := range keyKinds() {
		if k.word == s {
			return k, nil
		}
	}
	return KeyKind{}, fmt.Errorf("%q is no kind of key: use %s", s, join(keyKinds()))
}

// String returns the word for the kind.
func (k KeyKind) String() string { return k.word }

func (k KeyKind) is(pub crypto.PublicKey) bool {
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		return k.curve == pub.Curve
	case *rsa.PublicKey:
		return k.bits > 0 && pub.N.BitLen() >= k.bits
	}
	return false
}

// allows reports whether the profile certifies keys of that kind.
func (p Profile) allows(pub crypto.PublicKey) error {
	if some(p.keys, func(k KeyKind) bool { return k.is(pub) }) {
		return nil
	}
	return weak("profile %s does not certify keys of its kind: make one of %s", p.name, join(p.keys))
}
