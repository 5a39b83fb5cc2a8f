// Package assertion signs short-lived statements of who makes a request, for
// applications that would rather verify a signature than trust a header field:
// JSON Web Tokens (RFC 7519), verified with the keys of a JWK set (RFC 7517).
// The keys are its own, never an issuer's, and replace themselves.
package assertion

import (
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/postern-project/postern/internal/keys"
)

// Life is how long a token is good, and Fresh for how long it may be handed
// out again.
const (
	Life  = time.Minute
	Fresh = 30 * time.Second
)

// A key is published for lead before it is used, since whoever verifies keeps
// the set for a while, is used for term, and is published for keep after that.
const (
	lead = 24 * time.Hour
	term = 30 * 24 * time.Hour
	keep = time.Hour
)

// A Statement is what a token says.
type Statement struct {
	// Subject is the SPIFFE ID of whoever asks, Name the part of it after the
	// trust domain, Serial their certificate's serial number as it is printed,
	// and Certificate that certificate in DER. Both are zero for an app that came
	// by a token.
	Subject, Name, Serial string
	Certificate           []byte
	// Audience is the site that the request is for.
	Audience string
}

// claims is a token's payload. The certificate is bound as RFC 8705 section 3.1
// does it.
type claims struct {
	Issuer       string        `json:"iss"`
	Subject      string        `json:"sub"`
	Audience     string        `json:"aud"`
	IssuedAt     int64         `json:"iat"`
	Expires      int64         `json:"exp"`
	Name         string        `json:"name"`
	Serial       string        `json:"serial"`
	Confirmation *confirmation `json:"cnf,omitempty"` // none for who came by a token
}

type confirmation struct {
	Thumbprint string `json:"x5t#S256"`
}

// A Signer signs statements. It is safe for concurrent use.
type Signer struct {
	dir, issuer string
	now         func() time.Time

	mu   sync.Mutex // guards keys and due
	keys []key      // the oldest first; never empty
	due  time.Time  // when to look at the keys again
}

// key is one of the signer's keys.
type key struct {
	made   time.Time
	path   string
	public jose.JSONWebKey
	signer jose.Signer
}

// Open returns the signer whose keys are in dir, which it makes, with a first
// key, if it is missing. The issuer is what tokens name as theirs. A nil now is
// time.Now.
func Open(dir, issuer string, now func() time.Time) (*Signer, error) {
	if now == nil {
		now = time.Now
	}
	s := &Signer{dir: dir, issuer: issuer, now: now}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	paths, err := filepath.Glob(filepath.Join(globQuote(dir), "*.key"))
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		k, err := load(path)
		if err != nil {
			return nil, fmt.Errorf("key for assertions: %w; delete it and another one is made", err)
		}
		s.keys = append(s.keys, k)
	}
	slices.SortFunc(s.keys, func(a, b key) int { return a.made.Compare(b.made) })
	return s, s.rotate(now())
}

// globQuote has a pattern mean exactly s.
func globQuote(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(s)
}

// madeLayout is how a key's file name says when it was made.
const madeLayout = "20060102T150405Z"

func load(path string) (key, error) {
	made, err := time.Parse(madeLayout, strings.TrimSuffix(filepath.Base(path), ".key"))
	if err != nil {
		return key{}, fmt.Errorf("%s: the name is no time such as %s.key", path, madeLayout)
	}
	private, err := keys.ReadPrivate(path)
	if err != nil {
		return key{}, err
	}
	public := jose.JSONWebKey{Key: private.Public(), Algorithm: string(jose.ES256), Use: "sig"}
	print, err := public.Thumbprint(crypto.SHA256) // RFC 7638
	if err != nil {
		return key{}, fmt.Errorf("%s: %w", path, err)
	}
	public.KeyID = base64.RawURLEncoding.EncodeToString(print)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: private, KeyID: public.KeyID}}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return key{}, fmt.Errorf("%s: %w", path, err)
	}
	return key{made: made, path: path, public: public, signer: signer}, nil
}

// rotate makes a key when the newest one will be needed no longer than lead,
// and deletes those that nobody verifies with any more. s.mu is held, or s is
// not shared yet.
func (s *Signer) rotate(now time.Time) error {
	if n := len(s.keys); n == 0 || !now.Before(s.keys[n-1].made.Add(term)) {
		k, err := s.generate(now)
		if err != nil {
			return err
		}
		s.keys = append(s.keys, k)
	}
	for len(s.keys) > 1 && !now.Before(s.keys[1].made.Add(lead+keep)) {
		if err := os.Remove(s.keys[0].path); err != nil && !os.IsNotExist(err) {
			return err
		}
		s.keys = s.keys[1:]
	}
	s.due = now.Add(10 * time.Minute)
	return nil
}

func (s *Signer) generate(now time.Time) (key, error) {
	private, err := keys.Generate(keys.ECDSAP256)
	if err != nil {
		return key{}, err
	}
	path := filepath.Join(s.dir, now.UTC().Format(madeLayout)+".key")
	if err := keys.WritePrivate(path, private); err != nil {
		return key{}, err
	}
	return load(path)
}

// current returns the keys, and which of them signs. s.mu is held.
func (s *Signer) current() (active key, err error) {
	now := s.now()
	if !now.Before(s.due) {
		if err := s.rotate(now); err != nil {
			return key{}, err
		}
	}
	active = s.keys[0]
	for _, k := range s.keys[1:] {
		if !now.Before(k.made.Add(lead)) {
			active = k
		}
	}
	return active, nil
}

// Sign returns the token that says st, good from now on for Life.
func (s *Signer) Sign(st Statement) (string, error) {
	s.mu.Lock()
	k, err := s.current()
	s.mu.Unlock()
	if err != nil {
		return "", err
	}
	now := s.now()
	says := claims{
		Issuer: s.issuer, Subject: st.Subject, Audience: st.Audience, IssuedAt: now.Unix(), Expires: now.Add(Life).Unix(),
		Name: st.Name, Serial: st.Serial,
	}
	if st.Certificate != nil {
		print := sha256.Sum256(st.Certificate)
		says.Confirmation = &confirmation{base64.RawURLEncoding.EncodeToString(print[:])}
	}
	payload, err := json.Marshal(says)
	if err != nil {
		return "", err
	}
	signed, err := k.signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// ServeHTTP answers with the public keys as a JWK set.
func (s *Signer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	_, err := s.current()
	set := jose.JSONWebKeySet{}
	for _, k := range s.keys {
		set.Keys = append(set.Keys, k.public)
	}
	s.mu.Unlock()
	body, bad := json.Marshal(set)
	if err != nil || bad != nil {
		http.Error(w, "the keys cannot be read now", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "public, max-age=3600") // far less than lead
	w.Write(append(body, '\n'))
}
