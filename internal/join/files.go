package join

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/postern-project/postern/internal/chain"
	"github.com/postern-project/postern/internal/identity"
)

// The names of the files.
const (
	CertFile     = "cert.pem" // the leaf, then its issuer
	KeyFile      = "key.pem"  // PKCS#8, 0600
	RootFile     = "root.pem"
	StateFile    = "postern.json"
	P12File      = "identity.p12"
	PasswordFile = "identity.p12.password"
	OpenSSLFile  = "openssl.cnf" // only beside a key in a TPM: has OpenSSL ask the TPM
)

// A State is what postern.json keeps beside a certificate so that it can be
// renewed. It holds no secret.
type State struct {
	TrustDomain string    `json:"trust_domain"`
	Name        string    `json:"name"`
	Profile     string    `json:"profile"`
	Serial      string    `json:"serial"`
	NotAfter    time.Time `json:"not_after"`
	// Authority is the public side that issued the certificate.
	Authority string   `json:"authority,omitempty"`
	Renew     []string `json:"renew,omitempty"`
	// TPM is the device of the TPM that alone can use key.pem.
	TPM string `json:"tpm,omitempty"`
	// Store is where the key lives when there is no key.pem: "windows".
	Store string `json:"store,omitempty"`
	// Installed is the thumbprint of the certificate in the keychain of macOS,
	// or in the store of Windows if a copy of key.pem was put there.
	Installed string `json:"installed,omitempty"`
}

// Files are what WriteFiles writes.
type Files struct {
	Dir   string
	Chain [][]byte      // the leaf, then its issuer, each DER
	Roots [][]byte      // those to believe, newest first, each DER
	Key   crypto.Signer // nil when the key lives elsewhere; then no key.pem and no identity.p12
	P12   bool
	Force bool      // replace a certificate that has not expired
	Now   time.Time // decides whether an old one has expired
	State State     // its certificate's fields are filled in
}

// WriteFiles puts a certificate into a folder and returns the paths of its
// files. What is there already stays until the new files are complete.
func WriteFiles(f Files) ([]string, error) {
	dir, err := filepath.Abs(f.Dir)
	if err != nil {
		return nil, fmt.Errorf("folder %s: %w", f.Dir, err)
	}
	c, err := newCertificate(f.Chain, f.Roots, f.Key)
	if err != nil {
		return nil, err
	}
	if err := mayReplace(dir, f.Force, f.Now); err != nil {
		return nil, err
	}
	s, err := newStage(dir, f.Now, nil)
	if err != nil {
		return nil, err
	}
	defer s.discard()
	if err := s.fill(c, c.describe(f.State), passwordIf(f.P12 && f.Key != nil)); err != nil {
		return nil, err
	}
	return s.install(dir)
}

// A certificate is one that is ready to be written.
type certificate struct {
	leaf  *x509.Certificate
	above []*x509.Certificate // its issuers, without the root
	roots []*x509.Certificate // newest first
	id    identity.ID
	key   crypto.Signer // nil when the key lives elsewhere
}

func newCertificate(ders, roots [][]byte, key crypto.Signer) (*certificate, error) {
	if len(ders) == 0 {
		return nil, errors.New("no certificate to write")
	}
	c := &certificate{key: key}
	for i, der := range ders {
		parsed, err := chain.ParseDER(der)
		switch {
		case err != nil:
			return nil, fmt.Errorf("certificate %d of the chain: %w", i+1, err)
		case i == 0:
			c.leaf = parsed
		default:
			c.above = append(c.above, parsed)
		}
	}
	for _, der := range roots {
		root, err := chain.ParseDER(der)
		if err != nil {
			return nil, fmt.Errorf("root certificate: %w", err)
		}
		c.roots = append(c.roots, root)
	}
	if len(c.roots) == 0 {
		return nil, errors.New("no root certificate to write")
	}
	var err error
	if c.id, err = identity.FromURIs(c.leaf.URIs); err != nil {
		return nil, err
	}
	return c, nil
}

// describe fills in what the certificate itself says.
func (c *certificate) describe(s State) State {
	s.TrustDomain, s.Name = c.id.Domain().String(), c.id.Name().String()
	s.Serial, s.NotAfter = chain.SerialOf(c.leaf), c.leaf.NotAfter
	return s
}

// pems returns the leaf and its issuers, and the roots.
func (c *certificate) pems() (certs, root []byte) {
	certs = pemOf(c.leaf)
	for _, above := range c.above {
		certs = append(certs, pemOf(above)...)
	}
	for _, r := range c.roots {
		root = append(root, pemOf(r)...)
	}
	return certs, root
}

func pemOf(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

// p12 packs leaf, issuers and key in the one form that every system opens: its
// old ciphers are worth what the password is worth. The root stays out, since
// importers ask about it.
func (c *certificate) p12(password string) ([]byte, error) {
	data, err := pkcs12.LegacyDES.Encode(c.key, c.leaf, c.above, password)
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w", P12File, err)
	}
	return data, nil
}

// passwordIf returns 80 random bits as a person can type them, or "".
func passwordIf(wanted bool) string {
	if !wanted {
		return ""
	}
	const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
	var raw [16]byte
	rand.Read(raw[:])
	var out []byte
	for i, b := range raw {
		if i > 0 && i%4 == 0 {
			out = append(out, '-')
		}
		out = append(out, alphabet[b&31])
	}
	return string(out)
}

// ReadState reads postern.json in dir.
func ReadState(dir string) (State, error) {
	path := filepath.Join(dir, StateFile)
	data, err := readSmall(path)
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, fmt.Errorf("%s is not there: name the folder that 'postern join' wrote", path)
	}
	if err != nil {
		return State{}, err
	}
	var s State
	if err := json.Unmarshal(data, &s); err != nil {
		return State{}, fmt.Errorf("%s is damaged (%w): join again with a new invitation", path, err)
	}
	return s, nil
}

// readSmall reads a file of ours, none of which is long.
func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const most = 1 << 20
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if len(data) > most {
		return nil, fmt.Errorf("%s is longer than any file of ours", path)
	}
	return data, nil
}

// load reads the certificate in dir, without its key.
func load(dir string) (*certificate, error) {
	var ders, roots [][]byte
	for _, name := range []string{CertFile, RootFile} {
		data, err := readSmall(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		certs, err := chain.ParsePEM(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, name), err)
		}
		if name == CertFile {
			ders = raws(certs)
		} else {
			roots = raws(certs)
		}
	}
	return newCertificate(ders, roots, nil)
}

// mayReplace tells whether new files may take the place of those in dir: when
// there are none, when the certificate has expired, or by force. It first ends
// what an interrupted run left half done.
func mayReplace(dir string, force bool, now time.Time) error {
	if err := finish(dir); err != nil {
		return err
	}
	if force || !exists(dir, CertFile) && !exists(dir, KeyFile) {
		return nil
	}
	c, err := load(dir)
	if err != nil {
		return &ExistsError{Dir: dir}
	}
	if now.After(c.leaf.NotAfter) {
		return nil
	}
	return &ExistsError{Dir: dir, Name: c.id.Name().String(), NotAfter: c.leaf.NotAfter}
}

func exists(dir, name string) bool {
	_, err := os.Lstat(filepath.Join(dir, name))
	return err == nil
}
