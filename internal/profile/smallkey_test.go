//lint:file-ignore SA1019 what is computed here is public: points whose private halves everybody knows

package profile

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"slices"
	"strings"
	"testing"

	zx509 "github.com/zmap/zcrypto/x509"
	"github.com/zmap/zlint/v3/lint"
)

// known is the key whose private half is d on P-256.
func known(t testing.TB, d *big.Int) *ecdsa.PublicKey {
	t.Helper()
	curve := elliptic.P256()
	x, y := curve.ScalarBaseMult(new(big.Int).Mod(d, curve.Params().N).Bytes())
	return &ecdsa.PublicKey{Curve: curve, X: x, Y: y}
}

func negative(d int64) *big.Int { return new(big.Int).Sub(elliptic.P256().Params().N, big.NewInt(d)) }

// Every key that zlint looks for is left to zlint: the shortcut's table is held
// against each of them, added up one by one.
func TestNoSmallKeyIsSurelyLarge(t *testing.T) {
	curve, table := elliptic.P256(), smallMultiples()
	g := curve.Params()
	x, y := g.Gx, g.Gy
	for d := 1; d <= smallKeys; d++ {
		if _, ok := slices.BinarySearch(table, ending(x)); !ok {
			t.Fatalf("the multiple %d is missing", d)
		}
		if d == 1 {
			x, y = curve.Double(x, y)
		} else {
			x, y = curve.Add(x, y, g.Gx, g.Gy)
		}
	}
	if n := len(table); n > smallKeys+2*reach {
		t.Errorf("the table has %d endings", n)
	}
}

// The shortcut never says more than the lint that it spares.
func TestShortcutAndLintAgreeOnSmallKeys(t *testing.T) {
	search := lint.GlobalRegistry().CertificateLints().ByName(smallKeyLint)
	if search == nil {
		t.Fatalf("zlint has no %s any more", smallKeyLint)
	}
	for what, test := range map[string]struct {
		d     *big.Int
		small bool
	}{
		"1":                           {big.NewInt(1), true},
		"2":                           {big.NewInt(2), true},
		"the end of the first window": {big.NewInt(reach), true},
		"a center":                    {big.NewInt(2*reach + 1), true},
		"the last one":                {big.NewInt(smallKeys), true},
		"minus 1":                     {negative(1), true},
		"minus the last one":          {negative(smallKeys), true},
		"minus a middle one":          {negative(40_000), true},
		"past the last one":           {big.NewInt(smallKeys + 1), false},
		"far past":                    {big.NewInt(1 << 20), false},
		"the middle of the order":     {new(big.Int).Rsh(elliptic.P256().Params().N, 1), false},
	} {
		t.Run(what, func(t *testing.T) {
			pub := known(t, test.d)
			c := &zx509.Certificate{PublicKeyAlgorithm: zx509.ECDSA, PublicKey: pub}
			found := search.Execute(c, lint.NewEmptyConfig()).Status == lint.Error
			if found != test.small {
				t.Errorf("zlint finds it: %t, want %t", found, test.small)
			}
			if found && surelyLarge(pub) {
				t.Error("zlint finds it and the shortcut would have spared the search")
			}
		})
	}
	for range 200 {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		c := &zx509.Certificate{PublicKeyAlgorithm: zx509.ECDSA, PublicKey: &key.PublicKey}
		if surelyLarge(&key.PublicKey) && search.Execute(c, lint.NewEmptyConfig()).Status != lint.Pass {
			t.Fatalf("%x", key.X)
		}
	}
}

func TestOnlyKeysOnP256AreSurelyLarge(t *testing.T) {
	big := func(c elliptic.Curve) *ecdsa.PublicKey {
		key, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return &key.PublicKey
	}
	if !surelyLarge(big(elliptic.P256())) {
		t.Error("a random key on P-256 is searched for")
	}
	for what, key := range map[string]any{
		"P-384": big(elliptic.P384()), "P-521": big(elliptic.P521()), "RSA": &rsa.PublicKey{},
		"nothing": nil, "no point": &ecdsa.PublicKey{Curve: elliptic.P256()},
	} {
		if surelyLarge(key) {
			t.Errorf("%s is not searched for", what)
		}
	}
}

// However many certificates were looked at before, a small key stops one.
func TestSmallKeysAreFoundAfterManyCertificates(t *testing.T) {
	linted.n.Store(patience)
	if err := lintOf(t, known(t, big.NewInt(12_345))); err == nil || !strings.Contains(err.Error(), smallKeyLint) {
		t.Errorf("a private key of 12345: %v", err)
	}
	if err := lintOf(t, newKey(t).Public()); err != nil {
		t.Errorf("an honest key: %v", err)
	}
}

func BenchmarkSmallMultiples(b *testing.B) {
	near := multiples(elliptic.P256(), 1, reach)
	c := known(b, big.NewInt(2*reach+1))
	for b.Loop() {
		around(nil, elliptic.P256().Params().P, point{c.X, c.Y}, near)
	}
}
