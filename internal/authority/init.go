package authority

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/postern-project/postern/internal/ceremony"
	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/keys"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/store"
)

// InitOptions says what authority Init makes.
type InitOptions struct {
	// Dir is the data folder. It is made if it is missing, and may hold what
	// Init did not write, such as a lock.
	Dir         string
	TrustDomain identity.TrustDomain
	// KeyKind is that of the root and the issuers; "" is ECDSA P-256.
	KeyKind keys.Kind
	// TPM is the device of the TPM that the issuers' keys are made in; "" makes
	// them in files. The root's key is not made there: it is sealed, or in the
	// token that Root is from.
	TPM string
	// PublicURL is where the root's list will be served, as in Policy; ""
	// prints no address into the issuers' certificates.
	PublicURL string
	// Passphrase seals the root key; nil has one drawn.
	Passphrase *keys.Passphrase
	// Root is a root that was made before, open for this one ceremony. Nil has
	// one made and sealed in the folder, unless Elsewhere.
	Root *ceremony.Root
	// Before is the hash of the newest transcript beside that root's key.
	Before ledger.Hash
	// Elsewhere makes all but what a root has to sign. The request for that
	// is in the result; Complete takes the answer.
	Elsewhere bool
	// Show is given a drawn passphrase before the authority exists, so that no
	// crash leaves a root sealed by words that nobody has seen. May be nil.
	Show func(keys.Passphrase) error
	Log  *slog.Logger     // nil discards
	Now  func() time.Time // nil is time.Now
}

// An InitResult tells what Init made.
type InitResult struct {
	// Passphrase seals the root key. It is zero when an authority was
	// completed that an earlier run had made but for moving its files.
	Passphrase keys.Passphrase
	// Generated says that the passphrase was drawn by Init.
	Generated bool
	// RootFingerprint is the pin that stands in invitations.
	RootFingerprint string
	// Request is what the root has to sign, when it is elsewhere.
	Request []byte
	// Transcript tells what the root signed.
	Transcript  string
	TrustDomain identity.TrustDomain
}

// Initialised reports whether dir holds an authority that Init completed.
func Initialised(dir string) (bool, error) {
	if _, err := os.Stat(filepath.Join(dir, readyFolder)); err == nil {
		return false, nil
	}
	_, err := os.Stat(filepath.Join(dir, DatabaseFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Init makes an authority in a data folder: the root, whose key is sealed
// before anything else is written, two issuers, the ledger's key and the
// ledger with its first entries. A run that was interrupted leaves nothing
// that counts, or something that the next run completes. A folder that holds
// an authority is left alone, with an Error of CodeExists.
func Init(ctx context.Context, o InitOptions) (InitResult, error) {
	m := maker{InitOptions: o}
	if m.Now == nil {
		m.Now = time.Now
	}
	if m.Log == nil {
		m.Log = slog.New(slog.DiscardHandler)
	}
	r, err := m.make(ctx)
	if err != nil {
		return InitResult{}, err
	}
	m.Log.Info("authority made", "trust_domain", o.TrustDomain, "root", r.RootFingerprint)
	return r, nil
}

// A maker is one run of Init.
type maker struct {
	InitOptions
	stage   string        // where everything is built
	rootKey crypto.Signer // of a root made here, until it has signed
	result  InitResult
	// step, if set, is told of every step that is done; a test stops there.
	step func(what string)
}

func (m *maker) done(what string) {
	if m.step != nil {
		m.step(what)
	}
}

func (m *maker) make(ctx context.Context) (InitResult, error) {
	if m.TrustDomain == (identity.TrustDomain{}) {
		return InitResult{}, refuse(CodeBadRequest, "one looks like example.com or postern.internal", "no trust domain is given")
	}
	state, err := prepare(m.Dir, pieces)
	if err != nil {
		return InitResult{}, err
	}
	m.stage = filepath.Join(m.Dir, stageFolder)
	if state == nothing {
		if err := m.found(ctx); err != nil {
			return InitResult{}, err
		}
		if m.Elsewhere {
			return m.result, m.wait()
		}
	}
	return m.conclude(state)
}

// found builds everything, and shows a passphrase that was drawn.
func (m *maker) found(ctx context.Context) error {
	if m.Root == nil && !m.Elsewhere {
		var err error
		if m.result.Passphrase, m.result.Generated, err = m.passphrase(); err != nil {
			return err
		}
	}
	if err := m.build(ctx); err != nil {
		return fmt.Errorf("make authority in %s: %w", m.Dir, err)
	}
	if m.result.Generated && m.Show != nil {
		if err := m.Show(m.result.Passphrase); err != nil {
			return fmt.Errorf("show passphrase: %w", err)
		}
	}
	m.done("passphrase shown")
	return nil
}

func (m *maker) conclude(from state) (InitResult, error) {
	if err := m.commit(from); err != nil {
		return InitResult{}, fmt.Errorf("make authority in %s: %w", m.Dir, err)
	}
	var err error
	m.result.TrustDomain = m.TrustDomain
	m.result.RootFingerprint, err = fingerprint(m.Dir)
	return m.result, err
}

func (m *maker) passphrase() (p keys.Passphrase, generated bool, err error) {
	if m.Passphrase != nil {
		return *m.Passphrase, false, nil
	}
	p, err = keys.NewPassphrase()
	return p, true, err
}

// build writes everything into the stage. A root that is made here is sealed
// first, and its key is in memory only until it has signed.
func (m *maker) build(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Join(m.stage, IssuersFolder), 0o700); err != nil {
		return err
	}
	m.done("stage made")
	root := m.Root
	if root == nil && !m.Elsewhere {
		var err error
		if root, err = m.makeRoot(); err != nil {
			return err
		}
	}
	file, err := m.ask()
	if err != nil {
		return err
	}
	if m.Elsewhere {
		m.result.Request = file
		return syncTree(m.stage)
	}
	answer, err := root.Answer(file, ceremony.Policy{Before: m.Before, Now: m.Now()})
	if err != nil {
		return err
	}
	m.rootKey = nil
	if m.Root == nil {
		if err := writePlain(filepath.Join(m.stage, CeremoniesFile), []byte(answer.Transcript)); err != nil {
			return err
		}
	}
	return m.adopt(ctx, file, answer)
}

func (m *maker) makeRoot() (*ceremony.Root, error) {
	key, err := keys.Generate(m.KeyKind)
	if err != nil {
		return nil, err
	}
	m.rootKey = key
	m.done("root key made")
	if err := keys.Seal(filepath.Join(m.stage, RootKeyFile), key, m.result.Passphrase, m.result.Generated); err != nil {
		return nil, err
	}
	m.done("root key sealed")
	return ceremony.Create(m.TrustDomain, key, m.Now())
}

func (m *maker) issuerKey() (crypto.Signer, error) {
	if m.TPM != "" {
		return keys.MakeTPMFile(m.TPM)
	}
	return keys.Generate(m.KeyKind)
}

// ask makes the keys of the issuers and of the ledger, and writes what the root
// has to sign for them.
func (m *maker) ask() ([]byte, error) {
	q := ceremony.Request{TrustDomain: m.TrustDomain.String(), PublicURL: m.PublicURL, List: &ceremony.List{Number: 1}}
	for _, i := range []struct {
		name string
		use  ledger.Use
	}{{firstClients, ledger.UseClients}, {firstServers, ledger.UseServers}} {
		key, err := m.issuerKey()
		if err != nil {
			return nil, err
		}
		asked, err := ceremony.Ask(m.TrustDomain, i.name, i.use, nil, key)
		if err != nil {
			return nil, err
		}
		if err := keys.WritePrivate(issuerFile(m.stage, i.name, ".key"), key); err != nil {
			return nil, err
		}
		m.done("key of issuer " + i.name + " written")
		q.Issuers = append(q.Issuers, asked)
	}
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	if err := keys.WritePrivate(filepath.Join(m.stage, LedgerKeyFile), key); err != nil {
		return nil, err
	}
	m.done("ledger key written")
	q.LedgerKey = pub
	file, err := q.Marshal()
	if err != nil {
		return nil, err
	}
	return file, writePlain(filepath.Join(m.stage, requestFile), file)
}

// adopt takes the root's answer, writes the certificates and begins the ledger.
func (m *maker) adopt(ctx context.Context, file []byte, a ceremony.Answer) error {
	q, err := ceremony.ParseRequest(file)
	if err != nil {
		return err
	}
	if err := a.Answers(file); err != nil {
		return err
	}
	root, err := x509.ParseCertificate(a.Root)
	if err != nil {
		return fmt.Errorf("answer: root: %w", err)
	}
	if m.TrustDomain, err = identity.ParseTrustDomain(q.TrustDomain); err != nil {
		return err
	}
	if len(a.Issuers) != len(q.Issuers) || a.List == nil {
		return errors.New("the answer does not hold all that was asked for")
	}
	if err := writeCertificates(filepath.Join(m.stage, RootFile), root); err != nil {
		return err
	}
	m.done("root written")
	bodies := []ledger.Body{ledger.Genesis{TrustDomain: m.TrustDomain, Root: a.Root, LedgerKey: q.LedgerKey, RootSignature: a.Genesis}}
	for n, asked := range q.Issuers {
		c, err := answered(asked, a.Issuers[n])
		if err != nil {
			return err
		}
		if err := writeCertificates(issuerFile(m.stage, asked.Name, ".pem"), c); err != nil {
			return err
		}
		m.done("issuer " + asked.Name + " written")
		bodies = append(bodies, ledger.IssuerAdded{Name: asked.Name, Use: asked.Use, Certificate: c.Raw})
	}
	bodies = append(bodies, ledger.RootListSigned{List: a.List}, a.Recorded())
	if err := m.makeLedger(ctx, bodies); err != nil {
		return err
	}
	m.result.Transcript = a.Transcript
	return syncTree(m.stage)
}

// makeLedger writes the first entries.
func (m *maker) makeLedger(ctx context.Context, bodies []ledger.Body) error {
	s, err := store.Open(ctx, filepath.Join(m.stage, DatabaseFile), store.Options{
		Signer: LedgerSigner(m.stage, m.TrustDomain), Now: m.Now, Log: m.Log,
	})
	if err != nil {
		return err
	}
	err = s.Update(ctx, func(tx *store.Tx) error {
		for _, b := range bodies {
			if err := tx.Append(b); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, s.Close()); err != nil {
		return err
	}
	m.done("ledger written")
	return nil
}

func fingerprint(dir string) (string, error) {
	root, err := readCertificate(filepath.Join(dir, RootFile))
	if err != nil {
		return "", err
	}
	return invite.PinOf(root).String(), nil
}
