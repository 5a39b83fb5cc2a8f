package invite

import "time"

// What goes over the wire when an invitation is used or a certificate is
// renewed: JSON both ways, errors as problem details (RFC 9457).

// MaxRequest is the largest request that a server reads, in bytes.
const MaxRequest = 16 << 10

// A Request asks for a certificate: with a code at Path, or without one over
// mutual TLS at a renewal address.
type Request struct {
	Code string `json:"code,omitempty"`
	// CSR is a PKCS#10 request in PEM. It contributes a public key and
	// nothing else.
	CSR string `json:"csr"`
	// Proof is what ProveRenewal makes, in a renewal by whoever can sign with
	// the old key.
	Proof []byte `json:"proof,omitempty"`
}

// An Answer is a certificate with all that its holder needs.
type Answer struct {
	TrustDomain string    `json:"trust_domain"`
	Name        string    `json:"name"`
	Profile     string    `json:"profile"`
	Serial      string    `json:"serial"` // lower-case hex
	NotBefore   time.Time `json:"not_before"`
	NotAfter    time.Time `json:"not_after"`
	// Certificate is the leaf, then its issuer, in PEM.
	Certificate string `json:"certificate"`
	// Root is the newest root in PEM.
	Root string `json:"root"`
	// Roots are all roots that are trusted, newest first, in PEM. While one
	// follows another, Certificate also holds what leads from one to the other.
	Roots string `json:"roots,omitempty"`
	// Renew are addresses that renew the certificate; the first that
	// answers will do.
	Renew []string `json:"renew,omitempty"`
	// Sites are addresses that the name may open, at the time of the answer.
	Sites []string `json:"sites,omitempty"`
	// Notes are remarks on the request, such as names that were ignored.
	Notes []string `json:"notes,omitempty"`
}

// A Problem is a refusal.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	// Detail says what happened and what to do.
	Detail string `json:"detail,omitempty"`
	// Code is a word that never changes, such as expired.
	Code string `json:"code"`
	// Words recognise a request that waits for approval; else they are empty.
	Words string `json:"words,omitempty"`
}

// ProblemType is the media type of a Problem.
const ProblemType = "application/problem+json"

// ReportPath is where the page of an invitation tells how far it has come.
const ReportPath = Path + "/report"

// ProfilePath is where an Apple device gets the configuration profile of an
// invitation, and StatePath where the page asks what the invitation is for.
const (
	ProfilePath = Path + "/profile"
	StatePath   = Path + "/state"
)

// A State is what an invitation is for while it can be used. To ask for it takes
// the code, and spends nothing.
type State struct {
	Name string `json:"name"`
	// Sites are the addresses that the name may open.
	Sites []string `json:"sites,omitempty"`
}

// RootPath is where a public side serves its root, DER, for those to whom the
// handshake did not show it. Whoever fetches it compares it with a pin.
const RootPath = Path + "/root.crt"
