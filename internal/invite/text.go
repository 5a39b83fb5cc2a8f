package invite

import (
	"fmt"
	"math/big"
	"strings"
)

// The alphabet is Crockford's: no letter in it is taken for a digit.
const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

// checkPrime is the largest prime below 32². A text of two digits to the base
// 32 holds a remainder of it, and as a prime above 31² it divides neither the
// change that one wrong letter makes to a number nor the change that two
// swapped neighbours make, so both are always found.
const checkPrime = 1021

// checkLen is the number of characters that hold the remainder.
const checkLen = 2

// A TypoError says that a text was mistyped. It never repeats the text, which
// may be a secret.
type TypoError struct {
	What string // what was mistyped, such as "invite code"
	Why  string
}

// Error returns the error with the way to mend it.
func (e *TypoError) Error() string {
	return fmt.Sprintf("typing error in the %s: %s; compare it with the invitation letter by letter, or copy the whole link", e.What, e.Why)
}

// textLen returns the number of characters that encode writes for n bytes.
func textLen(n int) int { return (n*8+4)/5 + checkLen }

// encode writes b as a number to the base 32, then its remainder.
func encode(b []byte) string {
	digits := make([]byte, textLen(len(b)))
	n, base, digit := new(big.Int).SetBytes(b), big.NewInt(int64(len(alphabet))), new(big.Int)
	rest := 0
	for i := len(digits) - checkLen - 1; i >= 0; i-- {
		n.DivMod(n, base, digit)
		digits[i] = alphabet[digit.Int64()]
	}
	for _, c := range digits[:len(digits)-checkLen] {
		rest = (rest*32 + strings.IndexByte(alphabet, c)) % checkPrime
	}
	digits[len(digits)-2], digits[len(digits)-1] = alphabet[rest/32], alphabet[rest%32]
	return string(digits)
}

// decode reads into b what encode wrote, as people write it: in either case,
// with dashes and spaces anywhere, with o for 0 and i or l for 1.
func decode(what, s string, b []byte) error {
	var digits []byte
	for _, r := range s {
		switch {
		case r == '-' || r == ' ':
			continue
		case len(digits) >= textLen(len(b)):
			return &TypoError{what, fmt.Sprintf("it has more than %d characters", textLen(len(b)))}
		}
		d := digitOf(r)
		if d < 0 {
			return &TypoError{what, fmt.Sprintf("character %d cannot occur in one", len(digits)+1)}
		}
		digits = append(digits, byte(d))
	}
	if len(digits) != textLen(len(b)) {
		return &TypoError{what, fmt.Sprintf("it has %d characters and should have %d", len(digits), textLen(len(b)))}
	}
	n, rest := new(big.Int), 0
	for _, d := range digits[:len(digits)-checkLen] {
		n.Lsh(n, 5).Or(n, big.NewInt(int64(d)))
		rest = (rest*32 + int(d)) % checkPrime
	}
	if rest != int(digits[len(digits)-2])*32+int(digits[len(digits)-1]) || n.BitLen() > len(b)*8 {
		return &TypoError{what, "a character is wrong or two are swapped"}
	}
	n.FillBytes(b)
	return nil
}

// digitOf returns the value of a character, or -1.
func digitOf(r rune) int {
	if 'A' <= r && r <= 'Z' {
		r += 'a' - 'A'
	}
	switch r {
	case 'o':
		r = '0'
	case 'i', 'l':
		r = '1'
	}
	return strings.IndexRune(alphabet, r)
}
