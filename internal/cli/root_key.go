package cli

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/ceremony"
	"github.com/postern-project/postern/internal/chain"
	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/keys"
)

// A rootRef says where a root is: its key, and its certificate.
type rootRef struct {
	key  string // a sealed file, or a key in a token
	cert string // "" is root.pem beside the key, or for a token in this folder
}

// dir is where the certificate and the transcripts are when nothing else is said.
func (r rootRef) dir() string {
	if keys.IsToken(r.key) {
		return "."
	}
	return filepath.Dir(r.key)
}

// noDomain has a root's own name say which trust domain it is for.
var noDomain identity.TrustDomain

// An openRoot is a root that is open for one ceremony, and the file of
// transcripts beside its key.
type openRoot struct {
	*ceremony.Root
	held keys.Held
	log  string
}

func (o *openRoot) close() { o.held.Close() }

// openRoot opens a root. The passphrase is asked for once.
func (a *app) openRoot(ref rootRef, d identity.TrustDomain) (*openRoot, error) {
	path := cmp.Or(ref.cert, filepath.Join(ref.dir(), authority.RootFile))
	cert, err := readCertificateFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, withHint(err, "--root names the file with the root's certificate")
	}
	if err != nil {
		return nil, err
	}
	held, err := keys.Hold(ref.key, a.askSecret)
	if err != nil {
		return nil, err
	}
	root, err := ceremony.Open(cert, held, d)
	if err != nil {
		return nil, errors.Join(err, held.Close())
	}
	return &openRoot{root, held, filepath.Join(filepath.Dir(path), authority.CeremoniesFile)}, nil
}

// askSecret asks a person for the secret of a root's key, or reads it from the
// file that the environment names. A file is not tried where a wrong PIN would
// lock the token.
func (a *app) askSecret(q keys.Question) (keys.Passphrase, error) {
	parse, read, what := keys.ParsePassphrase, keys.ReadPassphraseFile, q.What
	if q.PIN {
		parse, read = keys.ParsePIN, keys.ReadPINFile
	}
	if q.Last {
		what += " (the last try before the token locks itself)"
	}
	path := a.Getenv(passphraseVariable)
	switch {
	case path != "" && q.Last:
		return keys.Passphrase{}, withHint(fmt.Errorf("the %s is not tried from a file: one more wrong one locks the token", q.What), "unset "+passphraseVariable+" and type it")
	case path != "":
		p, err := read(path)
		if err != nil {
			return keys.Passphrase{}, withHint(err, passphraseVariable+" names the file")
		}
		return p, nil
	case a.ReadPassword == nil:
		return keys.Passphrase{}, withHint(fmt.Errorf("nobody is here to ask for the %s", what), "run it in a terminal, or name a file with it in "+passphraseVariable)
	}
	typed, err := a.ReadPassword(what + ": ")
	if err != nil {
		return keys.Passphrase{}, err
	}
	return parse(typed)
}

// before returns the hash of the newest transcript that is kept beside the
// root's key. A chain that does not hold is said, and gone on with.
func (a *app) before(log string) (h [32]byte, kept string, err error) {
	text, err := os.ReadFile(log)
	if errors.Is(err, fs.ErrNotExist) {
		return h, "", nil
	}
	if err != nil {
		return h, "", err
	}
	if n := ceremony.Gap(string(text)); n > 0 {
		a.note("warning: transcript %d in %s does not follow the one before it: something was taken out or changed", n, here(log))
	}
	all := ceremony.Split(string(text))
	if len(all) == 0 {
		return h, "", nil
	}
	return ceremony.HashOf(all[len(all)-1]), string(text), nil
}

// keepTranscript adds a transcript to those beside the root's key.
func keepTranscript(log, kept, transcript string) error {
	f, err := os.CreateTemp(filepath.Dir(log), ".ceremonies.*")
	if err != nil {
		return fmt.Errorf("keep transcript: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(ceremony.Join(kept, transcript))
	if err := errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("keep transcript: %w", err)
	}
	return os.Rename(f.Name(), log)
}

// readCertificateFile reads the first certificate of a PEM file.
func readCertificateFile(path string) (*x509.Certificate, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	certs, err := chain.ParsePEM(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", here(path), err)
	}
	if len(certs) == 0 {
		return nil, fmt.Errorf("%s holds no certificate", here(path))
	}
	return certs[0], nil
}

// writeFileNew writes a small file that is not there yet.
func writeFileNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return withHint(fmt.Errorf("%s exists", here(path)), "--out names another file")
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// readSmallFile reads a request or an answer.
func readSmallFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > ceremony.MaxFile {
		return nil, fmt.Errorf("%s is no request and no answer: those are small files", here(path))
	}
	return os.ReadFile(path)
}

// agree asks a person to type what is about to be done. Where nobody can be
// asked it is not done.
func (a *app) agree(ctx context.Context, what string) error {
	if a.ReadPassword == nil { // nobody at the keyboard
		return withHint(errors.New("nothing was done: this needs a yes"), "--yes gives it")
	}
	fmt.Fprintf(a.Stderr, "Type %q to go on: ", what)
	typed, err := readLine(ctx, a.Stdin)
	if err != nil {
		return err
	}
	if typed != what {
		return errors.New("nothing was done")
	}
	return nil
}

func pemOf(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
