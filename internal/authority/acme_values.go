package authority

import (
	"encoding/json"
	"net/netip"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/permit"
)

// An ACMEKeyRequest asks for a key for external account binding: its holder
// can make one ACME account, whose certificates are those of the name.
type ACMEKeyRequest struct {
	Name    identity.Name `json:"name"`
	Profile string        `json:"profile"`         // "" means server
	Hosts   []string      `json:"hosts,omitempty"` // patterns; none: all that the profile allows
	TTL     time.Duration `json:"ttl,omitempty"`   // until an account is made; zero: 24 hours
}

// An ACMEKey is a key for external account binding. MAC is a secret: it is
// shown once and kept nowhere, since it can be derived again.
type ACMEKey struct {
	Key     string        `json:"key"` // the kid
	MAC     string        `json:"mac"` // base64url
	Name    identity.Name `json:"name"`
	Profile string        `json:"profile"`
	Hosts   []string      `json:"hosts,omitempty"`
	Expires time.Time     `json:"expires"`
}

// An ACMEBinding binds an account's key to a name.
type ACMEBinding struct {
	Profile string `json:"profile"`
	// Message is the externalAccountBinding, a JWS with a MAC over the
	// account's key; URL is that of the request it came in.
	Message json.RawMessage `json:"message"`
	URL     string          `json:"url"`
	Account json.RawMessage `json:"account_key"` // JWK
}

// An ACMEHolder is whom an account stands for.
type ACMEHolder struct {
	Account string           `json:"account"`
	Name    identity.Name    `json:"name"`
	Hosts   []permit.Pattern `json:"-"`
}

// An ACMEProof is a request that an account's key has signed, as it came.
type ACMEProof struct {
	Profile string          `json:"profile"`
	Account string          `json:"account"`
	Key     json.RawMessage `json:"account_key"` // JWK that signed
	Message json.RawMessage `json:"message"`     // JWS
	URL     string          `json:"url"`         // that it was sent to
	From    netip.Addr      `json:"from,omitzero"`
}

// An ACMEAsk asks whether an account may have hosts.
type ACMEAsk struct {
	Profile string           `json:"profile"`
	Account string           `json:"account"`
	From    netip.Addr       `json:"from,omitzero"`
	Hosts   []ACMEIdentifier `json:"hosts"`
	Key     [32]byte         `json:"thumbprint"`
}

// An ACMEIdentifier is a host as ACME writes it: of type dns or ip.
type ACMEIdentifier struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

// An ACMEIssueRequest asks for the certificate of an order. The proof is the
// finalize request: its payload holds the certificate request.
type ACMEIssueRequest struct {
	ACMEProof
	Order    string           `json:"order"`
	Hosts    []ACMEIdentifier `json:"hosts"`
	Evidence []ACMEEvidence   `json:"evidence"` // one for each host
	// Replaces is the certificate that this one comes after; zero for none.
	Replaces ledger.Serial `json:"replaces,omitzero"`
}

// ACMEEvidence is what a validation has seen: the authority compares it again
// with what it has to be.
type ACMEEvidence struct {
	Host      ACMEIdentifier `json:"host"`
	Challenge string         `json:"challenge"` // http-01, dns-01 or tls-alpn-01
	Token     string         `json:"token"`
	// Key is the thumbprint of the account's key at that time.
	Key [32]byte `json:"thumbprint"`
	// Seen is the body of http-01, the record of dns-01, or the digest of
	// tls-alpn-01 in base64url.
	Seen    string    `json:"seen"`
	Address string    `json:"address,omitempty"` // that answered; "" for dns-01
	At      time.Time `json:"at"`
}

// An ACMERevocation withdraws a certificate: the proof's key is the account's,
// or that of the certificate when Account is empty.
type ACMERevocation struct {
	ACMEProof
	// Evidence lets an account revoke what another was issued: it holds one
	// for every host of the certificate.
	Evidence []ACMEEvidence `json:"evidence,omitempty"`
}
