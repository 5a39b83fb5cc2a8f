package follow

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"encoding/binary"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/store"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func key(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func public(seed byte) ed25519.PublicKey { return key(seed).Public().(ed25519.PublicKey) }

func domain() identity.TrustDomain {
	d, err := identity.ParseTrustDomain("example.com")
	if err != nil {
		panic(err)
	}
	return d
}

func signer(epoch uint64) (*ledger.Signer, error) {
	return ledger.NewSigner(ledger.Origin(domain(), epoch), key(7))
}

func name(s string) identity.Name {
	n, err := identity.ParseName(s)
	if err != nil {
		panic(err)
	}
	return n
}

func newCA(t testing.TB, cn string, parent *x509.Certificate, parentKey crypto.Signer) (crypto.Signer, *x509.Certificate) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: cn},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	if parent == nil {
		parent, parentKey = template, k
	} else {
		template.MaxPathLenZero = true
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, k.Public(), parentKey)
	must(t, err)
	c, err := x509.ParseCertificate(der)
	must(t, err)
	return k, c
}

// A folder is a data folder with a ledger in it.
type folder struct {
	path   string
	issuer ledger.KeyID
	leaf0  ledger.Hash // of the genesis entry
}

func newFolder(t testing.TB, certificates int) folder {
	t.Helper()
	rootKey, root := newCA(t, "root", nil, nil)
	issuerKey, issuer := newCA(t, "clients-1", root, rootKey)
	genesis, err := ledger.NewGenesis(domain(), root.Raw, public(7), rootKey)
	must(t, err)
	spki, err := x509.MarshalPKIXPublicKey(issuerKey.Public())
	must(t, err)
	f := folder{path: filepath.Join(t.TempDir(), "postern.db"), issuer: sha256.Sum256(spki)}
	s := f.open(t)
	appendAll(t, s, genesis, ledger.IssuerAdded{Name: "clients-1", Use: ledger.UseClients, Certificate: issuer.Raw},
		ledger.IdentityCreated{Name: name("ben")})
	f.grow(t, s, 1, certificates)
	for record, err := range s.Records(t.Context(), 0) {
		must(t, err)
		f.leaf0 = ledger.LeafHash(record.Data)
		break
	}
	must(t, s.Close())
	return f
}

func (f folder) open(t testing.TB) *store.Store {
	t.Helper()
	s, err := store.Open(context.Background(), f.path, store.Options{Signer: signer})
	must(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// grow issues certificates with the numbers first and after.
func (f folder) grow(t testing.TB, s *store.Store, first, n int) {
	t.Helper()
	all := make([]ledger.Body, n)
	for i := range all {
		all[i] = f.certificate(uint64(first + i))
	}
	appendAll(t, s, all...)
}

func (f folder) certificate(number uint64) ledger.CertificateIssued {
	serial, err := ledger.SerialFromBytes(binary.BigEndian.AppendUint64([]byte{1}, number))
	if err != nil {
		panic(err)
	}
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	return ledger.CertificateIssued{
		Ref:  ledger.Ref{Issuer: f.issuer, Serial: serial, TBS: sha256.Sum256(fmt.Append(nil, "tbs", number))},
		Name: name("ben"), Profile: "device", NotBefore: at, NotAfter: at.AddDate(1, 0, 0), Via: "issue",
	}
}

// copied returns the folder as it is now, elsewhere.
func (f folder) copied(t testing.TB) folder {
	t.Helper()
	data, err := os.ReadFile(f.path)
	must(t, err)
	f.path = filepath.Join(t.TempDir(), "postern.db")
	must(t, os.WriteFile(f.path, data, 0o600))
	return f
}

func appendAll(t testing.TB, s *store.Store, bodies ...ledger.Body) {
	t.Helper()
	must(t, s.Update(context.Background(), func(tx *store.Tx) error {
		for _, b := range bodies {
			if err := tx.Append(b); err != nil {
				return err
			}
		}
		return nil
	}))
}

// tamper changes the database behind the store's back.
func (f folder) tamper(t testing.TB, statement string, args ...any) {
	t.Helper()
	db, err := sql.Open("sqlite", f.path)
	must(t, err)
	defer db.Close()
	result, err := db.Exec(statement, args...)
	must(t, err)
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		t.Fatalf("%s changed nothing: %v", statement, err)
	}
}

func headOf(t testing.TB, s *store.Store) store.Head {
	t.Helper()
	h, err := s.Head(context.Background())
	must(t, err)
	return h
}
