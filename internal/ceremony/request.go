// Package ceremony is what is done with a root's key: what an authority asks
// for, what the root signs of it by its policy, and the transcript that says so.
// Request and answer travel as small files between a running authority and a
// machine without a network. It does no I/O and reads no clock.
package ceremony

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/profile"
)

// The first member of the two files, so that one is never taken for another.
const (
	requestForm = "postern root request 1"
	answerForm  = "postern root answer 1"
)

// MaxFile bounds a request and an answer, in bytes.
const MaxFile = 1 << 20

// Bounds on what one ceremony signs.
const (
	maxIssuers = 16
	maxRevoked = 1000
	maxZones   = 16
)

// A Request is what an authority asks of its root. What stands in it is asked
// for and no more: the root composes everything it signs by its own policy.
type Request struct {
	Form        string `json:"form"`
	TrustDomain string `json:"trust_domain"`
	// Root is the root that is asked, DER; empty when a new authority asks
	// whichever root will be its own.
	Root []byte `json:"root,omitempty"`
	// Before is the hash of the newest transcript that the ledger holds.
	Before ledger.Hash `json:"before,omitzero"`
	// LedgerKey, in the request of a new authority, is the key that will sign
	// its checkpoints.
	LedgerKey ed25519.PublicKey `json:"ledger_key,omitempty"`
	Issuers   []Issuer          `json:"issuers,omitempty"`
	// PublicURL is where the root's list and certificate are served, such as
	// http://pki.example.com; it is printed into the issuers' certificates. ""
	// prints nothing.
	PublicURL string `json:"public_url,omitempty"`
	// List asks for a new revocation list; nil for none.
	List *List `json:"list,omitempty"`
	// Rekey asks that another key sign checkpoints; nil for none.
	Rekey *Rekey `json:"rekey,omitempty"`
	// Retire is the key id of an older root that shall end; zero for none.
	Retire ledger.KeyID `json:"retire,omitzero"`
}

// An Issuer asks for an intermediate. Nothing but a key comes from the one who
// asks; Name says which of the names that the root forms it shall have.
type Issuer struct {
	Name string     `json:"name"`
	Use  ledger.Use `json:"use"`
	Key  []byte     `json:"key"` // SubjectPublicKeyInfo, DER
	// Proof is the key's own signature over all of this.
	Proof []byte `json:"proof"`
	// Zones are further DNS zones that an issuer for servers asks for; the
	// root grants those that its owner permits.
	Zones []string `json:"zones,omitempty"`
}

// A List asks for a revocation list of exactly these issuers' certificates.
type List struct {
	Number  uint64    `json:"number"` // larger than that of the list before
	Revoked []Revoked `json:"revoked,omitempty"`
}

// A Revoked is one certificate on a List.
type Revoked struct {
	Serial ledger.Serial `json:"serial"`
	Name   string        `json:"name"` // of the issuer, for people
	Reason ledger.Reason `json:"reason"`
	At     time.Time     `json:"at"`
}

// A Rekey asks to replace the key that signs checkpoints.
type Rekey struct {
	Old ed25519.PublicKey `json:"old"`
	New ed25519.PublicKey `json:"new"`
}

// Ask returns the request of an issuer whose new key is key.
func Ask(d identity.TrustDomain, name string, use ledger.Use, zones []string, key crypto.Signer) (Issuer, error) {
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return Issuer{}, err
	}
	i := Issuer{Name: name, Use: use, Key: spki, Zones: zones}
	i.Proof, err = ledger.SignMessage(key, i.message(d))
	return i, err
}

func (i Issuer) message(d identity.TrustDomain) []byte {
	return fmt.Appendf(nil, "postern issuer request v1\ntrust domain: %s\nissuer: %s\nuse: %s\nzones: %q\nkey: sha256 %x\n",
		d, i.Name, i.Use, i.Zones, sha256.Sum256(i.Key))
}

// Marshal returns the request as a file.
func (r Request) Marshal() ([]byte, error) {
	r.Form = requestForm
	return marshal(r)
}

func marshal(v any) ([]byte, error) {
	text, err := json.MarshalIndent(v, "", "  ")
	return append(text, '\n'), err
}

// ParseRequest reads what Marshal wrote and checks all that can be checked
// without the root: names, sizes, keys, and that each issuer's key is held by
// the one who asks.
func ParseRequest(file []byte) (Request, error) {
	var r Request
	if err := parse(file, &r); err != nil {
		return Request{}, fmt.Errorf("request: %w", err)
	}
	if err := r.check(); err != nil {
		return Request{}, fmt.Errorf("request: %w", err)
	}
	return r, nil
}

func parse(file []byte, v any) error {
	if len(file) > MaxFile {
		return fmt.Errorf("it has %d bytes, at most %d are read", len(file), MaxFile)
	}
	d := json.NewDecoder(bytes.NewReader(file))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("it cannot be read: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows its end")
	}
	return nil
}

func (r Request) check() error {
	d, err := identity.ParseTrustDomain(r.TrustDomain)
	switch {
	case r.Form != requestForm:
		return fmt.Errorf("it says %q and not %q: it is another file, or of another version", r.Form, requestForm)
	case err != nil || d.String() != r.TrustDomain:
		return errors.New("it names no trust domain")
	case len(r.Issuers) > maxIssuers:
		return fmt.Errorf("it asks for %d issuers, at most %d are signed at once", len(r.Issuers), maxIssuers)
	case len(r.Issuers) == 0 && r.List == nil && r.Rekey == nil && r.Retire == (ledger.KeyID{}) && r.LedgerKey == nil:
		return errors.New("it asks for nothing")
	case r.LedgerKey != nil && len(r.LedgerKey) != ed25519.PublicKeySize:
		return errors.New("its ledger key is no Ed25519 key")
	case r.Rekey != nil && (len(r.Rekey.Old) != ed25519.PublicKeySize || len(r.Rekey.New) != ed25519.PublicKeySize):
		return errors.New("its ledger keys are no Ed25519 keys")
	case r.List != nil && (r.List.Number == 0 || r.List.Number >= 1<<62 || len(r.List.Revoked) > maxRevoked):
		return errors.New("its revocation list has no number, or is too long")
	}
	if err := checkPublicURL(r.PublicURL); err != nil {
		return err
	}
	if r.List != nil {
		for _, revoked := range r.List.Revoked {
			if revoked.Serial.IsZero() || !ledger.IsWord(revoked.Name) {
				return errors.New("its revocation list names a certificate by no serial number or no name")
			}
		}
	}
	for _, i := range r.Issuers {
		if err := i.check(d); err != nil {
			return err
		}
	}
	return nil
}

// checkPublicURL refuses what is no plain address: a list is fetched before
// any certificate can be verified (RFC 5280 section 8).
func checkPublicURL(s string) error {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	printable := !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
	if err != nil || !printable || len(s) > 200 || u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(s, "/") {
		return fmt.Errorf("%q is no address where lists are served: one looks like http://pki.example.com", s)
	}
	return nil
}

func (i Issuer) check(d identity.TrustDomain) error {
	if !ledger.IsWord(i.Name) || ledger.LineOf(i.Name) == i.Name {
		return fmt.Errorf("issuer %q: a name is a word and a number, such as clients-2", i.Name)
	}
	if i.Use != ledger.UseClients && i.Use != ledger.UseServers {
		return fmt.Errorf("issuer %s is neither for clients nor for servers", i.Name)
	}
	if len(i.Zones) > maxZones || len(i.Zones) > 0 && i.Use != ledger.UseServers {
		return fmt.Errorf("issuer %s: zones are for an issuer for servers, and at most %d", i.Name, maxZones)
	}
	if _, err := profile.ParseHosts(i.Zones, nil); err != nil || strings.Contains(strings.Join(i.Zones, ""), "*") {
		return fmt.Errorf("issuer %s: %q are no DNS zones: one looks like example.org", i.Name, i.Zones)
	}
	pub, err := i.public()
	if err != nil {
		return err
	}
	if err := ledger.CheckSignedMessage(pub, i.message(d), i.Proof); err != nil {
		return fmt.Errorf("issuer %s: whoever asks does not hold the key: %w", i.Name, err)
	}
	return nil
}

func (i Issuer) public() (crypto.PublicKey, error) {
	pub, err := profile.ParseKey(i.Key)
	if err == nil {
		err = profile.CheckIssuerKey(pub)
	}
	if err != nil {
		return nil, fmt.Errorf("issuer %s: %w", i.Name, err)
	}
	return pub, nil
}
