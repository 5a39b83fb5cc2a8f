package authority

import (
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"fmt"

	"github.com/postern-project/postern/internal/profile"
	"github.com/postern-project/postern/internal/revocation"
)

// attest has an issuer sign a revocation list. It is given the list and not
// its bytes, so that the key cannot be made to sign a certificate here: with
// sign, it is all that an issuer's key is used for.
func attest(l revocation.List, by *issuer) ([]byte, error) {
	how, err := profile.SignatureOf(by.Certificate)
	if err != nil {
		return nil, err
	}
	l.Issuer = by.Certificate
	tbs, err := l.Encode()
	if err != nil {
		return nil, err
	}
	signature, err := crypto.SignMessage(by.key, rand.Reader, tbs, how.Hash())
	if err != nil {
		return nil, fmt.Errorf("sign the revocation list of %s: %w", by.Name, err)
	}
	if err := by.Certificate.CheckSignature(how.Algorithm, tbs, signature); err != nil {
		return nil, fmt.Errorf("sign the revocation list of %s: what came back is not its signature: %w", by.Name, err)
	}
	return how.Assemble(tbs, signature)
}

// attestAnswer has a responder sign an OCSP answer. A responder's key signs
// nothing else, and its certificate lets it.
func attestAnswer(a revocation.Answer, by *tls.Certificate) ([]byte, error) {
	a.Responder = by.Leaf
	how, err := profile.SignatureOf(by.Leaf)
	if err != nil {
		return nil, err
	}
	tbs, err := a.Encode()
	if err != nil {
		return nil, err
	}
	signer, ok := by.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("the key of responder %s cannot sign", by.Leaf.Subject.CommonName)
	}
	signature, err := crypto.SignMessage(signer, rand.Reader, tbs, how.Hash())
	if err != nil {
		return nil, fmt.Errorf("sign an OCSP answer: %w", err)
	}
	return a.Seal(tbs, signature)
}
