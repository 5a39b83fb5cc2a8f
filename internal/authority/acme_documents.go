package authority

import (
	"encoding/json"
	"time"

	"github.com/postern-project/postern/internal/ledger"
)

// The documents that the ACME server keeps: its accounts, orders and
// authorizations. The authority believes nothing in them; it is their keeper.

// The kinds of ACME documents.
const (
	ACMEKindAccount       = "account"
	ACMEKindOrder         = "order"
	ACMEKindAuthorization = "authorization"
)

// An ACMEAccount is an account as the ACME server knows it.
type ACMEAccount struct {
	ID      string          `json:"id"`
	Profile string          `json:"profile"`
	Key     json.RawMessage `json:"key"` // JWK
	Contact []string        `json:"contact,omitempty"`
	Status  string          `json:"status"`
	Agreed  bool            `json:"terms_agreed,omitempty"`
	Created time.Time       `json:"created"`
	Name    string          `json:"name,omitempty"` // the identity it stands for
	Binding json.RawMessage `json:"binding,omitempty"`
}

// An ACMEOrder is an order with all that came of it.
type ACMEOrder struct {
	ID             string           `json:"id"`
	Account        string           `json:"account"`
	Profile        string           `json:"profile"`
	Status         string           `json:"status"`
	Identifiers    []ACMEIdentifier `json:"identifiers"`
	Authorizations []string         `json:"authorizations"`
	Created        time.Time        `json:"created"`
	Expires        time.Time        `json:"expires"`
	Replaces       string           `json:"replaces,omitempty"`
	Serial         ledger.Serial    `json:"serial,omitzero"` // of its certificate
	Error          *ACMEProblem     `json:"error,omitempty"`
}

// An ACMEAuthorization is an account's authorization for one host.
type ACMEAuthorization struct {
	ID         string          `json:"id"`
	Account    string          `json:"account"`
	Order      string          `json:"order"`
	Identifier ACMEIdentifier  `json:"identifier"` // without a wildcard
	Wildcard   bool            `json:"wildcard,omitempty"`
	Status     string          `json:"status"`
	Expires    time.Time       `json:"expires"`
	Challenges []ACMEChallenge `json:"challenges"`
	Evidence   *ACMEEvidence   `json:"evidence,omitempty"` // once it is valid
}

// An ACMEChallenge is one way to prove the control of a host.
type ACMEChallenge struct {
	Type      string        `json:"type"`
	Token     string        `json:"token"`
	Status    string        `json:"status"`
	Validated time.Time     `json:"validated,omitzero"`
	Error     *ACMEProblem  `json:"error,omitempty"`
	Attempts  []ACMEAttempt `json:"attempts,omitempty"`
}

// An ACMEAttempt is one try at a validation: what was dialled, what came back
// and what was expected.
type ACMEAttempt struct {
	At       time.Time `json:"at"`
	Steps    []string  `json:"steps"` // in the past tense
	Expected string    `json:"expected,omitempty"`
	Seen     string    `json:"seen,omitempty"`
	OK       bool      `json:"ok"`
}

// An ACMEProblem is a problem document (RFC 7807, RFC 8555 section 6.7).
type ACMEProblem struct {
	Type        string           `json:"type"`
	Detail      string           `json:"detail"`
	Status      int              `json:"status,omitempty"`
	Identifier  *ACMEIdentifier  `json:"identifier,omitempty"`
	Subproblems []ACMESubproblem `json:"subproblems,omitempty"`
	Algorithms  []string         `json:"algorithms,omitempty"` // badSignatureAlgorithm
}

// An ACMESubproblem says what is wrong with one identifier.
type ACMESubproblem struct {
	Type       string          `json:"type"`
	Detail     string          `json:"detail"`
	Identifier *ACMEIdentifier `json:"identifier,omitempty"`
}
