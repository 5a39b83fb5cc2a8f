package profile

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
)

func prime(t testing.TB, bits int) *big.Int {
	t.Helper()
	p, err := rand.Prime(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func rsaKey(n *big.Int, e int) *rsa.PublicKey { return &rsa.PublicKey{N: n, E: e} }

// product returns a modulus of the given size: p times a prime.
func product(t testing.TB, p *big.Int, bits int) *big.Int {
	t.Helper()
	for {
		q := prime(t, bits-p.BitLen()+1)
		if n := new(big.Int).Mul(p, q); n.BitLen() == bits {
			return n
		}
		if q = prime(t, bits-p.BitLen()); new(big.Int).Mul(p, q).BitLen() == bits {
			return new(big.Int).Mul(p, q)
		}
	}
}

// closeTo returns the product of two neighbouring primes.
func closeTo(t testing.TB, bits int) *big.Int {
	t.Helper()
	p := prime(t, bits/2)
	q := new(big.Int).Add(p, big.NewInt(2))
	for !q.ProbablyPrime(20) {
		q.Add(q, big.NewInt(2))
	}
	return new(big.Int).Mul(p, q)
}

// infineon returns a prime as the faulty chips made them: k*M + 65537^a mod M.
func infineon(t testing.TB, bits int) *big.Int {
	t.Helper()
	m := big.NewInt(2)
	for _, p := range primesBelow(353) {
		m.Mul(m, big.NewInt(p))
	}
	// The upper half of the numbers with that many bits, so that two of them
	// have a product of twice as many.
	top := new(big.Int).Div(new(big.Int).Lsh(one, uint(bits)), m)
	for {
		a, err := rand.Int(rand.Reader, m)
		if err != nil {
			t.Fatal(err)
		}
		quarter := new(big.Int).Rsh(top, 2)
		k, err := rand.Int(rand.Reader, quarter)
		if err != nil {
			t.Fatal(err)
		}
		k.Add(k, new(big.Int).Mul(quarter, big.NewInt(3)))
		power := new(big.Int).Exp(big.NewInt(65537), a, m)
		if p := k.Mul(k, m).Add(k, power); p.BitLen() == bits && p.ProbablyPrime(10) {
			return p
		}
	}
}

func infineonModulus(t testing.TB, bits int) *big.Int {
	t.Helper()
	for {
		if n := new(big.Int).Mul(infineon(t, bits/2), infineon(t, bits/2)); n.BitLen() == bits {
			return n
		}
	}
}

// printed returns a key of RFC 9500 section 2.3 by its private number.
func printed(t testing.TB, c elliptic.Curve, d string) crypto.PublicKey {
	t.Helper()
	b, err := hex.DecodeString(d)
	if err != nil {
		t.Fatal(err)
	}
	k, err := ecdsa.ParseRawPrivateKey(c, b)
	if err != nil {
		t.Fatal(err)
	}
	return k.Public()
}

func ecdsaKey(t testing.TB, c elliptic.Curve) *ecdsa.PublicKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &k.PublicKey
}

func TestGoodKeysAreLetIn(t *testing.T) {
	honest, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, pub := range map[string]crypto.PublicKey{
		"P-256": ecdsaKey(t, elliptic.P256()), "P-384": ecdsaKey(t, elliptic.P384()), "P-521": ecdsaKey(t, elliptic.P521()),
		"RSA with 2048 bits": honest.Public(), "another odd exponent": rsaKey(honest.N, 65539),
	} {
		if err := CheckKey(pub); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := CheckIssuerKey(honest.Public()); !errors.Is(err, ErrWeakKey) {
		t.Errorf("an issuer with 2048 bits: %v", err)
	}
}

func TestBadKeysAreRefusedWithTheirReason(t *testing.T) {
	honest := product(t, prime(t, 1024), 2048)
	edwards, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	off := *ecdsaKey(t, elliptic.P256())
	//lint:ignore SA1019 a broken key is what the test needs
	off.Y = new(big.Int).Xor(off.Y, one)
	//lint:ignore SA1019 a broken key is what the test needs
	infinity := &ecdsa.PublicKey{Curve: elliptic.P256(), X: new(big.Int), Y: new(big.Int)}
	cases := map[string]struct {
		pub  crypto.PublicKey
		want string
	}{
		"no key":                      {nil, "not used here"},
		"a private key":               {newKey(t), "not used here"},
		"Ed25519":                     {edwards, "Ed25519"},
		"P-224":                       {ecdsaKey(t, elliptic.P224()), "curve"},
		"a point beside the curve":    {&off, "not on the curve"},
		"the point at infinity":       {infinity, "not on the curve"},
		"a curve without a point":     {&ecdsa.PublicKey{Curve: elliptic.P256()}, "no point"},
		"no curve":                    {&ecdsa.PublicKey{}, "no point"},
		"a nil ECDSA key":             {(*ecdsa.PublicKey)(nil), "no point"},
		"a nil RSA key":               {(*rsa.PublicKey)(nil), "no modulus"},
		"no modulus":                  {&rsa.PublicKey{E: 65537}, "no modulus"},
		"RSA with 1024 bits":          {rsaKey(product(t, prime(t, 512), 1024), 65537), "too short"},
		"RSA with 2047 bits":          {rsaKey(product(t, prime(t, 1024), 2047), 65537), "too short"},
		"RSA with 2050 bits":          {rsaKey(product(t, prime(t, 1024), 2050), 65537), "whole number of bytes"},
		"RSA with 16384 bits":         {rsaKey(new(big.Int).SetBit(big.NewInt(1), 16383, 1), 65537), "longer"},
		"exponent 1":                  {rsaKey(honest, 1), "exponent"},
		"exponent 3":                  {rsaKey(honest, 3), "exponent"},
		"exponent 17":                 {rsaKey(honest, 17), "exponent"},
		"an even exponent":            {rsaKey(honest, 65538), "exponent"},
		"an even modulus":             {rsaKey(new(big.Int).Lsh(one, 2047), 65537), "small factor"},
		"a factor 3":                  {rsaKey(product(t, big.NewInt(3), 2048), 65537), "small factor"},
		"a factor 751":                {rsaKey(product(t, big.NewInt(751), 2048), 65537), "small factor"},
		"primes next to each other":   {rsaKey(closeTo(t, 2048), 65537), "close together"},
		"a square":                    {rsaKey(square(t), 65537), "close together"},
		"a chip with the ROCA fault":  {rsaKey(infineonModulus(t, 2048), 65537), "ROCA"},
		"the P-256 key of RFC 9500":   {printed(t, elliptic.P256(), "E6CB5BDD80AA45AE9C95E8C15476679FFEC953C16851E711E743939589C64FC1"), "RFC 9500"},
		"the P-384 key of RFC 9500":   {printed(t, elliptic.P384(), "E2563328DFABF68188606B91324281C1D58A4456431B09D510B35FECC9F307CA1822846FA2671371A9A81BAC0E35749D"), "RFC 9500"},
		"the first multiple of P-256": {printed(t, elliptic.P256(), strings.Repeat("00", 31)+"01"), "lint"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			err := CheckKey(c.pub)
			if c.want == "lint" {
				// That private numbers are small is found by the lint.
				if err := lintOf(t, c.pub); err == nil || !strings.Contains(err.Error(), "small_private_key") {
					t.Errorf("a private key of 1 passes the lint: %v", err)
				}
				return
			}
			if !errors.Is(err, ErrWeakKey) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func square(t testing.TB) *big.Int {
	p := prime(t, 1024)
	return p.Mul(p, p)
}

// lintOf lints a certificate of pub.
func lintOf(t testing.TB, pub crypto.PublicKey) error {
	t.Helper()
	h := newHouse(t, "example.com")
	p, err := Builtin("device")
	if err != nil {
		t.Fatal(err)
	}
	r := Request{ID: trustDomain(t, "example.com").ID(name(t, "ben")), PublicKey: pub, Now: noon, Issuer: h.clients}
	template, err := p.Template(r)
	if err != nil {
		t.Fatal(err)
	}
	return p.Check(encode(t, template, h.clients, pub, h.clientsKey), r)
}

func TestHonestModuliRarelyLookLikeROCA(t *testing.T) {
	for range 2000 {
		n, err := rand.Int(rand.Reader, new(big.Int).Lsh(one, 2048))
		if err != nil {
			t.Fatal(err)
		}
		if roca(n) {
			t.Fatalf("%x has the fingerprint", n)
		}
	}
}

func TestTestKeysAreHashes(t *testing.T) {
	for s := range testKeys {
		if b, err := hex.DecodeString(s); err != nil || len(b) != 32 || s != strings.ToLower(s) {
			t.Errorf("%s can match nothing", s)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	weakRSA, err := x509.MarshalPKIXPublicKey(rsaKey(product(f, prime(f, 512), 1024), 3))
	if err != nil {
		f.Fatal(err)
	}
	good, err := x509.MarshalPKIXPublicKey(ecdsaKey(f, elliptic.P256()))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(append(slices.Clone(good), 0))
	f.Add(weakRSA)
	f.Fuzz(func(t *testing.T, spki []byte) {
		// What is accepted encodes to the same bytes, and passes again.
		pub, err := ParseKey(spki)
		if err != nil {
			if pub != nil || !errors.Is(err, ErrWeakKey) {
				t.Errorf("refused with %v and %v", pub, err)
			}
			return
		}
		again, err := x509.MarshalPKIXPublicKey(pub)
		if err != nil || !bytes.Equal(again, spki) || CheckKey(pub) != nil {
			t.Errorf("%x came back as %x", spki, again)
		}
	})
}
