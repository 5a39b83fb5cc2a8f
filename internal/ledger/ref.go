package ledger

import (
	"encoding/hex"
	"errors"
	"fmt"
)

// A Hash is a SHA-256.
type Hash [32]byte

// String returns the hash in lower-case hex.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// IsZero reports whether h is all zeros, which stands for no hash.
func (h Hash) IsZero() bool { return h == Hash{} }

// MarshalText returns the hash in lower-case hex.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads 64 hex digits.
func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(h)) {
		return fmt.Errorf("hash of %d characters, want %d hex digits", len(text), hex.EncodedLen(len(h)))
	}
	_, err := hex.Decode(h[:], text)
	return err
}

// A KeyID identifies an issuer's key: the SHA-256 of its whole
// SubjectPublicKeyInfo, DER. It is not the subject key identifier that stands
// in certificates (RFC 7093 section 2, method 1), which is shorter.
type KeyID = Hash

// MaxSerial is the longest serial number in bytes (RFC 5280 section 4.1.2.2).
const MaxSerial = 20

// A Serial is a certificate's serial number: the big-endian bytes of a
// positive integer without leading zeros, at most MaxSerial of them. Serials
// compare with ==. The zero Serial belongs to no certificate.
type Serial struct{ b string }

// SerialFromBytes returns the serial of the integer whose big-endian bytes are
// b; leading zeros are dropped.
func SerialFromBytes(b []byte) (Serial, error) {
	for len(b) > 0 && b[0] == 0 {
		b = b[1:]
	}
	switch {
	case len(b) == 0:
		return Serial{}, errors.New("serial number zero")
	case len(b) > MaxSerial:
		return Serial{}, fmt.Errorf("serial number of %d bytes: at most %d are allowed", len(b), MaxSerial)
	}
	return Serial{string(b)}, nil
}

// ParseSerial reads a serial in hex, in either case, with or without colons
// between the bytes, as tools print it.
func ParseSerial(s string) (Serial, error) {
	digits := make([]byte, 0, len(s)+1)
	for i := range len(s) {
		if s[i] != ':' {
			digits = append(digits, s[i])
		}
	}
	if len(digits)%2 == 1 {
		digits = append([]byte{'0'}, digits...)
	}
	b, err := hex.DecodeString(string(digits))
	if err != nil || len(b) == 0 {
		return Serial{}, fmt.Errorf("%q is not a serial number: one is written in hex digits", s)
	}
	return SerialFromBytes(b)
}

// String returns the serial in lower-case hex, whole bytes; the zero Serial
// is "".
func (s Serial) String() string { return hex.EncodeToString([]byte(s.b)) }

// Bytes returns the big-endian bytes.
func (s Serial) Bytes() []byte { return []byte(s.b) }

// Padded returns the big-endian bytes with zeros before them.
func (s Serial) Padded() (p [MaxSerial]byte) {
	copy(p[MaxSerial-len(s.b):], s.b)
	return p
}

// IsZero reports whether s belongs to no certificate.
func (s Serial) IsZero() bool { return s.b == "" }

// MarshalText returns the serial as String does.
func (s Serial) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText parses text as ParseSerial does; empty text is the zero Serial.
func (s *Serial) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*s = Serial{}
		return nil
	}
	parsed, err := ParseSerial(string(text))
	if err != nil {
		return err
	}
	*s = parsed
	return nil
}

// A Ref names one certificate: its issuer's key, its serial number and the
// SHA-256 of its to-be-signed part. The hash of the whole certificate names
// nothing, since an ECDSA signature can be altered into another valid one.
// Refs compare with ==. The zero Ref names no certificate.
type Ref struct {
	Issuer KeyID
	Serial Serial
	TBS    Hash
}

// IsZero reports whether r names no certificate.
func (r Ref) IsZero() bool { return r == Ref{} }
