// Package refusal holds the one vocabulary for why somebody was turned away:
// the codes, a plain sentence and a remedy for each, and the order in which
// causes are looked for, so that one cause always has one code. The log, the
// metrics, the page a visitor sees and 'postern explain' all speak it.
package refusal

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// A Code names one cause, in lower-case words that never change once
// released. The zero Code is no refusal.
type Code string

// The codes, in the order in which their causes are looked for.
const (
	UnknownHost        Code = "unknown-host"
	Misdirected        Code = "misdirected"
	BadRequest         Code = "bad-request"
	AmbiguousPath      Code = "ambiguous-path"
	MethodNotServed    Code = "method-not-served"
	NoCertificate      Code = "no-certificate"
	BadCertificate     Code = "bad-certificate"
	SelfSigned         Code = "self-signed"
	UnknownIssuer      Code = "unknown-issuer"
	BadChain           Code = "bad-chain"
	WrongPurpose       Code = "wrong-purpose"
	NotYetValid        Code = "not-yet-valid"
	Expired            Code = "expired"
	StaleRoster        Code = "stale-roster"
	IssuerDistrusted   Code = "issuer-distrusted"
	NotInLedger        Code = "not-in-ledger"
	Revoked            Code = "revoked"
	Suspended          Code = "suspended"
	RevocationUnknown  Code = "revocation-unknown"
	NoIdentity         Code = "no-identity"
	NotOnList          Code = "not-on-list"
	Condition          Code = "condition"
	CrossSite          Code = "cross-site"
	RateLimited        Code = "rate-limited"
	OriginNotAllowed   Code = "origin-not-allowed"
	NotHTTP            Code = "not-http"
	PlainHTTP          Code = "plain-http"
	OldTLS             Code = "old-tls"
	HeaderTooLarge     Code = "header-too-large"
	BodyStalled        Code = "body-stalled"
	BodyTooLarge       Code = "body-too-large"
	UpstreamDown       Code = "upstream-down"
	UpstreamTimeout    Code = "upstream-timeout"
	NotEnrolled        Code = "not-enrolled"
	BadToken           Code = "bad-token"
	NotConfigured      Code = "not-configured"
	HandshakeAbandoned Code = "handshake-abandoned"
)

// An Info is what one code means to the people who meet it.
type Info struct {
	Code Code
	// Status is the HTTP status of the answer.
	Status int
	// Title is a few words for a page's heading.
	Title string
	// Sentence says what happened, to the visitor.
	Sentence string
	// VisitorRemedy says what the visitor can do.
	VisitorRemedy string
	// OperatorRemedy says what the operator can do, with the command to type.
	OperatorRemedy string
	// Alarm marks what means theft: it is logged at error level.
	Alarm bool
}

// Lookup returns what code means. An unknown code is answered with a refusal
// that says so, so that a caller never lets anybody in for want of a text.
func Lookup(code Code) Info {
	if i := slices.IndexFunc(catalogue, func(i Info) bool { return i.Code == code }); i >= 0 {
		return catalogue[i]
	}
	return Info{
		Code: code, Status: http.StatusForbidden, Title: "Not allowed",
		Sentence:       "The request was refused.",
		VisitorRemedy:  "Give the reference below to the person who runs this site.",
		OperatorRemedy: "This code is not known to this version of postern: update it.",
	}
}

// All returns every code with its meaning, in the order in which the causes
// are looked for.
func All() []Info { return slices.Clone(catalogue) }

// A Reference is the short name of one refusal that a person can read out,
// such as K7QM-2XPA: forty random bits in Crockford's alphabet, which has no
// letter that is taken for a digit. References compare with ==; the zero
// Reference refers to nothing.
type Reference struct{ s string }

const (
	referenceAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	referenceLen      = 8
)

// NewReference draws a reference.
func NewReference() Reference {
	var b [referenceLen]byte
	rand.Read(b[:])
	for i := range b {
		b[i] = referenceAlphabet[b[i]&31]
	}
	return Reference{string(b[:4]) + "-" + string(b[4:])}
}

// ParseReference reads a reference as people write one: in either case, with
// or without the dash, with O for 0 and I or L for 1.
func ParseReference(s string) (Reference, error) {
	clean := strings.NewReplacer("-", "", " ", "", "O", "0", "I", "1", "L", "1").Replace(strings.ToUpper(s))
	if len(clean) != referenceLen {
		return Reference{}, fmt.Errorf("%q is not a reference: one looks like K7QM-2XPA", s)
	}
	for _, r := range clean {
		if !strings.ContainsRune(referenceAlphabet, r) {
			return Reference{}, fmt.Errorf("%q is not a reference: %q does not occur in one", s, r)
		}
	}
	return Reference{clean[:4] + "-" + clean[4:]}, nil
}

// String returns the reference as it is shown; the zero Reference is "".
func (r Reference) String() string { return r.s }

// IsZero reports whether r refers to nothing.
func (r Reference) IsZero() bool { return r.s == "" }

// MarshalText returns the reference as it is shown.
func (r Reference) MarshalText() ([]byte, error) { return []byte(r.s), nil }

// UnmarshalText parses text as ParseReference does; empty text is the zero
// Reference.
func (r *Reference) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*r = Reference{}
		return nil
	}
	parsed, err := ParseReference(string(text))
	if err != nil {
		return err
	}
	*r = parsed
	return nil
}
