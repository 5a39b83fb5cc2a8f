package store

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
	"encoding/binary"
	"fmt"
	"math/big"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
)

// A world is all that a ledger needs to begin.
type world struct {
	genesis ledger.Genesis
	issuer  ledger.IssuerAdded
	key     ledger.KeyID // of the issuer
}

func ledgerKey() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
}

func domain(t testing.TB) identity.TrustDomain {
	d, err := identity.ParseTrustDomain("example.com")
	must(t, err)
	return d
}

func signer(epoch uint64) (*ledger.Signer, error) {
	d, err := identity.ParseTrustDomain("example.com")
	if err != nil {
		return nil, err
	}
	return ledger.NewSigner(ledger.Origin(d, epoch), ledgerKey())
}

func newWorld(t testing.TB) world {
	t.Helper()
	rootKey, root := newCA(t, "root", nil, nil)
	issuerKey, issuer := newCA(t, "clients-1", root, rootKey)
	g, err := ledger.NewGenesis(domain(t), root.Raw, ledgerKey().Public().(ed25519.PublicKey), rootKey)
	must(t, err)
	spki, err := x509.MarshalPKIXPublicKey(issuerKey.Public())
	must(t, err)
	return world{g, ledger.IssuerAdded{Name: "clients-1", Use: ledger.UseClients, Certificate: issuer.Raw}, sha256.Sum256(spki)}
}

func newCA(t testing.TB, name string, parent *x509.Certificate, parentKey crypto.Signer) (crypto.Signer, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	if parent == nil {
		parent, parentKey = template, key
	} else {
		template.MaxPathLenZero = true
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	must(t, err)
	c, err := x509.ParseCertificate(der)
	must(t, err)
	return key, c
}

// begin appends what every ledger begins with.
func (w world) begin(t testing.TB, s *Store) {
	t.Helper()
	update(t, s, w.genesis, w.issuer, ledger.IdentityCreated{Name: name("ben")}, ledger.IdentityCreated{Name: name("ben/phone")})
}

// certificate returns the record of a certificate that no other call returns.
func (w world) certificate(n string, number uint64) ledger.CertificateIssued {
	serial, err := ledger.SerialFromBytes(binary.BigEndian.AppendUint64([]byte{1}, number))
	if err != nil {
		panic(err)
	}
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	return ledger.CertificateIssued{
		Ref:  ledger.Ref{Issuer: w.key, Serial: serial, TBS: hashOf("tbs", number)},
		Name: name(n), Profile: "device", Key: hashOf("key", number), NotBefore: at, NotAfter: at.AddDate(1, 0, 0), Via: "issue",
	}
}

func (w world) invite(n string, number uint64) ledger.InviteCreated {
	return ledger.InviteCreated{Code: hashOf("code", number), Name: name(n), Profile: "device",
		Expires: time.Date(2026, 5, 1, 12, 15, 0, 0, time.UTC)}
}

func hashOf(what string, number uint64) ledger.Hash {
	return sha256.Sum256(fmt.Appendf(nil, "%s %d", what, number))
}

func name(s string) identity.Name {
	n, err := identity.ParseName(s)
	if err != nil {
		panic(err)
	}
	return n
}

func group(s string) identity.Group {
	g, err := identity.ParseGroup(s)
	if err != nil {
		panic(err)
	}
	return g
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func update(t testing.TB, s *Store, bodies ...ledger.Body) {
	t.Helper()
	must(t, appendAll(s, bodies...))
}

func appendAll(s *Store, bodies ...ledger.Body) error {
	return s.Update(context.Background(), func(tx *Tx) error {
		for _, b := range bodies {
			if err := tx.Append(b); err != nil {
				return err
			}
		}
		return nil
	})
}

func openAt(t testing.TB, path string, o Options) *Store {
	t.Helper()
	if o.Signer == nil {
		o.Signer = signer
	}
	s, err := Open(context.Background(), path, o)
	must(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// started returns a new store that holds the beginning of a ledger.
func started(t testing.TB) (world, *Store) {
	t.Helper()
	w := newWorld(t)
	s := openAt(t, filepath.Join(t.TempDir(), "postern.db"), Options{})
	w.begin(t, s)
	return w, s
}

func bodies(t testing.TB, s *Store) []ledger.Entry {
	t.Helper()
	var all []ledger.Entry
	for e, err := range s.Entries(t.Context(), 0) {
		must(t, err)
		all = append(all, e)
	}
	return all
}

func sound(t testing.TB, s *Store) {
	t.Helper()
	report, err := s.Verify(t.Context())
	must(t, err)
	if !report.OK {
		t.Fatalf("verify: %v", report.Fault)
	}
}

// everything appends at least one entry of each kind and leaves each view
// with several rows.
func (w world) everything(t testing.TB, s *Store) {
	t.Helper()
	w.begin(t, s)
	first, second, third := w.certificate("ben/phone", 1), w.certificate("ben/phone", 2), w.certificate("ben", 3)
	second.RenewedFrom = first.Ref
	third.DNSNames = []string{"a.example.com", "b.example.com"}
	third.IPs = []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::1")}
	used, cancelled, open := w.invite("ben/phone", 1), w.invite("ben", 2), w.invite("ben", 3)
	used.Group = group("family")
	update(t, s, ledger.GroupJoined{Group: group("family"), Name: name("ben")}, ledger.GroupJoined{Group: group("ops"), Name: name("ben/phone")},
		used, cancelled, open, first, ledger.InviteUsed{Code: used.Code, Key: first.Key, TBS: first.TBS}, second, third)
	update(t, s, ledger.IdentitySuspended{Name: name("ben")}, ledger.IdentityReinstated{Name: name("ben")},
		ledger.IdentitySuspended{Name: name("ben/phone")}, ledger.GroupLeft{Group: group("ops"), Name: name("ben/phone")},
		ledger.InviteCancelled{Code: cancelled.Code})
	update(t, s, ledger.CertificatesRevoked{Name: name("ben/phone"), Reason: ledger.ReasonKeyCompromise, Certificates: []ledger.Ref{first.Ref, second.Ref}},
		ledger.EpochOpened{Epoch: 1, From: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), LostSize: 99, LostRoot: hashOf("lost", 1)},
		ledger.IssuerDistrusted{Issuer: w.key, Reason: ledger.ReasonKeyCompromise})
}

// journal collects what Committed is told.
type journal struct {
	mu      sync.Mutex
	entries []ledger.Entry
	head    Head
	gap     bool
}

func (j *journal) committed(first uint64, entries []ledger.Entry, head Head) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.gap = j.gap || first != uint64(len(j.entries)) || head.Size != first+uint64(len(entries))
	j.entries, j.head = append(j.entries, entries...), head
}

func (j *journal) size() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.entries)
}

func hashBytes(b []byte) ledger.Hash { return sha256.Sum256(b) }
