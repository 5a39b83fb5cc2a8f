// Package jws reads signed requests of ACME clients (RFC 7515 in the profile
// of RFC 8555 section 6.2): the flattened JSON form with one signature, all of
// the header protected, and a short list of algorithms. It does no I/O.
package jws

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// MaxSize bounds a message, in bytes. The longest hold a certificate request
// with a hundred names.
const MaxSize = 64 << 10

// Algorithms are those of account keys, the preferred one first. A MAC and
// "none" are not among them (RFC 8555 section 6.2).
func Algorithms() []string { return []string{"ES256", "ES384", "ES512", "EdDSA", "RS256"} }

var signing = []jose.SignatureAlgorithm{jose.ES256, jose.ES384, jose.ES512, jose.EdDSA, jose.RS256}

// An AlgorithmError is a message signed with an algorithm that is not taken.
type AlgorithmError struct{ Algorithm string }

// Error names the algorithms that are taken.
func (e *AlgorithmError) Error() string {
	return fmt.Sprintf("signature algorithm %q is not taken: use one of %s", e.Algorithm, strings.Join(Algorithms(), ", "))
}

// ErrSignature says that a signature is not by the key it should be by.
var ErrSignature = errors.New("the signature does not fit the message and the key")

// A Header is the protected header of a message. Of KeyID and Key one is set.
type Header struct {
	Algorithm string
	KeyID     string
	Key       *Key
	Nonce     string
	URL       string
}

// A Message is a signed request. What it holds is to be believed only after
// Verify or VerifyMAC.
type Message struct {
	Header
	Payload []byte
	signed  *jose.JSONWebSignature
}

// header is what may stand in a protected header. Anything else, crit and b64
// among it, is refused.
type header struct {
	Alg   string          `json:"alg"`
	JWK   json.RawMessage `json:"jwk"`
	KID   *string         `json:"kid"`
	Nonce string          `json:"nonce"`
	URL   string          `json:"url"`
	Type  string          `json:"typ"`
}

// Parse reads a message that an account's key or a certificate's key has
// signed.
func Parse(body []byte) (*Message, error) { return parse(body, signing) }

// ParseMAC reads a message with a MAC: an external account binding.
func ParseMAC(body []byte) (*Message, error) {
	return parse(body, []jose.SignatureAlgorithm{jose.HS256})
}

func parse(body []byte, algorithms []jose.SignatureAlgorithm) (*Message, error) {
	if len(body) > MaxSize {
		return nil, fmt.Errorf("a message of %d bytes: at most %d are read", len(body), MaxSize)
	}
	var envelope struct {
		Protected *string `json:"protected"`
		Payload   *string `json:"payload"`
		Signature *string `json:"signature"`
	}
	// An unprotected header or a list of signatures is an unknown field here.
	if err := strict(body, &envelope, "protected", "payload", "signature"); err != nil {
		return nil, fmt.Errorf("no JWS in flattened JSON form: %w", err)
	}
	if envelope.Protected == nil || envelope.Payload == nil || envelope.Signature == nil {
		return nil, errors.New("a JWS has the members protected, payload and signature")
	}
	text, err := decode(*envelope.Protected)
	if err != nil {
		return nil, errors.New("the protected header is no base64url")
	}
	// The library reads these loosely, and verifies what it has read.
	for name, value := range map[string]string{"payload": *envelope.Payload, "signature": *envelope.Signature} {
		if _, err := decode(value); err != nil {
			return nil, fmt.Errorf("the %s is no base64url", name)
		}
	}
	var h header
	if err := strict(text, &h, "alg", "jwk", "kid", "nonce", "url", "typ"); err != nil {
		return nil, fmt.Errorf("the protected header: %w", err)
	}
	m := &Message{Header: Header{Algorithm: h.Alg, Nonce: h.Nonce, URL: h.URL}}
	if !contains(algorithms, h.Alg) {
		return nil, &AlgorithmError{h.Alg}
	}
	if err := m.identify(h); err != nil {
		return nil, err
	}
	if m.signed, err = jose.ParseSignedJSON(string(body), algorithms); err != nil {
		return nil, fmt.Errorf("no JWS: %s", words(err))
	}
	m.Payload = m.signed.UnsafePayloadWithoutVerification()
	return m, nil
}

// identify reads who is said to have signed: a new key or a known one.
func (m *Message) identify(h header) error {
	switch {
	case (h.JWK == nil) == (h.KID == nil):
		return errors.New("the protected header has either a jwk or a kid, RFC 8555 section 6.2")
	case h.KID != nil && (*h.KID == "" || len(*h.KID) > 1024):
		return errors.New("the kid is empty or too long")
	case h.KID != nil:
		m.KeyID = *h.KID
		return nil
	}
	k, err := ParseKey(h.JWK)
	m.Key = &k
	return err
}

func contains(all []jose.SignatureAlgorithm, alg string) bool {
	for _, a := range all {
		if string(a) == alg {
			return true
		}
	}
	return false
}

// Verify returns ErrSignature unless k has signed the message.
func (m *Message) Verify(k Key) error {
	if !k.signs(m.Algorithm) {
		return ErrSignature
	}
	return m.verify(k.jwk.Key)
}

// VerifyMAC returns ErrSignature unless the message's MAC is by key.
func (m *Message) VerifyMAC(key []byte) error {
	if m.Algorithm != string(jose.HS256) || len(key) == 0 {
		return ErrSignature
	}
	return m.verify(key)
}

func (m *Message) verify(key any) error {
	payload, err := m.signed.Verify(key)
	if err != nil || !bytes.Equal(payload, m.Payload) {
		return ErrSignature
	}
	return nil
}

// decode reads base64url in the one form that it has (RFC 7515 section 2): no
// padding, no line break, no bit that says nothing.
func decode(text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") { // which the standard library skips
		return nil, errors.New("a line break")
	}
	return base64.RawURLEncoding.Strict().DecodeString(text)
}

// strict reads one JSON object whose members are among those named. The standard
// library would take a name in other letters for the same, and the last of two
// members of one name.
func strict(text []byte, into any, names ...string) error {
	all, err := members(text)
	if err != nil {
		return err
	}
	for name := range all {
		if !slices.Contains(names, name) {
			return fmt.Errorf("unknown field %.40q", name)
		}
	}
	if err := json.Unmarshal(text, into); err != nil {
		return words(err)
	}
	return nil
}

// members reads one JSON object that has no two members of one name and nothing
// behind it.
func members(text []byte) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("it is no JSON object")
	}
	all := map[string]json.RawMessage{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, words(err)
		}
		name, _ := t.(string)
		if _, again := all[name]; again {
			return nil, fmt.Errorf("field %.40q stands there twice", name)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, words(err)
		}
		all[name] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, words(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something follows its end")
	}
	return all, nil
}

// words takes the library's name off an error.
func words(err error) error {
	return errors.New(strings.TrimPrefix(strings.TrimPrefix(err.Error(), "go-jose/go-jose: "), "json: "))
}
