package keys

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"

	"filippo.io/age"
)

// The work factors of scrypt, as powers of two: a drawn passphrase has enough
// bits by itself, a person's own needs a dear search. maxWork bounds what an
// exchanged file can make us compute.
const (
	workGenerated = 15
	workOwn       = 18
	maxWork       = 20
)

// ErrWrongPassphrase says that a sealed key does not open with the passphrase.
var ErrWrongPassphrase = errors.New("wrong passphrase: the sealed key stays closed")

// Seal writes k to a new file at path, encrypted to p with age, mode 0600. The
// key itself touches no disk. Generated says that p was drawn by NewPassphrase.
// Like WritePrivate it never writes over a file.
func Seal(path string, k crypto.Signer, p Passphrase, generated bool) error {
	if p.IsZero() {
		return errors.New("seal key: the passphrase is empty")
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return fmt.Errorf("seal key %s: %w", path, err)
	}
	defer clear(der)
	sealed, err := seal(der, p, generated)
	if err != nil {
		return fmt.Errorf("seal key %s: %w", path, err)
	}
	if err := writeNew(path, sealed); err != nil {
		return fmt.Errorf("seal key: %w", err)
	}
	return nil
}

func seal(der []byte, p Passphrase, generated bool) ([]byte, error) {
	recipient, err := age.NewScryptRecipient(p.Reveal())
	if err != nil {
		return nil, err
	}
	recipient.SetWorkFactor(workOwn)
	if generated {
		recipient.SetWorkFactor(workGenerated)
	}
	var out bytes.Buffer
	w, err := age.Encrypt(&out, recipient)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(der); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// Unseal opens the key that Seal wrote. The wrong passphrase gives an error
// for which errors.Is(err, ErrWrongPassphrase) holds.
func Unseal(path string, p Passphrase) (crypto.Signer, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("unseal key: %w", err)
	}
	defer f.Close()
	k, err := unseal(f, p)
	if err != nil {
		return nil, fmt.Errorf("unseal key %s: %w", path, err)
	}
	return k, nil
}

func unseal(sealed io.Reader, p Passphrase) (crypto.Signer, error) {
	if p.IsZero() {
		return nil, ErrWrongPassphrase
	}
	id, err := age.NewScryptIdentity(p.Reveal())
	if err != nil {
		return nil, ErrWrongPassphrase
	}
	id.SetMaxWorkFactor(maxWork)
	r, err := age.Decrypt(io.LimitReader(sealed, maxFile), id)
	if _, ok := errors.AsType[*age.NoIdentityMatchError](err); ok {
		return nil, ErrWrongPassphrase
	}
	if err != nil {
		return nil, fmt.Errorf("%w: take the file from the place where you keep the root", err)
	}
	der, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("%w: take the file from the place where you keep the root", err)
	}
	defer clear(der)
	return parsePKCS8(der)
}
