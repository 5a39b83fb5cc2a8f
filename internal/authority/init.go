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

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/keys"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/profile"
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
	// Passphrase seals the root key; nil has one drawn.
	Passphrase *keys.Passphrase
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
	stage   string // where everything is built
	root    *x509.Certificate
	rootKey crypto.Signer
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
	state, err := prepare(m.Dir)
	if err != nil {
		return InitResult{}, err
	}
	m.stage = filepath.Join(m.Dir, stageFolder)
	var r InitResult
	if state == nothing {
		if r.Passphrase, r.Generated, err = m.passphrase(); err != nil {
			return InitResult{}, err
		}
		if err := m.build(ctx, r.Passphrase, r.Generated); err != nil {
			return InitResult{}, fmt.Errorf("make authority in %s: %w", m.Dir, err)
		}
		if r.Generated && m.Show != nil {
			if err := m.Show(r.Passphrase); err != nil {
				return InitResult{}, fmt.Errorf("show passphrase: %w", err)
			}
		}
		m.done("passphrase shown")
	}
	if err := m.commit(state); err != nil {
		return InitResult{}, fmt.Errorf("make authority in %s: %w", m.Dir, err)
	}
	r.RootFingerprint, err = fingerprint(m.Dir)
	return r, err
}

func (m *maker) passphrase() (p keys.Passphrase, generated bool, err error) {
	if m.Passphrase != nil {
		return *m.Passphrase, false, nil
	}
	p, err = keys.NewPassphrase()
	return p, true, err
}

// build writes everything into the stage. The root's key is sealed first, and
// is in memory only until the issuers are signed.
func (m *maker) build(ctx context.Context, p keys.Passphrase, generated bool) error {
	if err := os.MkdirAll(filepath.Join(m.stage, IssuersFolder), 0o700); err != nil {
		return err
	}
	m.done("stage made")
	if err := m.makeRoot(p, generated); err != nil {
		return err
	}
	clients, err := m.makeIssuer(firstClients, profile.Client)
	if err != nil {
		return err
	}
	servers, err := m.makeIssuer(firstServers, profile.Server)
	if err != nil {
		return err
	}
	if err := m.makeLedger(ctx, clients, servers); err != nil {
		return err
	}
	m.rootKey = nil
	return syncTree(m.stage)
}

func (m *maker) makeRoot(p keys.Passphrase, generated bool) error {
	key, err := keys.Generate(m.KeyKind)
	if err != nil {
		return err
	}
	m.rootKey = key
	m.done("root key made")
	if err := keys.Seal(filepath.Join(m.stage, RootKeyFile), key, p, generated); err != nil {
		return err
	}
	m.done("root key sealed")
	template, err := profile.RootTemplate(m.TrustDomain, key.Public(), m.Now())
	if err != nil {
		return err
	}
	if m.root, err = certify(template, template, key); err != nil {
		return err
	}
	if err := writeCertificate(filepath.Join(m.stage, RootFile), m.root); err != nil {
		return err
	}
	m.done("root written")
	return nil
}

func (m *maker) makeIssuer(name string, u profile.Usage) (ledger.IssuerAdded, error) {
	key, err := keys.Generate(m.KeyKind)
	if err != nil {
		return ledger.IssuerAdded{}, err
	}
	template, err := profile.IssuerTemplate(m.TrustDomain, name, u, key.Public(), m.root, m.Now())
	if err != nil {
		return ledger.IssuerAdded{}, err
	}
	c, err := certify(template, m.root, m.rootKey)
	if err != nil {
		return ledger.IssuerAdded{}, err
	}
	if err := keys.WritePrivate(issuerFile(m.stage, name, ".key"), key); err != nil {
		return ledger.IssuerAdded{}, err
	}
	if err := writeCertificate(issuerFile(m.stage, name, ".pem"), c); err != nil {
		return ledger.IssuerAdded{}, err
	}
	m.done("issuer " + name + " written")
	return ledger.IssuerAdded{Name: name, Use: useOf(u), Certificate: c.Raw}, nil
}

// makeLedger writes the ledger's key and its first three entries.
func (m *maker) makeLedger(ctx context.Context, issuers ...ledger.IssuerAdded) error {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	if err := keys.WritePrivate(filepath.Join(m.stage, LedgerKeyFile), key); err != nil {
		return err
	}
	m.done("ledger key written")
	genesis, err := ledger.NewGenesis(m.TrustDomain, m.root.Raw, pub, m.rootKey)
	if err != nil {
		return err
	}
	s, err := store.Open(ctx, filepath.Join(m.stage, DatabaseFile), store.Options{
		Signer: LedgerSigner(m.stage, m.TrustDomain), Now: m.Now, Log: m.Log,
	})
	if err != nil {
		return err
	}
	err = s.Update(ctx, func(tx *store.Tx) error {
		if err := tx.Append(genesis); err != nil {
			return err
		}
		for _, i := range issuers {
			if err := tx.Append(i); err != nil {
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

// certify signs an authority's own certificate with the root's key, and checks
// what came of it.
func certify(template, parent *x509.Certificate, rootKey crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, template.PublicKey, rootKey)
	if err != nil {
		return nil, err
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	if parent == template {
		parent = c
	}
	return c, profile.CheckAuthority(c, template, parent)
}

func fingerprint(dir string) (string, error) {
	root, err := readCertificate(filepath.Join(dir, RootFile))
	if err != nil {
		return "", err
	}
	return invite.PinOf(root).String(), nil
}
