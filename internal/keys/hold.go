package keys

import (
	"crypto"
	"errors"
)

// A Held is a private key that is open for use, wherever it lives. Close lets
// it go; it signs nothing after that.
type Held interface {
	crypto.Signer
	Close() error
}

// Ask asks a person for the secret that opens a key: a passphrase or a PIN.
// What says which.
type Ask func(what string) (Passphrase, error)

// Hold opens the key that ref names, a sealed file. The secret is asked for
// once: a wrong one is an error, and never tried again. The caller closes what
// it gets.
func Hold(ref string, ask Ask) (Held, error) {
	if ref == "" {
		return nil, errors.New("no key is named")
	}
	p, err := ask("passphrase of " + ref)
	if err != nil {
		return nil, err
	}
	k, err := Unseal(ref, p)
	if err != nil {
		return nil, err
	}
	return sealed{k}, nil
}

// sealed is a key out of a sealed file. Go gives no way to forget it sooner than
// the collector does.
type sealed struct{ crypto.Signer }

func (sealed) Close() error { return nil }
