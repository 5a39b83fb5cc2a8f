// Package invite holds what an invitation is made of: the one-time code, the
// pin of the root, and the link that carries both in its fragment, so that
// they reach no server's log. A typing error in any of them is found before
// anything is sent.
package invite

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"log/slog"
)

// hidden stands for a secret in logs.
const hidden = "[invite code]"

// A Code is the secret of one invitation: 128 random bits. Codes compare with
// ==. The zero Code is nobody's. Formatting one with %v shows it; a log and
// %#v do not.
type Code struct{ b [16]byte }

// New draws a code.
func New() Code {
	var c Code
	rand.Read(c.b[:])
	return c
}

// Parse returns the code written as s: what String returns, in either case,
// also with spaces and dashes between the characters. Every single wrong
// character and every swap of two neighbours is a *TypoError, which does not
// repeat s.
func Parse(s string) (Code, error) {
	var c Code
	if err := decode("invite code", s, c.b[:]); err != nil {
		return Code{}, err
	}
	return c, nil
}

// String returns the code as 28 characters in lower case: a number to the
// base 32 and two characters that check it. It is the secret itself.
func (c Code) String() string { return encode(c.b[:]) }

// Hash returns the SHA-256 of the code's 16 bytes, under which the ledger
// keeps it.
func (c Code) Hash() [32]byte { return sha256.Sum256(c.b[:]) }

// hashAs returns a hash of the code for one purpose, which nobody who knows
// that for another can work out.
func (c Code) hashAs(purpose string) [32]byte {
	return sha256.Sum256(append([]byte(purpose+"\n"), c.b[:]...))
}

// IsZero reports whether c is nobody's.
func (c Code) IsZero() bool { return c == Code{} }

// LogValue hides the code.
func (c Code) LogValue() slog.Value { return slog.StringValue(hidden) }

// GoString hides the code.
func (c Code) GoString() string { return hidden }

// A Pin names an authority by its root's key: the first twenty bytes of the
// SHA-256 of the root's SubjectPublicKeyInfo. It is no secret. Pins compare
// with ==; the zero Pin fits no root.
type Pin struct{ b [20]byte }

// PinOf returns the pin of a root.
func PinOf(root *x509.Certificate) Pin {
	sum := sha256.Sum256(root.RawSubjectPublicKeyInfo)
	return Pin{[20]byte(sum[:20])}
}

// ParsePin returns the pin written as s, with the same care for typing errors
// as Parse.
func ParsePin(s string) (Pin, error) {
	var p Pin
	if err := decode("fingerprint", s, p.b[:]); err != nil {
		return Pin{}, err
	}
	return p, nil
}

// String returns the pin as 34 characters in lower case.
func (p Pin) String() string { return encode(p.b[:]) }

// IsZero reports whether p fits no root.
func (p Pin) IsZero() bool { return p == Pin{} }

// Fits reports whether root is the one that p names.
func (p Pin) Fits(root *x509.Certificate) bool { return !p.IsZero() && PinOf(root) == p }
