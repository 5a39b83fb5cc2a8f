// Package apptoken holds the tokens with which an app that cannot do mutual TLS
// comes in at one site, in the place of one device.
package apptoken

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"strings"
)

// Prefix begins every token, so that scanners for secrets know one.
const Prefix = "postern_"

// digits is how many characters follow the prefix: of five bits each.
const digits = 26

// Length is that of a token, in bytes.
const Length = len(Prefix) + digits

// A Token is a secret of 130 random bits. Whoever has it comes in. The zero
// Token is none.
type Token struct{ text string }

// New draws a token.
func New() Token { return Token{Prefix + strings.ToLower(rand.Text())} }

var errToken = errors.New("that is no token: one begins with " + Prefix + " and has 26 letters and digits after it")

// Parse reads a token as String writes it. Its error does not repeat the text.
func Parse(s string) (Token, error) {
	rest, ok := strings.CutPrefix(s, Prefix)
	if !ok || len(rest) != digits {
		return Token{}, errToken
	}
	for i := range len(rest) {
		if !isDigit(rest[i]) {
			return Token{}, errToken
		}
	}
	return Token{s}, nil
}

// String returns the token itself: the secret.
func (t Token) String() string { return t.text }

// Hash is what is kept of the token. Its SHA-256 needs no salt: nobody guesses
// 130 bits.
func (t Token) Hash() [sha256.Size]byte { return sha256.Sum256([]byte("postern app token\n" + t.text)) }

// Veil returns s without what looks like a token or a good part of one, as a
// log may show it.
func Veil(s string) string {
	for at := 0; ; {
		i := strings.Index(s[at:], Prefix)
		if i < 0 {
			return s
		}
		at += i + len(Prefix)
		end := at
		for end < min(len(s), at+digits) && isDigit(s[end]) {
			end++
		}
		if end-at >= digits/2 {
			s = s[:at] + "…" + s[end:]
		}
	}
}

func isDigit(c byte) bool { return 'a' <= c && c <= 'z' || '2' <= c && c <= '7' }
