package ceremony

import (
	"crypto/sha256"
	"fmt"

	"github.com/postern-project/postern/internal/ledger"
)

// An Answer is what a root has signed. Nothing in it is believed for standing
// there: every part carries the root's signature, which the ledger checks.
type Answer struct {
	Form string `json:"form"`
	// Request is the SHA-256 of the request's file; zero for a succession,
	// which nobody asked for by file.
	Request ledger.Hash `json:"request,omitzero"`
	Root    []byte      `json:"root"` // the root that signed, DER
	// Genesis is the signature that begins a ledger.
	Genesis []byte   `json:"genesis,omitempty"`
	Issuers [][]byte `json:"issuers,omitempty"` // DER, in the order of the request
	List    []byte   `json:"list,omitempty"`    // DER
	Rekey   []byte   `json:"rekey,omitempty"`   // signature
	Retire  []byte   `json:"retire,omitempty"`  // signature
	// Successor makes another root follow Root; nil for none.
	Successor *ledger.RootAdded `json:"successor,omitempty"`
	// Transcript says in words what was signed, and Signature is the root's
	// own on it.
	Transcript string `json:"transcript"`
	Signature  []byte `json:"signature"`
}

// Marshal returns the answer as a file.
func (a Answer) Marshal() ([]byte, error) {
	a.Form = answerForm
	return marshal(a)
}

// ParseAnswer reads what Marshal wrote.
func ParseAnswer(file []byte) (Answer, error) {
	var a Answer
	if err := parse(file, &a); err != nil {
		return Answer{}, fmt.Errorf("answer: %w", err)
	}
	if a.Form != answerForm {
		return Answer{}, fmt.Errorf("answer: it says %q and not %q: it is another file, or of another version", a.Form, answerForm)
	}
	return a, nil
}

// Answers returns an error unless a answers the request in file.
func (a Answer) Answers(file []byte) error {
	if a.Request != ledger.Hash(sha256.Sum256(file)) {
		return fmt.Errorf("the answer belongs to another request: take the one that was made of this one")
	}
	return nil
}

// Recorded returns the entry that keeps the transcript.
func (a Answer) Recorded() ledger.CeremonyRecorded {
	return ledger.CeremonyRecorded{Transcript: []byte(a.Transcript), RootSignature: a.Signature}
}
