package invite

import "time"

// FilePath is where a public side makes the key for invitations that say so.
const FilePath = Path + "/file"

// AskPath is where a public side lets somebody without an invitation ask for
// access.
const AskPath = Path + "/ask"

// Bounds on what somebody who asks for access says of themselves, in
// characters.
const (
	MaxWho  = 40
	MaxNote = 140
)

// An AccessRequest is what somebody without an invitation asks for. All that
// they say is their word and nothing more.
type AccessRequest struct {
	// Words recognise the request: its page shows the same ones.
	Words string `json:"words"`
	Who   string `json:"who"`            // at most MaxWho letters that can be printed
	Note  string `json:"note,omitempty"` // at most MaxNote of them
	// Site is the host at whose door they stood; "" where that is not known.
	Site    string    `json:"site,omitempty"`
	Device  string    `json:"device,omitempty"`
	Address string    `json:"address"`
	Since   time.Time `json:"since"`
	Until   time.Time `json:"until"`
}

// ServerKeyHash returns the hash under which the ledger keeps a code with which
// the server may make the key. It differs from Hash, so that nothing beside the
// hash can make another invite one of these.
func (c Code) ServerKeyHash() [32]byte {
	return c.hashAs("postern invite with a key made by the server")
}

// AccessHash returns the hash by which a request for access is known whose
// page holds the secret.
func (c Code) AccessHash() [32]byte {
	return c.hashAs("postern asks for access")
}
