package ledger

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/postern-project/postern/internal/identity"
)

// What a root signs beside certificates and lists are texts that begin with
// "postern" and their kind, so that none can be taken for another, nor for a
// certificate or a checkpoint.

// AddedMessage returns what the root before signs to make next its successor.
func AddedMessage(d identity.TrustDomain, before, next *x509.Certificate) []byte {
	return fmt.Appendf(nil, "postern root added v1\ntrust domain: %s\nroot: sha256 %x\nafter: sha256 %x\n",
		d, sha256.Sum256(next.Raw), sha256.Sum256(before.Raw))
}

// RetiredMessage returns what the newest root signs to end another.
func RetiredMessage(d identity.TrustDomain, old KeyID) []byte {
	return fmt.Appendf(nil, "postern root retired v1\ntrust domain: %s\nroot key: sha256 %x\n", d, old)
}

// LedgerKeyMessage returns what the newest root signs to replace the key of
// the checkpoints.
func LedgerKeyMessage(d identity.TrustDomain, from, to ed25519.PublicKey) []byte {
	return fmt.Appendf(nil, "postern ledger key v1\ntrust domain: %s\nold: ed25519 %x\nnew: ed25519 %x\n", d, []byte(from), []byte(to))
}

// CeremonyMessage returns what a root signs to vouch for a transcript.
func CeremonyMessage(transcript []byte) []byte {
	return fmt.Appendf(nil, "postern ceremony v1\ntranscript: sha256 %x\n", sha256.Sum256(transcript))
}

// SignMessage signs one of the messages above with a root's key.
func SignMessage(root crypto.Signer, message []byte) ([]byte, error) {
	_, digest, opts, err := scheme(root.Public(), message)
	if err != nil {
		return nil, err
	}
	return root.Sign(rand.Reader, digest, opts)
}

// CheckMessage returns an error unless root has signed message.
func CheckMessage(root *x509.Certificate, message, signature []byte) error {
	return CheckSignedMessage(root.PublicKey, message, signature)
}

// CheckSignedMessage returns an error unless pub's key has signed message.
func CheckSignedMessage(pub crypto.PublicKey, message, signature []byte) error {
	algorithm, _, _, err := scheme(pub, message)
	if err != nil {
		return err
	}
	if err := (&x509.Certificate{PublicKey: pub}).CheckSignature(algorithm, message, signature); err != nil {
		return errors.New("the signature on it does not hold")
	}
	return nil
}
