package ledger

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/postern-project/postern/internal/identity"
)

// A Checkpoint says how long the ledger is and what it holds: the root of the
// tree of its first Size entries.
type Checkpoint struct {
	Origin string // which ledger, as Origin returns it
	Size   uint64
	Root   Hash
}

// Origin returns the name under which the ledger of d signs in an epoch, such
// as example.com/ledger/0. An epoch ends when an older copy is put back.
func Origin(d identity.TrustDomain, epoch uint64) string {
	return d.String() + "/ledger/" + strconv.FormatUint(epoch, 10)
}

// text returns the body of the note: three lines (C2SP tlog-checkpoint, "Note
// text").
func (c Checkpoint) text() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, base64.StdEncoding.EncodeToString(c.Root[:]))
}

// parseCheckpoint reads what text returns and nothing else.
func parseCheckpoint(text string) (Checkpoint, error) {
	malformed := errors.New("the note is no checkpoint: it has an origin, a size and a root, each on its line")
	lines := strings.Split(text, "\n")
	if len(lines) != 4 {
		return Checkpoint{}, malformed
	}
	size, err := strconv.ParseUint(lines[1], 10, 64)
	if err != nil {
		return Checkpoint{}, malformed
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != len(Hash{}) {
		return Checkpoint{}, malformed
	}
	c := Checkpoint{Origin: lines[0], Size: size, Root: Hash(root)}
	if c.text() != text {
		return Checkpoint{}, malformed
	}
	return c, nil
}

// A Signer signs the checkpoints of one ledger and epoch. It is safe for
// concurrent use.
type Signer struct {
	origin string
	hash   uint32
	key    ed25519.PrivateKey
}

// NewSigner returns the signer of origin, which Origin made.
func NewSigner(origin string, key ed25519.PrivateKey) (*Signer, error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("ledger key of %d bytes: an Ed25519 key has %d", len(key), ed25519.PrivateKeySize)
	}
	v, err := verifier(origin, key.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, err
	}
	return &Signer{origin: origin, hash: v.KeyHash(), key: key}, nil
}

// Public returns the key that OpenCheckpoint asks for.
func (s *Signer) Public() ed25519.PublicKey { return s.key.Public().(ed25519.PublicKey) }

// Sign returns c as a signed note (C2SP signed-note), with the signer's origin
// in place of c.Origin.
func (s *Signer) Sign(c Checkpoint) ([]byte, error) {
	c.Origin = s.origin
	return note.Sign(&note.Note{Text: c.text()}, noteSigner{s})
}

// noteSigner shows a Signer to the note package.
type noteSigner struct{ s *Signer }

func (n noteSigner) Name() string                    { return n.s.origin }
func (n noteSigner) KeyHash() uint32                 { return n.s.hash }
func (n noteSigner) Sign(msg []byte) ([]byte, error) { return ed25519.Sign(n.s.key, msg), nil }

func verifier(origin string, pub ed25519.PublicKey) (note.Verifier, error) {
	if len(pub) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("ledger key of %d bytes: a public Ed25519 key has %d", len(pub), ed25519.PublicKeySize)
	}
	text, err := note.NewEd25519VerifierKey(origin, pub)
	if err != nil {
		return nil, fmt.Errorf("ledger origin %q: %w", origin, err)
	}
	v, err := note.NewVerifier(text)
	if err != nil {
		return nil, fmt.Errorf("ledger origin %q: %w", origin, err)
	}
	return v, nil
}

// OpenCheckpoint returns the checkpoint in a note that pub signed for origin.
// It accepts exactly the bytes that Sign returns: a note with other or further
// lines, however harmless, is refused.
func OpenCheckpoint(noteBytes []byte, origin string, pub ed25519.PublicKey) (Checkpoint, error) {
	v, err := verifier(origin, pub)
	if err != nil {
		return Checkpoint{}, err
	}
	text, err := openNote(noteBytes, v)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("checkpoint of %s: %w", origin, err)
	}
	c, err := parseCheckpoint(text)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("checkpoint of %s: %w", origin, err)
	}
	if c.Origin != origin {
		return Checkpoint{}, fmt.Errorf("checkpoint of %s where that of %s was expected", c.Origin, origin)
	}
	return c, nil
}

// openNote returns the text of a note that v's key signed, if the note is
// byte for byte as Sign writes one.
func openNote(noteBytes []byte, v note.Verifier) (text string, err error) {
	n, err := note.Open(noteBytes, note.VerifierList(v))
	if err != nil {
		return "", err
	}
	// Base64 leaves two bits of a signature's last character unused, so two
	// texts can hold one signature.
	sig, err := base64.StdEncoding.DecodeString(n.Sigs[0].Base64)
	if err != nil || !bytes.Equal(noteBytes, signed(n.Text, v.Name(), sig)) {
		return "", errors.New("the note is not written as it was signed")
	}
	return n.Text, nil
}

// signed returns a note with one signature as the note package writes it.
func signed(text, name string, sig []byte) []byte {
	return fmt.Appendf(nil, "%s\n— %s %s\n", text, name, base64.StdEncoding.EncodeToString(sig))
}
