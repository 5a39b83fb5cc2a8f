package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"database/sql"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/follow"
	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/keys"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/refusal"
	"github.com/postern-project/postern/internal/roster"
	"github.com/postern-project/postern/internal/store"
)

// A house is an authority on a real disk, with its store and its roster.
type house struct {
	*Service
	t      testing.TB
	dir    string
	store  *store.Store
	roster *roster.Roster
	clock  *clock
	log    *tape
}

// A clock is put forward by hand.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// A tape is a slog.Handler that keeps everything that was logged.
type tape struct {
	mu    sync.Mutex
	text  strings.Builder
	inner slog.Handler
}

func newTape() *tape {
	t := &tape{}
	t.inner = slog.NewJSONHandler(t, &slog.HandlerOptions{Level: slog.LevelDebug - 4, AddSource: true})
	return t
}

func (t *tape) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.Write(p)
}

func (t *tape) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

func (t *tape) logger() *slog.Logger { return slog.New(t.inner) }

func domain(t testing.TB) identity.TrustDomain {
	t.Helper()
	d, err := identity.ParseTrustDomain("example.com")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// newHouse makes an authority and opens it.
func newHouse(t testing.TB, kind keys.Kind) *house {
	t.Helper()
	h := &house{t: t, dir: t.TempDir(), clock: &clock{}, log: newTape()}
	restore(t, h.dir, freshFolder(t, kind))
	h.open()
	return h
}

// fresh holds the files that Init makes, by kind of key, for Init takes its
// time over the passphrase.
var fresh struct {
	mu     sync.Mutex
	byKind map[keys.Kind]map[string][]byte
	words  map[keys.Kind]keys.Passphrase
}

func freshFolder(t testing.TB, kind keys.Kind) map[string][]byte {
	t.Helper()
	fresh.mu.Lock()
	defer fresh.mu.Unlock()
	if fresh.byKind[kind] != nil {
		return fresh.byKind[kind]
	}
	dir := t.TempDir()
	made, err := Init(t.Context(), InitOptions{Dir: dir, TrustDomain: domain(t), KeyKind: kind})
	if err != nil {
		t.Fatal(err)
	}
	files := picture(t, dir)
	if fresh.byKind == nil {
		fresh.byKind, fresh.words = map[keys.Kind]map[string][]byte{}, map[keys.Kind]keys.Passphrase{}
	}
	fresh.words[kind] = made.Passphrase
	fresh.byKind[kind] = files
	return files
}

// open does what the program does at its start.
func (h *house) open() {
	h.t.Helper()
	h.roster = roster.New()
	var err error
	h.store, err = store.Open(h.t.Context(), filepath.Join(h.dir, DatabaseFile), store.Options{
		Signer: LedgerSigner(h.dir, domain(h.t)), Now: h.clock.now, Log: h.log.logger(),
		Committed: func(first uint64, entries []ledger.Entry, _ store.Head) {
			if err := h.roster.Apply(first, entries); err != nil {
				h.t.Error(err)
			}
		},
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { h.store.Close() })
	signer, err := LedgerSigner(h.dir, domain(h.t))(0)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := follow.Load(h.t.Context(), h.store, signer.Public(), h.roster); err != nil {
		h.t.Fatal(err)
	}
	h.Service, err = Open(h.t.Context(), Options{Dir: h.dir, Store: h.store, Roster: h.roster, Log: h.log.logger(), Now: h.clock.now})
	if err != nil {
		h.t.Fatal(err)
	}
}

// verify has the ledger and all views recomputed.
func (h *house) verify() {
	h.t.Helper()
	v, err := h.Verify(h.t.Context())
	if err != nil || !v.OK {
		h.t.Errorf("the ledger does not verify: %v %s", err, v.Fault)
	}
}

// entries returns what the ledger holds, from an entry on.
func (h *house) entries(from uint64) []ledger.Entry {
	h.t.Helper()
	var all []ledger.Entry
	for e, err := range h.store.Entries(h.t.Context(), from) {
		if err != nil {
			h.t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

// judge asks the roster, as a gateway does.
func (h *house) judge(i Issued) refusal.Code {
	h.t.Helper()
	return h.roster.Check(i.Ref, i.NotBefore).Code
}

func (h *house) issue(name string) Issued {
	h.t.Helper()
	i, err := h.Issue(h.t.Context(), IssueRequest{Name: named(h.t, name), PublicKey: newSPKI(h.t)})
	if err != nil {
		h.t.Fatal(err)
	}
	return i
}

func (h *house) renew(old Issued) Issued {
	h.t.Helper()
	i, err := h.Renew(h.t.Context(), proved(h.t, old, newSPKI(h.t)))
	if err != nil {
		h.t.Fatal(err)
	}
	return i
}

func (h *house) invite(name string) Invitation {
	h.t.Helper()
	i, err := h.Invite(h.t.Context(), InviteRequest{Name: named(h.t, name)})
	if err != nil {
		h.t.Fatal(err)
	}
	return i
}

func named(t testing.TB, s string) identity.Name {
	t.Helper()
	n, err := identity.ParseName(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func grouped(t testing.TB, s string) identity.Group {
	t.Helper()
	g, err := identity.ParseGroup(s)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func newSPKI(t testing.TB) []byte {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki := spkiOf(t, k.Public())
	keysMade.Store(sha256.Sum256(spki), k)
	return spki
}

// keysMade holds the keys of newSPKI by the SHA-256 of what it returned.
var keysMade sync.Map

// proved asks for a renewal with the holder's proof.
func proved(t testing.TB, old Issued, spki []byte) RenewRequest {
	t.Helper()
	leaf := leafOf(t, old)
	key, ok := keysMade.Load(sha256.Sum256(leaf.RawSubjectPublicKeyInfo))
	if !ok {
		t.Fatal("the key of the old certificate is not known")
	}
	proof, err := invite.ProveRenewal(key.(crypto.Signer), leaf, spki)
	if err != nil {
		t.Fatal(err)
	}
	return RenewRequest{Ref: old.Ref, PublicKey: spki, Proof: proof}
}

func spkiOf(t testing.TB, pub crypto.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func leafOf(t testing.TB, i Issued) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(i.Chain[0])
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// wantCode fails the test unless err is an Error of the code with a hint for
// what to do.
func wantCode(t testing.TB, err error, code string) {
	t.Helper()
	if CodeOf(err) != code {
		t.Errorf("got %v (%q), want code %q", err, CodeOf(err), code)
	}
}

func kinds(entries []ledger.Entry) []ledger.Kind {
	var all []ledger.Kind
	for _, e := range entries {
		all = append(all, e.Body.Kind())
	}
	return all
}

// noSecret fails the test if any of secrets was logged.
func (h *house) noSecret(secrets ...string) {
	h.t.Helper()
	text := h.log.String()
	if i := slices.IndexFunc(secrets, func(s string) bool { return s != "" && strings.Contains(text, s) }); i >= 0 {
		h.t.Errorf("secret %d stands in the log:\n%s", i, text)
	}
}

func rootLike(t testing.TB) crypto.Signer {
	t.Helper()
	k, err := keys.Generate(keys.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// loaded returns a roster of what the ledger holds now, which hears of nothing
// that comes later.
func loaded(t testing.TB, h *house) *roster.Roster {
	t.Helper()
	r := roster.New()
	if err := r.Apply(0, h.entries(0)); err != nil {
		t.Fatal(err)
	}
	return r
}

// everything selects all certificates.
var everything = store.Filter{}

func (h *house) remove(path string) {
	h.t.Helper()
	if err := os.Remove(path); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) chmod(path string, mode fs.FileMode) {
	h.t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) writeKey(path string) {
	h.t.Helper()
	if err := keys.WritePrivate(path, rootLike(h.t)); err != nil {
		h.t.Fatal(err)
	}
}

// tamper changes the tables behind the store's back, as somebody would who has
// write access to the database and nothing else.
func (h *house) tamper(query string) {
	h.t.Helper()
	db, err := sql.Open("sqlite", h.store.Path())
	if err != nil {
		h.t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(h.t.Context(), query); err != nil {
		h.t.Fatal(err)
	}
}
