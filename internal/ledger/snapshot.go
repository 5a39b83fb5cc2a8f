package ledger

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// A Seal says of what ledger something was worked out that is kept beside it:
// its length, its root, and the SHA-256 of what was worked out.
type Seal struct {
	Size   uint64
	Root   Hash
	Digest Hash
}

// sealed names what a seal stands under. No checkpoint does: its note has
// another name and another number of lines.
func sealed(origin string) string { return origin + "/roster" }

func (s Seal) text(name string) string {
	return fmt.Sprintf("%s\n%d\n%s\n%s\n", name, s.Size, base64.StdEncoding.EncodeToString(s.Root[:]), base64.StdEncoding.EncodeToString(s.Digest[:]))
}

// SignSeal returns a seal as a signed note (C2SP signed-note).
func (s *Signer) SignSeal(seal Seal) ([]byte, error) {
	by, err := NewSigner(sealed(s.origin), s.key)
	if err != nil {
		return nil, err
	}
	return note.Sign(&note.Note{Text: seal.text(by.origin)}, noteSigner{by})
}

// OpenSeal returns the seal in a note that pub signed for the ledger of origin.
// It accepts exactly the bytes that SignSeal returns.
func OpenSeal(noteBytes []byte, origin string, pub ed25519.PublicKey) (Seal, error) {
	name := sealed(origin)
	v, err := verifier(name, pub)
	if err != nil {
		return Seal{}, err
	}
	text, err := openNote(noteBytes, v)
	if err != nil {
		return Seal{}, fmt.Errorf("seal of %s: %w", name, err)
	}
	seal, err := parseSeal(text, name)
	if err != nil {
		return Seal{}, fmt.Errorf("seal of %s: %w", name, err)
	}
	return seal, nil
}

func parseSeal(text, name string) (s Seal, err error) {
	lines := strings.Split(text, "\n")
	if len(lines) == 5 {
		size, errSize := strconv.ParseUint(lines[1], 10, 64)
		root, errRoot := base64.StdEncoding.DecodeString(lines[2])
		digest, errDigest := base64.StdEncoding.DecodeString(lines[3])
		if errors.Join(errSize, errRoot, errDigest) == nil && len(root) == len(s.Root) && len(digest) == len(s.Digest) {
			s = Seal{size, Hash(root), Hash(digest)}
		}
	}
	if s.text(name) != text {
		return Seal{}, errors.New("the note is no seal: it has a name, a size, a root and a digest, each on its line")
	}
	return s, nil
}
