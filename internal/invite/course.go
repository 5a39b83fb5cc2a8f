package invite

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"time"

	"github.com/sethvargo/go-diceware/diceware"
)

// GuardedHash returns the hash under which the ledger keeps a code whose use
// an operator has to approve. It differs from Hash, so that nothing beside the
// hash can make an invite need approval no more.
func (c Code) GuardedHash() [32]byte {
	return c.hashAs("postern invite to be approved")
}

// wordCount is how many words stand for a request: each holds ten bits.
const wordCount = 4

// Words returns the words by which two people recognise a request: the same
// ones on the device that asks and at the operator's terminal. They depend on
// the hash that the ledger keeps and on the key that asks (DER).
func Words(code [32]byte, spki []byte) string {
	sum := sha256.Sum256(append(append([]byte("postern words\n"), code[:]...), spki...))
	list := diceware.WordListEffSmall()
	words := make([]string, wordCount)
	for i := range words {
		draw, at := binary.BigEndian.Uint32(sum[4*i:]), 0
		for range list.Digits() { // the list is numbered by dice: digits from 1 to 6
			at = 10*at + int(draw%6) + 1
			draw /= 6
		}
		words[i] = list.WordAt(at)
	}
	return strings.Join(words, "-")
}

// A Report is what the page of an invitation tells while it is used. It holds
// the code's hash and not the code, so that it spends nothing.
type Report struct {
	// Invite is the SHA-256 of the code's 16 bytes, in hex.
	Invite string `json:"invite"`
	// Step is StepOpened or StepKey.
	Step string `json:"step"`
	// Device is what the device says that it is.
	Device string `json:"device"`
}

// The steps of an invitation.
const (
	StepOpened  = "opened"  // the page was opened
	StepKey     = "key"     // the key was made
	StepWaiting = "waiting" // the operator has to approve
	StepIssued  = "issued"  // the certificate is out
	StepVisit   = "visit"   // it was used for the first time
)

// A Step is one thing that happened to an invitation.
type Step struct {
	At   time.Time `json:"at"`
	Step string    `json:"step"`
	// Device is what the device says that it is, for StepOpened.
	Device string `json:"device,omitempty"`
	// Serial is the certificate's, for StepIssued.
	Serial string `json:"serial,omitempty"`
	// Site is the host that was visited, for StepVisit.
	Site string `json:"site,omitempty"`
}

// A Waiting is a key that waits for an operator's yes.
type Waiting struct {
	// Invite is the hash under which the ledger keeps the code, in hex.
	Invite string `json:"invite"`
	// PublicKey is the key that asks, a SubjectPublicKeyInfo, DER.
	PublicKey []byte    `json:"public_key"`
	Device    string    `json:"device"`
	Since     time.Time `json:"since"`
}
