package ledger

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/postern-project/postern/internal/identity"
)

// NewGenesis returns entry 0 of a ledger for d, signed by the root's key.
func NewGenesis(d identity.TrustDomain, rootDER []byte, ledgerPub ed25519.PublicKey, rootSigner crypto.Signer) (Genesis, error) {
	g := Genesis{TrustDomain: d, Root: rootDER, LedgerKey: ledgerPub}
	_, digest, opts, err := scheme(rootSigner.Public(), g.Message())
	if err != nil {
		return Genesis{}, err
	}
	if g.RootSignature, err = rootSigner.Sign(rand.Reader, digest, opts); err != nil {
		return Genesis{}, fmt.Errorf("sign genesis with the root key: %w", err)
	}
	return g, g.Verify()
}

// Message returns what the root signs: a text that no certificate and no
// checkpoint can be taken for, with everything that entry 0 fixes.
func (g Genesis) Message() []byte {
	return fmt.Appendf(nil, "postern genesis v1\ntrust domain: %s\nroot: sha256 %x\nledger key: ed25519 %x\n",
		g.TrustDomain, sha256.Sum256(g.Root), []byte(g.LedgerKey))
}

// Verify returns an error unless the root is a self-signed CA that has signed
// the trust domain and the ledger's key.
func (g Genesis) Verify() error {
	_, err := g.RootCertificate()
	return err
}

// RootCertificate returns the root after all that Verify checks.
func (g Genesis) RootCertificate() (*x509.Certificate, error) {
	if g.TrustDomain == (identity.TrustDomain{}) {
		return nil, errors.New("genesis: no trust domain")
	}
	if len(g.LedgerKey) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("genesis: ledger key of %d bytes, want %d", len(g.LedgerKey), ed25519.PublicKeySize)
	}
	root, err := x509.ParseCertificate(g.Root)
	if err != nil {
		return nil, fmt.Errorf("genesis: root certificate: %w", err)
	}
	if err := checkCA(root, root); err != nil {
		return nil, fmt.Errorf("genesis: root certificate: %w", err)
	}
	message := g.Message()
	algorithm, _, _, err := scheme(root.PublicKey, message)
	if err != nil {
		return nil, fmt.Errorf("genesis: %w", err)
	}
	if err := root.CheckSignature(algorithm, message, g.RootSignature); err != nil {
		return nil, fmt.Errorf("genesis: the root has not signed this trust domain and ledger key: %w", err)
	}
	return root, nil
}

// scheme returns the one way in which a root's key signs a message.
func scheme(pub crypto.PublicKey, message []byte) (x509.SignatureAlgorithm, []byte, crypto.SignerOpts, error) {
	algorithm, hash := x509.UnknownSignatureAlgorithm, crypto.SHA256
	var opts crypto.SignerOpts = hash
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			algorithm = x509.ECDSAWithSHA256
		case elliptic.P384():
			algorithm, hash = x509.ECDSAWithSHA384, crypto.SHA384
		case elliptic.P521():
			algorithm, hash = x509.ECDSAWithSHA512, crypto.SHA512
		}
		opts = hash
	case *rsa.PublicKey:
		algorithm = x509.SHA256WithRSAPSS
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
	}
	if algorithm == x509.UnknownSignatureAlgorithm {
		return 0, nil, nil, fmt.Errorf("a root key of type %T cannot sign: use ECDSA or RSA", pub)
	}
	h := hash.New()
	h.Write(message)
	return algorithm, h.Sum(nil), opts, nil
}

// checkCA returns an error unless c is a CA certificate signed by parent.
func checkCA(c, parent *x509.Certificate) error {
	switch {
	case !c.BasicConstraintsValid || !c.IsCA:
		return errors.New("not a CA certificate")
	case c.KeyUsage&x509.KeyUsageCertSign == 0:
		return errors.New("its key usage does not allow signing certificates")
	case len(c.UnhandledCriticalExtensions) > 0:
		return fmt.Errorf("unknown critical extension %s", c.UnhandledCriticalExtensions[0])
	case string(c.RawIssuer) != string(parent.RawSubject):
		return fmt.Errorf("its issuer is %q and not %q", c.Issuer, parent.Subject)
	}
	return c.CheckSignatureFrom(parent)
}

// Verify returns an error unless root signed the issuer's certificate and the
// certificate allows exactly the use: one extended key usage, and no CA below.
func (i IssuerAdded) Verify(root *x509.Certificate) error {
	_, err := i.Parse(root)
	return err
}

// Parse returns the issuer's certificate after all that Verify checks.
func (i IssuerAdded) Parse(root *x509.Certificate) (*x509.Certificate, error) {
	c, err := x509.ParseCertificate(i.Certificate)
	if err != nil {
		return nil, fmt.Errorf("issuer %q: certificate: %w", i.Name, err)
	}
	if string(c.RawSubjectPublicKeyInfo) == string(root.RawSubjectPublicKeyInfo) {
		return nil, fmt.Errorf("issuer %q: its key is the root's own", i.Name)
	}
	if err := checkCA(c, root); err != nil {
		return nil, fmt.Errorf("issuer %q: not signed by the root as an issuer: %w", i.Name, err)
	}
	if c.MaxPathLen != 0 || !c.MaxPathLenZero {
		return nil, fmt.Errorf("issuer %q: it could have CAs below it, its path length has to be 0", i.Name)
	}
	if want, ok := i.Use.extKeyUsage(); !ok || len(c.ExtKeyUsage) != 1 || c.ExtKeyUsage[0] != want || len(c.UnknownExtKeyUsage) > 0 {
		return nil, fmt.Errorf("issuer %q: its extended key usage is not exactly that of an issuer for %s", i.Name, i.Use)
	}
	return c, nil
}

func (u Use) extKeyUsage() (x509.ExtKeyUsage, bool) {
	switch u {
	case UseClients:
		return x509.ExtKeyUsageClientAuth, true
	case UseServers:
		return x509.ExtKeyUsageServerAuth, true
	}
	return 0, false
}
