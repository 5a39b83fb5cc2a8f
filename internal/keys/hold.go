package keys

import (
	"crypto"
	"errors"
	"fmt"
	"strings"
)

// A Held is a private key that is open for use, wherever it lives. Close lets
// it go; it signs nothing after that.
type Held interface {
	crypto.Signer
	Close() error
}

// A Question is what has to be known to open a key.
type Question struct {
	// What says it for people, such as "passphrase of root.key.age".
	What string
	// PIN says that a token's PIN is asked for, which may be short.
	PIN bool
	// Last says that a wrong answer would lock the token.
	Last bool
}

// Ask asks a person for the secret that opens a key.
type Ask func(Question) (Passphrase, error)

// Hold opens the key that ref names: a sealed file; a key in a PKCS#11 token, as
// a URI (RFC 7512) with the token, the object and the module, such as
// pkcs11:token=root;object=root?module-path=/usr/lib/softhsm/libsofthsm2.so; or
// a key in a TPM 2.0 at a persistent handle, such as tpm:0x81000001. The secret
// is asked for once: a wrong one is an error and never tried again, for a token
// counts them. The caller closes what it gets.
func Hold(ref string, ask Ask) (Held, error) { return open(ref, ask, false) }

// Make makes a new key of the kind ECDSAP256 where ref names a place in a token
// or a TPM, which has to be free, and opens it.
func Make(ref string, ask Ask) (Held, error) { return open(ref, ask, true) }

func open(ref string, ask Ask, create bool) (Held, error) {
	switch {
	case ref == "":
		return nil, errors.New("no key is named")
	case strings.HasPrefix(ref, pkcs11Scheme):
		u, err := parsePKCS11(ref)
		if err != nil {
			return nil, err
		}
		return openPKCS11(u, ask, create)
	case strings.HasPrefix(ref, tpmScheme):
		u, err := parseTPM(ref)
		if err != nil {
			return nil, err
		}
		return openTPM(u, ask, create)
	case create:
		return nil, errors.New("a key in a file is made and sealed at once: leave the place out")
	}
	p, err := ask(Question{What: "passphrase of " + ref})
	if err != nil {
		return nil, err
	}
	k, err := Unseal(ref, p)
	if err != nil {
		return nil, err
	}
	return InMemory(k), nil
}

// InMemory returns a key that this process holds as one that is open for use.
func InMemory(k crypto.Signer) Held { return sealed{k} }

// IsToken reports whether ref names a key in a token or a TPM, and no file.
func IsToken(ref string) bool {
	return strings.HasPrefix(ref, pkcs11Scheme) || strings.HasPrefix(ref, tpmScheme)
}

// sealed is a key out of a sealed file, in memory. Go gives no way to forget it sooner than
// the collector does.
type sealed struct{ crypto.Signer }

func (sealed) Close() error { return nil }

// A TokenError is what a token or TPM answered instead of a signature.
type TokenError struct {
	// What happened, for people.
	Msg string
	// Tries is how many more PINs the token takes before it locks itself, or
	// -1 when it does not tell.
	Tries int
	// Gone says that the token was pulled out or does not answer.
	Gone bool
	// WrongPIN says that the PIN is not the token's.
	WrongPIN bool
	Err      error // what the token said; may be nil
}

// Error says what happened and what to do.
func (e *TokenError) Error() string {
	s := e.Msg
	switch {
	case e.WrongPIN && e.Tries >= 0:
		s = fmt.Sprintf("%s: %s", s, triesLeft(e.Tries))
	case e.WrongPIN:
		s += ": the token does not say how many tries are left, so take care"
	}
	if e.Err != nil {
		s += " (" + e.Err.Error() + ")"
	}
	return s
}

func triesLeft(n int) string {
	switch n {
	case 0:
		return "it is locked now, its security officer can unlock it"
	case 1:
		return "1 try is left before it locks itself"
	}
	return fmt.Sprintf("%d tries are left before it locks itself", n)
}

// Unwrap returns what the token said.
func (e *TokenError) Unwrap() error { return e.Err }
