package profile

import (
	"crypto/rsa"
	"math/big"
	"sync"
)

// checkRSA looks for the mistakes that have been made with RSA keys.
func checkRSA(pub *rsa.PublicKey, minBits int) error {
	if pub == nil || pub.N == nil || pub.N.Sign() <= 0 {
		return weak("it has no modulus: make a new key")
	}
	switch bits := pub.N.BitLen(); {
	case bits < minBits:
		return weak("RSA with %d bits is too short: use at least %d, or better an ECDSA P-256 key", bits, minBits)
	case bits > MaxRSA:
		return weak("RSA with %d bits is longer than the %d that programs read: use 3072", bits, MaxRSA)
	case bits%8 != 0:
		return weak("RSA with %d bits is no whole number of bytes, which programs refuse: use 3072", bits)
	case pub.E < 1<<16 || pub.E%2 == 0:
		return weak("its exponent %d is not an odd number above 65536: make a key with the exponent 65537", pub.E)
	case smallFactor(pub.N):
		return weak("its modulus has a small factor: make a new key with another program")
	case roca(pub.N):
		return weak("it was made by a chip with the ROCA fault (CVE-2017-15361): make the key in software or on another chip")
	case fermat(pub.N):
		return weak("its two primes are too close together (CVE-2022-26320): make a new key with another program")
	}
	return nil
}

// smallPrimes are the odd primes below 752, as far as NIST SP 800-89 section
// 5.3.3 wants them tried.
var smallPrimes = sync.OnceValue(func() []int64 { return primesBelow(752) })

func primesBelow(limit int) []int64 {
	var primes []int64
	for n := int64(3); n < int64(limit); n += 2 {
		if big.NewInt(n).ProbablyPrime(0) {
			primes = append(primes, n)
		}
	}
	return primes
}

func smallFactor(n *big.Int) bool {
	if n.Bit(0) == 0 {
		return true
	}
	var rest, p big.Int
	for _, prime := range smallPrimes() {
		if rest.Mod(n, p.SetInt64(prime)).Sign() == 0 {
			return true
		}
	}
	return false
}

// fermatRounds is as many as Boulder does: enough for primes that share half
// of their bits and a little more, and a second's thousandth of work.
const fermatRounds = 100

// fermat reports whether n is the product of two primes so close that Fermat's
// method finds them: n = a²-b² for an a just above the root of n.
func fermat(n *big.Int) bool {
	a := new(big.Int).Sqrt(n)
	var b2, b big.Int
	for range fermatRounds {
		if b2.Mul(a, a); b2.Cmp(n) >= 0 {
			b2.Sub(&b2, n)
			if b.Sqrt(&b2); b.Mul(&b, &b).Cmp(&b2) == 0 {
				return true
			}
		}
		a.Add(a, one)
	}
	return false
}

var one = big.NewInt(1)

// rocaLimit is the largest prime of the fingerprint: all moduli of the faulty
// library are powers of 65537 modulo every prime up to here.
const rocaLimit = 168

// roca reports whether n has the fingerprint of Infineon's faulty generator:
// modulo each small prime it is a power of 65537. An honest modulus has it
// with a chance of about one in 2^27.
func roca(n *big.Int) bool {
	var rest, prime big.Int
	for _, p := range smallPrimes() {
		if p >= rocaLimit {
			break
		}
		r := rest.Mod(n, prime.SetInt64(p)).Int64()
		if !powerOf65537(r, p) {
			return false
		}
	}
	return true
}

func powerOf65537(r, p int64) bool {
	for x := int64(1); ; {
		if x == r {
			return true
		}
		if x = x * 65537 % p; x == 1 {
			return false
		}
	}
}
