//lint:file-ignore SA1019 what is computed here is public: points whose private halves everybody knows

package profile

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"math/big"
	"slices"
	"sync"
	"sync/atomic"
)

// smallKeyLint is zlint's search for a private key d of at most smallKeys, or
// its negative. It takes a third of all linting, nearly always to find nothing.
const (
	smallKeyLint = "e_ecdsa_small_private_key"
	smallKeys    = 1 << 16
)

// patience is how many certificates are searched by zlint before the table of
// the shortcut, which takes as long as a thousand searches, is worth its making.
const patience = 500

// A frequency counts up to patience.
type frequency struct{ n atomic.Int32 }

// often reports that there have been more than patience calls.
func (f *frequency) often() bool { return f.n.Load() > patience || f.n.Add(1) > patience }

// surelyLarge reports that smallKeyLint has nothing to find in a key. It finds
// a key only by the x coordinate of d times the base point for a d up to
// smallKeys, so one whose x coordinate ends like none of these need not be
// searched for. Keys on other curves than P-256 are never sure.
func surelyLarge(key any) bool {
	pub, ok := key.(*ecdsa.PublicKey)
	if !ok || pub.Curve != elliptic.P256() || pub.X == nil || pub.X.Sign() < 0 {
		return false
	}
	_, found := slices.BinarySearch(smallMultiples(), ending(pub.X))
	return !found
}

// ending returns the lowest 32 bits.
func ending(x *big.Int) uint32 { return uint32(new(big.Int).And(x, lowest).Uint64()) }

var lowest = big.NewInt(1<<32 - 1)

// reach is how far multiples are computed around a center at once.
const reach = 128

// smallMultiples returns the endings of the x coordinates of d times the base
// point of P-256, for every d up to smallKeys and a few more, sorted.
var smallMultiples = sync.OnceValue(func() []uint32 {
	curve := elliptic.P256()
	near := multiples(curve, 1, reach)
	centers := multiples(curve, 2*reach+1, smallKeys/(2*reach+1))
	all := make([]uint32, 0, smallKeys+2*reach)
	for _, p := range near {
		all = append(all, ending(p.x))
	}
	for _, c := range centers {
		all = append(all, ending(c.x))
		all = around(all, curve.Params().P, c, near)
	}
	slices.Sort(all)
	return slices.Compact(all)
})

type point struct{ x, y *big.Int }

// multiples returns step, 2*step ... n*step times the base point.
func multiples(curve elliptic.Curve, step int64, n int) []point {
	x, y := curve.ScalarBaseMult(big.NewInt(step).Bytes())
	all := []point{{x, y}}
	for len(all) < n {
		last := all[len(all)-1]
		var next point
		if len(all) == 1 {
			next.x, next.y = curve.Double(x, y)
		} else {
			next.x, next.y = curve.Add(last.x, last.y, x, y)
		}
		all = append(all, next)
	}
	return all
}

// around appends the endings of the x coordinates of c+q and c-q for each q of
// near: that of c±q is ((yc∓yq)/(xc-xq))² - xc - xq. All are inverted at once
// (Montgomery's trick).
func around(all []uint32, p *big.Int, c point, near []point) []uint32 {
	products := make([]*big.Int, len(near)+1) // of the differences before each
	products[0] = big.NewInt(1)
	for i, q := range near {
		d := new(big.Int).Sub(c.x, q.x)
		products[i+1] = d.Mod(d.Mul(d, products[i]), p)
	}
	inverse := new(big.Int).ModInverse(products[len(near)], p)
	var slope, x, inverted, sum big.Int
	for i := len(near) - 1; i >= 0; i-- {
		q := near[i]
		inverted.Mod(inverted.Mul(inverse, products[i]), p)
		inverse.Mod(inverse.Mul(inverse, x.Sub(c.x, q.x)), p)
		sum.Add(c.x, q.x)
		for _, slopeTop := range [2]*big.Int{new(big.Int).Sub(c.y, q.y), new(big.Int).Add(c.y, q.y)} {
			slope.Mod(slope.Mul(slopeTop, &inverted), p)
			x.Mod(x.Sub(x.Mul(&slope, &slope), &sum), p)
			all = append(all, ending(&x))
		}
	}
	return all
}
