package keys

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/sethvargo/go-diceware/diceware"
)

// words is the length of a generated passphrase: ten of 7,776 words are 129
// bits.
const words = 10

// MinPassphrase is the shortest passphrase of a person's own, in bytes.
const MinPassphrase = 12

const hidden = "(hidden passphrase)"

// A Passphrase seals the root key. However it is printed, logged or marshalled,
// it hides itself; only Reveal tells it. The zero Passphrase opens nothing.
type Passphrase struct{ text []byte }

// NewPassphrase draws a passphrase of ten words with dashes between them.
func NewPassphrase() (Passphrase, error) {
	list, err := diceware.Generate(words)
	if err != nil {
		return Passphrase{}, fmt.Errorf("draw passphrase: %w", err)
	}
	return Passphrase{[]byte(strings.Join(list, "-"))}, nil
}

// ParsePassphrase returns the passphrase s, without the white space around it.
// It needs MinPassphrase bytes.
func ParsePassphrase(s string) (Passphrase, error) {
	s = strings.TrimSpace(s)
	switch {
	case s == "":
		return Passphrase{}, errors.New("the passphrase is empty")
	case len(s) < MinPassphrase:
		return Passphrase{}, fmt.Errorf("the passphrase is shorter than %d characters: take a longer one, such as five random words", MinPassphrase)
	case strings.ContainsAny(s, "\r\n\x00"):
		return Passphrase{}, errors.New("the passphrase has several lines: write it in one")
	}
	return Passphrase{[]byte(s)}, nil
}

// ParsePIN returns the PIN of a token, without the white space around it.
func ParsePIN(s string) (Passphrase, error) {
	s = strings.TrimSpace(s)
	if s == "" || len(s) > 255 || strings.ContainsAny(s, "\r\n\x00") {
		return Passphrase{}, errors.New("that is no PIN: it has one line of 1 to 255 characters")
	}
	return Passphrase{[]byte(s)}, nil
}

// ReadPINFile reads the PIN that is all the file at path holds. Nobody but its
// owner may be able to read it.
func ReadPINFile(path string) (Passphrase, error) {
	data, err := readPrivateFile(path)
	if err != nil {
		return Passphrase{}, fmt.Errorf("read PIN: %w", err)
	}
	defer clear(data)
	p, err := ParsePIN(string(data))
	if err != nil {
		return Passphrase{}, fmt.Errorf("read PIN %s: %w", path, err)
	}
	return p, nil
}

// ReadPassphraseFile reads the passphrase that is all the file at path holds.
// Nobody but its owner may be able to read it.
func ReadPassphraseFile(path string) (Passphrase, error) {
	data, err := readPrivateFile(path)
	if err != nil {
		return Passphrase{}, fmt.Errorf("read passphrase: %w", err)
	}
	defer clear(data)
	p, err := ParsePassphrase(string(bytes.TrimSpace(data)))
	if err != nil {
		return Passphrase{}, fmt.Errorf("read passphrase %s: %w", path, err)
	}
	return p, nil
}

// Reveal returns the passphrase itself: for the terminal of whoever has to
// keep it, and for nothing else.
func (p Passphrase) Reveal() string { return string(p.text) }

// IsZero reports whether p is no passphrase.
func (p Passphrase) IsZero() bool { return len(p.text) == 0 }

// String hides the passphrase.
func (p Passphrase) String() string { return hidden }

// GoString hides the passphrase.
func (p Passphrase) GoString() string { return hidden }

// Format hides the passphrase from every verb.
func (p Passphrase) Format(f fmt.State, _ rune) { fmt.Fprint(f, hidden) }

// LogValue hides the passphrase.
func (p Passphrase) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText hides the passphrase.
func (p Passphrase) MarshalText() ([]byte, error) { return []byte(hidden), nil }
