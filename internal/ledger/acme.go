package ledger

import (
	"fmt"
	"time"

	"github.com/postern-project/postern/internal/identity"
)

// The kinds that the ACME server's accounts make.
const (
	KindACMEKeyCreated        Kind = 40
	KindACMEAccountBound      Kind = 41
	KindACMEAccountRekeyed    Kind = 42
	KindACMEKeyCancelled      Kind = 43
	KindACMECertificateIssued Kind = 44
)

// ACMEKeyCreated allows whoever holds the key for external account binding
// (RFC 8555 section 7.3.4) to bind one ACME account to the name.
type ACMEKeyCreated struct {
	// Key is the key's identifier, and later its account's. It is no secret.
	Key     string
	Name    identity.Name
	Profile string
	// Hosts are the only names and networks that the account gets certificates
	// for, as permit.ParsePattern reads them; none means all that the profile
	// allows.
	Hosts   []string
	Expires time.Time // no account is bound from then on
}

// ACMEAccountBound spends a key on an account.
type ACMEAccountBound struct {
	Key        string
	Thumbprint Hash // of the account's key, RFC 7638
}

// ACMEAccountRekeyed gives an account another key (RFC 8555 section 7.3.5).
type ACMEAccountRekeyed struct {
	Key        string
	Thumbprint Hash
}

// ACMEKeyCancelled ends a key, and with it the account that it was spent on.
type ACMEKeyCancelled struct{ Key string }

// ACMECertificateIssued says which order of which account the certificate
// issued in the entry before it was for. An order gets one certificate.
type ACMECertificateIssued struct {
	Order   string
	Account string
	TBS     Hash
}

// Kind returns KindACMEKeyCreated.
func (ACMEKeyCreated) Kind() Kind { return KindACMEKeyCreated }

func (a ACMEKeyCreated) encode(e *encoder) {
	e.text(a.Key)
	e.name(a.Name)
	e.text(a.Profile)
	writeList(e, a.Hosts, e.text)
	e.time(a.Expires)
}

func decodeACMEKeyCreated(d *decoder) Body {
	return ACMEKeyCreated{Key: d.word(), Name: d.name(), Profile: d.word(), Hosts: list(d, maxItems, d.host), Expires: d.time()}
}

// Kind returns KindACMEAccountBound.
func (ACMEAccountBound) Kind() Kind { return KindACMEAccountBound }

func (a ACMEAccountBound) encode(e *encoder) {
	e.text(a.Key)
	e.hash(a.Thumbprint)
}

func decodeACMEAccountBound(d *decoder) Body {
	return ACMEAccountBound{Key: d.word(), Thumbprint: d.thumbprint()}
}

// Kind returns KindACMEAccountRekeyed.
func (ACMEAccountRekeyed) Kind() Kind { return KindACMEAccountRekeyed }

func (a ACMEAccountRekeyed) encode(e *encoder) {
	e.text(a.Key)
	e.hash(a.Thumbprint)
}

func decodeACMEAccountRekeyed(d *decoder) Body {
	return ACMEAccountRekeyed{Key: d.word(), Thumbprint: d.thumbprint()}
}

// Kind returns KindACMEKeyCancelled.
func (ACMEKeyCancelled) Kind() Kind { return KindACMEKeyCancelled }

func (a ACMEKeyCancelled) encode(e *encoder) { e.text(a.Key) }

func decodeACMEKeyCancelled(d *decoder) Body { return ACMEKeyCancelled{Key: d.word()} }

// Kind returns KindACMECertificateIssued.
func (ACMECertificateIssued) Kind() Kind { return KindACMECertificateIssued }

func (a ACMECertificateIssued) encode(e *encoder) {
	e.text(a.Order)
	e.text(a.Account)
	e.hash(a.TBS)
}

func decodeACMECertificateIssued(d *decoder) Body {
	return ACMECertificateIssued{Order: d.word(), Account: d.word(), TBS: d.hash()}
}

// thumbprint reads the hash of a key; zero is nobody's.
func (d *decoder) thumbprint() Hash {
	h := d.hash()
	if d.err == nil && h.IsZero() {
		d.fail(fmt.Errorf("a thumbprint of zeros"))
	}
	return h
}
