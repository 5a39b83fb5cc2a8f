package jws

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func curve(c elliptic.Curve) *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(c, rand.Reader)) }

// signedBy makes a message with the library's own signer.
func signedBy(t testing.TB, key crypto.Signer, alg jose.SignatureAlgorithm, payload string, headers map[jose.HeaderKey]any) []byte {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, &jose.SignerOptions{EmbedJWK: headers["kid"] == nil, ExtraHeaders: headers})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	return []byte(signed.FullSerialize())
}

func TestEveryKindOfKeySigns(t *testing.T) {
	t.Parallel()
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[jose.SignatureAlgorithm]crypto.Signer{
		jose.ES256: curve(elliptic.P256()), jose.ES384: curve(elliptic.P384()), jose.ES512: curve(elliptic.P521()),
		jose.EdDSA: ed, jose.RS256: must(rsa.GenerateKey(rand.Reader, 2048)),
	}
	for alg, key := range keys {
		t.Run(string(alg), func(t *testing.T) {
			m, err := Parse(signedBy(t, key, alg, "{}", map[jose.HeaderKey]any{"url": "https://x/y", "nonce": "n"}))
			if err != nil {
				t.Fatal(err)
			}
			if m.URL != "https://x/y" || m.Nonce != "n" || m.Key == nil || m.KeyID != "" || m.Algorithm != string(alg) || string(m.Payload) != "{}" {
				t.Errorf("%+v", m)
			}
			if err := m.Verify(*m.Key); err != nil {
				t.Error(err)
			}
			for other, o := range keys {
				if other == alg {
					continue
				}
				k := must(ParseKey(must(jose.JSONWebKey{Key: o.Public()}.MarshalJSON())))
				if err := m.Verify(k); err != ErrSignature {
					t.Errorf("a key for %s verified it: %v", other, err)
				}
			}
			if err := m.Verify(Key{}); err != ErrSignature {
				t.Errorf("no key verified it: %v", err)
			}
			if err := m.VerifyMAC([]byte("x")); err != ErrSignature {
				t.Errorf("a MAC key verified it: %v", err)
			}
		})
	}
}

// The thumbprint is that of RFC 7638 section 3.1.
func TestTheThumbprintOfTheStandard(t *testing.T) {
	k, err := ParseKey([]byte(`{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := k.Authorization("token"); got != "token.NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" {
		t.Error(got)
	}
	again, err := json.Marshal(k)
	if err != nil || strings.Contains(string(again), "kid") {
		t.Errorf("%s, %v", again, err)
	}
	var k2 Key
	if err := json.Unmarshal(again, &k2); err != nil || k2.Thumbprint() != k.Thumbprint() {
		t.Errorf("%v", err)
	}
	if _, err := json.Marshal(Key{}); err == nil {
		t.Error("no key was written")
	}
}

func TestAMACIsTakenOnlyWhereOneIsMeant(t *testing.T) {
	secret := []byte("a secret of thirty-two bytes ...")
	signer := must(jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: secret}, (&jose.SignerOptions{}).WithHeader("kid", "k1").WithHeader("url", "u")))
	body := []byte(must(signer.Sign([]byte("payload"))).FullSerialize())
	if _, err := Parse(body); err == nil {
		t.Error("Parse took a MAC")
	} else if _, ok := errors.AsType[*AlgorithmError](err); !ok {
		t.Errorf("%v", err)
	}
	m, err := ParseMAC(body)
	if err != nil || m.KeyID != "k1" {
		t.Fatalf("%+v, %v", m, err)
	}
	if err := m.VerifyMAC(secret); err != nil {
		t.Error(err)
	}
	for _, wrong := range [][]byte{nil, {}, []byte("another"), secret[:31]} {
		if err := m.VerifyMAC(wrong); err != ErrSignature {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	if _, err := ParseMAC(signedBy(t, curve(elliptic.P256()), jose.ES256, "x", map[jose.HeaderKey]any{"kid": "k"})); err == nil {
		t.Error("ParseMAC took a signature")
	}
}

// What is accepted verifies under its own key only, or not at all, and nothing
// makes the reader panic. A key that is accepted is written and read the same.
func FuzzParse(f *testing.F) {
	key := curve(elliptic.P256())
	f.Add(signedBy(f, key, jose.ES256, "{}", map[jose.HeaderKey]any{"nonce": "n", "url": "u"}))
	f.Add(signedBy(f, key, jose.ES256, "", map[jose.HeaderKey]any{"kid": "k", "nonce": "n", "url": "u"}))
	f.Add([]byte(`{"protected":"e30","payload":"","signature":""}`))
	f.Add([]byte(`{"protected":"eyJhbGciOiJub25lIn0","payload":"","signature":""}`))
	other := must(ParseKey(must(jose.JSONWebKey{Key: curve(elliptic.P256()).Public()}.MarshalJSON())))
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := Parse(body)
		if err != nil {
			return
		}
		if (m.Key == nil) == (m.KeyID == "") {
			t.Errorf("%q has both a key and a kid, or neither", body)
		}
		if m.Verify(other) == nil {
			t.Errorf("%q verifies under a key that never signed", body)
		}
		if m.Key != nil {
			m.Verify(*m.Key)
			text, err := json.Marshal(m.Key)
			if err != nil {
				t.Fatal(err)
			}
			again, err := ParseKey(text)
			if err != nil || again.Thumbprint() != m.Key.Thumbprint() {
				t.Errorf("key %s does not come back: %v", text, err)
			}
		}
	})
}
