package join

import (
	"context"
	"crypto"
	"fmt"

	"github.com/postern-project/postern/internal/keys"
)

// A born is a key that was just made, with what asks for its certificate.
type born struct {
	pub    crypto.PublicKey
	csr    string        // PEM
	signer crypto.Signer // nil when the store of Windows keeps the key
}

// A home is where an identity's key lives when that is no file.
type home struct {
	tpm   string   // the device of a TPM
	store *windows // nil: not there
}

// bound reports whether the key stays where it was made, so that there is none
// to copy.
func (s State) bound() bool { return s.TPM != "" || s.Store != "" }

// none reports whether the key is in a file, which can be copied.
func (h home) none() bool { return h.tpm == "" && h.store == nil }

// born makes a key by make, unless it is made where it lives.
func (h home) born(ctx context.Context, s *stage, make func() (crypto.Signer, error)) (born, error) {
	if h.store != nil {
		b, err := h.store.makeKey(ctx, s.dir)
		if err != nil {
			return born{}, err
		}
		return b, s.reserve(nil)
	}
	if h.tpm != "" {
		make = func() (crypto.Signer, error) { return keys.MakeTPMFile(h.tpm) }
	}
	key, err := make()
	if err != nil {
		return born{}, err
	}
	if err := s.reserve(key); err != nil {
		return born{}, err
	}
	csr, err := requestPEM(key)
	return born{key.Public(), csr, key}, err
}

// describe notes where the key lives.
func (h home) describe(s State) State {
	s.TPM = h.tpm
	if h.store != nil {
		s.Store = storeName
	}
	return s
}

// homeOf returns where the key of an identity lives, by its postern.json.
func homeOf(s State) (home, error) {
	h := home{tpm: s.TPM}
	switch s.Store {
	case "":
	case storeName:
		h.store = &windows{}
	default:
		return h, fmt.Errorf("%s says that the key is in a store named %q, which this postern does not know: use the newer one that wrote it", StateFile, s.Store)
	}
	return h, nil
}
