//go:build pkcs11

package keys

import (
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	"github.com/ThalesGroup/crypto11"
	"github.com/miekg/pkcs11"
)

// openPKCS11 logs in to a token and finds the key, or makes one there that never
// leaves it.
func openPKCS11(u pkcs11Ref, ask Ask, create bool) (Held, error) {
	where := fmt.Sprintf("token %q", u.token)
	last, err := finalTry(u)
	if err != nil {
		return nil, err
	}
	pin, err := ask(Question{What: "PIN of " + where, PIN: true, Last: last})
	if err != nil {
		return nil, err
	}
	ctx, err := crypto11.Configure(&crypto11.Config{Path: u.module, TokenLabel: u.token, Pin: pin.Reveal(), MaxSessions: 4})
	if err != nil {
		return nil, loginError(u, where, err)
	}
	key, err := keyIn(ctx, u, create)
	if err != nil {
		return nil, errors.Join(err, ctx.Close())
	}
	return &tokenKey{key, where, ctx.Close}, nil
}

func keyIn(ctx *crypto11.Context, u pkcs11Ref, create bool) (crypto.Signer, error) {
	found, err := ctx.FindKeyPairs(nil, []byte(u.object))
	switch {
	case err != nil:
		return nil, &TokenError{Msg: fmt.Sprintf("token %q does not look for a key", u.token), Tries: -1, Err: err}
	case create && len(found) > 0:
		return nil, fmt.Errorf("token %q holds an object %q already: choose another name, nothing is ever written over", u.token, u.object)
	case create:
		id := make([]byte, 16)
		rand.Read(id)
		key, err := ctx.GenerateECDSAKeyPairWithLabel(id, []byte(u.object), elliptic.P256())
		if err != nil {
			return nil, &TokenError{Msg: fmt.Sprintf("token %q makes no key", u.token), Tries: -1, Err: err}
		}
		return key, nil
	case len(found) == 0:
		return nil, fmt.Errorf("token %q holds no key pair labelled %q: 'pkcs11-tool --list-objects' shows what it holds", u.token, u.object)
	}
	if len(found) > 1 {
		return nil, fmt.Errorf("token %q holds %d key pairs labelled %q: give the root's a label of its own", u.token, len(found), u.object)
	}
	return found[0], nil
}

// loginError says what is wrong with a PIN, and how many tries are left as far
// as the token tells: it tells of the last one only.
func loginError(u pkcs11Ref, where string, err error) error {
	var code pkcs11.Error
	if !errors.As(err, &code) {
		return &TokenError{Msg: where + " cannot be opened: is it plugged in, and is the module's path right?", Tries: -1, Err: err}
	}
	switch code {
	case pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE:
		e := &TokenError{Msg: "wrong PIN of " + where, Tries: -1, WrongPIN: true}
		if flags, err := tokenFlags(u); err == nil {
			switch {
			case flags&pkcs11.CKF_USER_PIN_LOCKED != 0:
				e.Tries = 0
			case flags&pkcs11.CKF_USER_PIN_FINAL_TRY != 0:
				e.Tries = 1
			}
		}
		return e
	case pkcs11.CKR_PIN_LOCKED:
		return &TokenError{Msg: "the PIN of " + where, Tries: 0, WrongPIN: true}
	}
	return &TokenError{Msg: where + " refuses to be opened", Tries: -1, Err: err}
}

// finalTry reports whether a wrong PIN would lock the token.
func finalTry(u pkcs11Ref) (bool, error) {
	flags, err := tokenFlags(u)
	if err != nil {
		return false, err
	}
	if flags&pkcs11.CKF_USER_PIN_LOCKED != 0 {
		return false, &TokenError{Msg: fmt.Sprintf("the PIN of token %q", u.token), Tries: 0, WrongPIN: true}
	}
	return flags&pkcs11.CKF_USER_PIN_FINAL_TRY != 0, nil
}

// tokenFlags returns what the token says of itself without being logged in to.
func tokenFlags(u pkcs11Ref) (uint, error) {
	gone := func(err error) error {
		return &TokenError{Msg: fmt.Sprintf("no token %q is there: plug it in, and see that the module's path is right", u.token), Tries: -1, Gone: true, Err: err}
	}
	p := pkcs11.New(u.module)
	if p == nil {
		return 0, fmt.Errorf("%s is no PKCS#11 module: module-path names the library that came with the token", u.module)
	}
	defer p.Destroy()
	if err := p.Initialize(); err == nil {
		defer p.Finalize()
	} else if !errors.Is(err, pkcs11.Error(pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED)) {
		return 0, gone(err)
	}
	slots, err := p.GetSlotList(true)
	if err != nil {
		return 0, gone(err)
	}
	for _, slot := range slots {
		if info, err := p.GetTokenInfo(slot); err == nil && info.Label == u.token {
			return info.Flags, nil
		}
	}
	return 0, gone(nil)
}

// A tokenKey is a key that stays in its token.
type tokenKey struct {
	crypto.Signer
	where string
	close func() error
}

// Close logs out.
func (k *tokenKey) Close() error { return k.close() }

// Sign has the token sign. One that does not answer any more is said plainly;
// nothing has been signed then.
func (k *tokenKey) Sign(r io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	sig, err := k.Signer.Sign(r, digest, o)
	if err != nil {
		return nil, &TokenError{Msg: k.where + " has not signed: was it pulled out? nothing was changed, plug it in and begin again", Tries: -1, Gone: true, Err: err}
	}
	return sig, nil
}
