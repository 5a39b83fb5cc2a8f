package invite

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"testing"
	"time"
)

func ecKey(t testing.TB, c elliptic.Curve) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rsaKey(t testing.TB, bits int) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func edKey(t testing.TB) crypto.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// heldBy returns a certificate of a key, by an authority of its own.
func heldBy(t testing.TB, key crypto.Signer, serial int64) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "ben/phone"}, NotAfter: time.Now().Add(time.Hour)}
	issuer := ecKey(t, elliptic.P256())
	id := sha256.Sum256(spkiOf(t, issuer)) // which a certificate names, as ours do
	der, err := x509.CreateCertificate(rand.Reader, template, &x509.Certificate{Subject: pkix.Name{CommonName: "issuer"}, SubjectKeyId: id[:20]}, key.Public(), issuer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func spkiOf(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return spki
}

// A key of every kind that certificates have proves the renewal that it signs,
// and no other: not of another certificate of the same key, by whichever
// authority, not for another new key, and not with another key or a bit changed.
func TestAProofIsForOneRenewal(t *testing.T) {
	for kind, key := range map[string]crypto.Signer{
		"P-256": ecKey(t, elliptic.P256()), "P-384": ecKey(t, elliptic.P384()), "P-521": ecKey(t, elliptic.P521()),
		"RSA 2048": rsaKey(t, 2048), "RSA 3072": rsaKey(t, 3072), "Ed25519": edKey(t),
	} {
		t.Run(kind, func(t *testing.T) {
			old, spki := heldBy(t, key, 1), spkiOf(t, ecKey(t, elliptic.P256()))
			proof, err := ProveRenewal(key, old, spki)
			if err != nil {
				t.Fatal(err)
			}
			if err := CheckRenewal(old, spki, proof); err != nil {
				t.Errorf("its own: %v", err)
			}
			altered := bytes.Clone(proof)
			altered[len(altered)/2] ^= 1
			signed, err := func() ([]byte, error) { // what the key signs elsewhere, in a handshake or a request
				if _, ok := key.(ed25519.PrivateKey); ok {
					return key.Sign(rand.Reader, spki, crypto.Hash(0))
				}
				return key.Sign(rand.Reader, bytes.Repeat([]byte{1}, 32), crypto.SHA256)
			}()
			if err != nil {
				t.Fatal(err)
			}
			for sentence, c := range map[string]struct {
				old         *x509.Certificate
				spki, proof []byte
			}{
				"another certificate of the key":          {heldBy(t, key, 2), spki, proof},
				"the same one of another authority":       {heldBy(t, key, 1), spki, proof},
				"a certificate of another key":            {heldBy(t, ecKey(t, elliptic.P256()), 1), spki, proof},
				"another new key":                         {old, spkiOf(t, ecKey(t, elliptic.P256())), proof},
				"the old key itself":                      {old, spkiOf(t, key), proof},
				"a bit changed":                           {old, spki, altered},
				"a part of it":                            {old, spki, proof[:len(proof)-1]},
				"more behind it":                          {old, spki, append(bytes.Clone(proof), 0)},
				"none":                                    {old, spki, nil},
				"a signature that was made for other use": {old, spki, signed},
			} {
				if c.old == old && bytes.Equal(c.spki, spki) && bytes.Equal(c.proof, proof) {
					t.Fatal("this tries nothing")
				}
				if err := CheckRenewal(c.old, c.spki, c.proof); !errors.Is(err, ErrNoProof) {
					t.Errorf("%s: %v", sentence, err)
				}
			}
		})
	}
}

// What an ECDSA signature or an RSA one can be turned into is no proof of
// anything else, and nothing makes the check fail otherwise than it says.
func FuzzCheckRenewal(f *testing.F) {
	keys := []crypto.Signer{ecKey(f, elliptic.P256()), ecKey(f, elliptic.P384()), rsaKey(f, 2048), edKey(f)}
	spki := spkiOf(f, keys[0])
	var held []*x509.Certificate
	for i, key := range keys {
		held = append(held, heldBy(f, key, int64(i+1)))
		proof, err := ProveRenewal(key, held[i], spki)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), []byte("another key"), proof)
	}
	f.Fuzz(func(t *testing.T, which uint8, other, proof []byte) {
		if bytes.Equal(other, spki) {
			return
		}
		if err := CheckRenewal(held[int(which)%len(held)], other, proof); !errors.Is(err, ErrNoProof) {
			t.Errorf("%x proves the renewal for %x: %v", proof, other, err)
		}
	})
}
