package jws

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// Sizes of RSA keys, in bits.
const (
	minRSA = 2048
	maxRSA = 4096
)

// A KeyError is a key that is not taken.
type KeyError struct{ why string }

// Error says why, and what is taken.
func (e *KeyError) Error() string { return "the key in the jwk: " + e.why }

// A Key is a public key that signs messages. The zero Key signs nothing.
type Key struct {
	jwk        jose.JSONWebKey
	thumbprint [sha256.Size]byte
}

// ParseKey reads a JSON Web Key (RFC 7517): a public key on P-256, P-384 or
// P-521, Ed25519, or RSA of 2048 to 4096 bits. One that says that it is for
// something else than to verify our algorithms is not taken. The error is a
// *KeyError.
func ParseKey(text []byte) (Key, error) {
	all, err := members(text)
	if err != nil {
		return Key{}, &KeyError{err.Error()}
	}
	var k Key
	if err := json.Unmarshal(text, &k.jwk); err != nil {
		return Key{}, &KeyError{words(err).Error()}
	}
	if !k.jwk.Valid() || !k.jwk.IsPublic() {
		return Key{}, &KeyError{"it is no public key"}
	}
	// only the key counts, whatever else stands beside it
	k.jwk = jose.JSONWebKey{Key: k.jwk.Key}
	if err := k.check(); err != nil {
		return Key{}, err
	}
	if err := k.meant(all); err != nil {
		return Key{}, err
	}
	sum, err := k.jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return Key{}, &KeyError{words(err).Error()}
	}
	copy(k.thumbprint[:], sum)
	return k, nil
}

func (k Key) check() error {
	switch pub := k.jwk.Key.(type) {
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return nil
	case *rsa.PublicKey:
		if n := pub.N.BitLen(); n < minRSA || n > maxRSA {
			return &KeyError{fmt.Sprintf("an RSA key of %d bits: %d to %d are taken", n, minRSA, maxRSA)}
		}
		if pub.E < 3 || pub.E&1 == 0 || pub.N.Bit(0) == 0 {
			return &KeyError{"an RSA key with an even modulus or exponent"}
		}
		return nil
	}
	return &KeyError{fmt.Sprintf("a key of type %T: use an elliptic curve, Ed25519 or RSA", k.jwk.Key)}
}

// meant checks what the key says that it is for (RFC 7517 sections 4.2 to 4.4),
// as it should be checked before it is used.
func (k Key) meant(all map[string]json.RawMessage) error {
	text := func(name string) (value string, said bool, err error) {
		raw, said := all[name]
		if said && (json.Unmarshal(raw, &value) != nil || value == "") {
			return "", true, &KeyError{name + " is no word"}
		}
		return value, said, nil
	}
	if use, said, err := text("use"); err != nil || said && use != "sig" {
		return cmp.Or(err, error(&KeyError{fmt.Sprintf("it is for use %.40q: one that signs is for \"sig\"", use)}))
	}
	if alg, said, err := text("alg"); err != nil || said && !k.signs(alg) {
		return cmp.Or(err, error(&KeyError{fmt.Sprintf("it is for the algorithm %.40q, which is none that is taken of such a key", alg)}))
	}
	if raw, said := all["key_ops"]; said {
		var ops []string
		if json.Unmarshal(raw, &ops) != nil || !slices.Contains(ops, "verify") {
			return &KeyError{"its key_ops do not have \"verify\""}
		}
	}
	return nil
}

// signs reports whether the key is of the algorithm's kind.
func (k Key) signs(alg string) bool {
	switch pub := k.jwk.Key.(type) {
	case *ecdsa.PublicKey:
		return map[string]int{"ES256": 256, "ES384": 384, "ES512": 521}[alg] == pub.Params().BitSize
	case ed25519.PublicKey:
		return alg == "EdDSA"
	case *rsa.PublicKey:
		return alg == "RS256"
	}
	return false
}

// IsZero reports whether k is no key.
func (k Key) IsZero() bool { return k.jwk.Key == nil }

// Public returns the key itself.
func (k Key) Public() crypto.PublicKey { return k.jwk.Key }

// Thumbprint returns the SHA-256 of RFC 7638.
func (k Key) Thumbprint() [sha256.Size]byte { return k.thumbprint }

// Authorization returns the key authorization of a challenge's token (RFC 8555
// section 8.1).
func (k Key) Authorization(token string) string {
	return token + "." + base64.RawURLEncoding.EncodeToString(k.thumbprint[:])
}

// MarshalJSON returns the key as ParseKey reads it.
func (k Key) MarshalJSON() ([]byte, error) {
	if k.IsZero() {
		return nil, errors.New("no key to write")
	}
	return k.jwk.MarshalJSON()
}

// UnmarshalJSON is ParseKey.
func (k *Key) UnmarshalJSON(text []byte) (err error) {
	*k, err = ParseKey(text)
	return err
}
