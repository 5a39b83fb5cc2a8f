package backup

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/follow"
	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/roster"
	"github.com/postern-project/postern/internal/store"
)

// A house is an authority on disk, open for issuing.
type house struct {
	dir   string
	store *store.Store
	*authority.Service
}

func newHouse(t testing.TB) house {
	t.Helper()
	d, err := identity.ParseTrustDomain("example.com")
	must(t, err)
	h := house{dir: t.TempDir()}
	_, err = authority.Init(t.Context(), authority.InitOptions{Dir: h.dir, TrustDomain: d})
	must(t, err)
	known := roster.New()
	h.store, err = store.Open(t.Context(), filepath.Join(h.dir, authority.DatabaseFile), store.Options{
		Signer: authority.LedgerSigner(h.dir, d),
		Committed: func(first uint64, entries []ledger.Entry, _ store.Head) {
			if err := known.Apply(first, entries); err != nil {
				t.Error(err)
			}
		},
	})
	must(t, err)
	t.Cleanup(func() { h.store.Close() })
	must(t, follow.Load(t.Context(), h.store, nil, known))
	h.Service, err = authority.Open(t.Context(), authority.Options{Dir: h.dir, Store: h.store, Roster: known})
	must(t, err)
	return h
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func spki(t testing.TB) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	must(t, err)
	return der
}

func (h house) issue(t testing.TB, ctx context.Context, key []byte) error {
	n, err := identity.ParseName("services/checkout")
	must(t, err)
	_, err = h.Issue(ctx, authority.IssueRequest{Name: n, Profile: "service", PublicKey: key})
	return err
}

func (h house) write(t testing.TB, to ...age.Recipient) []byte {
	t.Helper()
	var b bytes.Buffer
	_, err := Write(t.Context(), &b, Options{Dir: h.dir, Recipients: to, Now: time.Now()})
	must(t, err)
	return b.Bytes()
}

func restore(t testing.TB, data []byte, ids ...age.Identity) (string, Restored, error) {
	t.Helper()
	dir := t.TempDir()
	r, err := Restore(t.Context(), bytes.NewReader(data), RestoreOptions{Dir: dir, Identities: ids})
	return dir, r, err
}

// whole has everything in a restored folder recomputed.
func whole(t testing.TB, dir string, size uint64) {
	t.Helper()
	s, err := store.Open(t.Context(), filepath.Join(dir, authority.DatabaseFile), store.Options{})
	must(t, err)
	defer s.Close()
	r, err := s.Verify(t.Context())
	if err != nil || !r.OK || r.Size != size {
		t.Errorf("%d entries restored of %d: %v %v", r.Size, size, r.Fault, err)
	}
}

// A copy taken while certificates are issued as fast as can be is one moment of
// the ledger, whole.
func TestABackupDuringHeavyIssuing(t *testing.T) {
	h := newHouse(t)
	ctx, stop := context.WithCancel(t.Context())
	var issuers sync.WaitGroup
	started := make(chan struct{}, 1)
	for range 4 {
		key := spki(t)
		issuers.Go(func() {
			for ctx.Err() == nil {
				if err := h.issue(t, ctx, key); err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				select {
				case started <- struct{}{}:
				default:
				}
			}
		})
	}
	<-started
	var last uint64
	for range 3 {
		data := h.write(t)
		dir, r, err := restore(t, data)
		must(t, err)
		if r.Size <= last {
			t.Errorf("a later backup has %d entries after %d", r.Size, last)
		}
		last = r.Size
		whole(t, dir, r.Size)
	}
	stop()
	issuers.Wait()
}

func TestKeysAreSealed(t *testing.T) {
	h := newHouse(t)
	id, err := age.GenerateX25519Identity()
	must(t, err)
	data := h.write(t, id.Recipient())
	if bytes.Contains(data, []byte("PRIVATE KEY")) {
		t.Error("a private key is in the backup")
	}
	dir, r, err := restore(t, data, id)
	must(t, err)
	if len(r.KeyFiles) != 4 {
		t.Errorf("%q", r.KeyFiles)
	}
	for _, name := range r.KeyFiles {
		was, err := os.ReadFile(filepath.Join(h.dir, name))
		must(t, err)
		is, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		info, err := os.Stat(filepath.Join(dir, name))
		must(t, err)
		if !bytes.Equal(was, is) || info.Mode().Perm() != 0o600 {
			t.Errorf("%s came back with mode %s", name, info.Mode())
		}
	}
	if _, _, err := restore(t, data); !errors.Is(err, ErrKeysSealed) {
		t.Errorf("without an identity: %v", err)
	}
	other, err := age.GenerateX25519Identity()
	must(t, err)
	if _, _, err := restore(t, data, other); err == nil {
		t.Error("another identity opened the keys")
	}
	if plain := h.write(t); bytes.Contains(plain, []byte(keysPart)) {
		t.Error("keys are in a backup without them")
	}
}

// Each kind of file comes back as it was, or is left out on purpose. The whole
// life in cmd/postern fails when a real data folder has a file of no kind.
func TestEveryKindOfFileComesBack(t *testing.T) {
	h := newHouse(t)
	want := map[string]Treatment{
		"issuers/clients-2.key": Secret, "ledger.key.next": Secret, "acme.key": Secret, "assertions/20260102T030405Z.key": Secret,
		"served/app.example.com/kept.pem": Secret, "served/--1/kept.pem": Secret, "responders/clients-1/kept.pem": Secret, "upstream/app.example.com/kept.pem": Secret,
		"public/acme/acme-v02.example-directory/users/ops@example.com/ops.key": Secret,
		"public/certificates/acme-v02.example-directory/wildcard_.a.b/a.b.crt": Secret,
		"requests/0123456789abcdef.request":                                    Public, "root.ceremonies.txt": Public,
		"refusals.jsonl": Left, "refusals/refusals.jsonl": Left, "refusals/refusals.jsonl.1": Left, "postern.secret": Left, "secrets/root-passphrase.txt": Left, "downloads/postern-linux-amd64": Left, "postern.lock": Left,
		"public/locks/issue_cert_a.lock": Left, "postern.db.backup-v2": Left, "postern.db-wal": Recorded, ".init/root.pem": Left, "served/a/kept.pem.new": Left,
		"notes.txt": Unknown, "issuers/../../evil.pem": Unknown, "public/../evil": Unknown, "public/.hidden": Left, "crl.number": Public, ".crl.number.123": Left, "issuers/a/b.pem": Unknown, "root.pem\n": Unknown,
	}
	for name, how := range want {
		if got := TreatmentOf(name); got != how {
			t.Errorf("%q: %d, want %d", name, got, how)
		}
		if path := filepath.Join(h.dir, filepath.FromSlash(name)); !strings.Contains(name, "..") && how != Recorded && !strings.HasSuffix(name, "\n") {
			must(t, os.MkdirAll(filepath.Dir(path), 0o700))
			if _, err := os.Stat(path); err != nil {
				must(t, os.WriteFile(path, []byte(name), 0o600))
			}
		}
	}
	id, err := age.GenerateX25519Identity()
	must(t, err)
	for _, keys := range []bool{true, false} {
		var to []age.Recipient
		var with []age.Identity
		if keys {
			to, with = []age.Recipient{id.Recipient()}, []age.Identity{id}
		}
		dir, _, err := restore(t, h.write(t, to...), with...)
		must(t, err)
		for name, how := range want {
			was, _ := os.ReadFile(filepath.Join(h.dir, filepath.FromSlash(name)))
			is, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
			switch back := how == Public || how == Secret && keys; {
			case how == Recorded:
			case back && (err != nil || !bytes.Equal(was, is)):
				t.Errorf("with keys %t: %s did not come back: %v", keys, name, err)
			case !back && err == nil:
				t.Errorf("with keys %t: %s came back", keys, name)
			}
		}
	}
}

// Every way to cut the stream off, or to change it, is noticed, and no database
// is left.
func TestDamagedBackupsAreRefused(t *testing.T) {
	h := newHouse(t)
	must(t, h.issue(t, t.Context(), spki(t)))
	data := h.write(t)
	refused := func(what string, spoilt []byte) {
		t.Helper()
		dir, _, err := restore(t, spoilt)
		if err == nil {
			t.Errorf("%s: restored", what)
		}
		if _, err := os.Stat(filepath.Join(dir, authority.DatabaseFile)); err == nil {
			t.Errorf("%s: a database is left", what)
		}
	}
	end := bytes.LastIndex(data, []byte(endPart))
	for n := 0; n < end; n += 509 {
		refused("cut off", data[:n])
	}
	for _, part := range []string{manifestPart, "files/root.pem", "ledger/00000000", "certificates/00000000"} {
		at := bytes.Index(data, []byte(part)) + 512 // behind the part's header
		for n := at + 8; n < at+400; n += 37 {
			spoilt := bytes.Clone(data)
			spoilt[n] ^= 1
			refused("one bit of "+part, spoilt)
		}
	}
	refused("nothing", nil)
	refused("something else", []byte("hello"))
}

// A folder of the first release is backed up and restored by this one.
func TestAnOlderReleasesFolder(t *testing.T) {
	dir := t.TempDir()
	old, err := os.ReadFile(filepath.Join("..", "store", "testdata", "data-v1", "postern.db"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, authority.DatabaseFile), old, 0o600))
	// The first opening for writing upgrades it; nothing is signed.
	s, err := store.Open(t.Context(), filepath.Join(dir, authority.DatabaseFile), store.Options{
		Signer: func(uint64) (*ledger.Signer, error) { return nil, errors.New("nothing is to be signed") },
	})
	must(t, err)
	must(t, s.Close())
	must(t, os.WriteFile(filepath.Join(dir, authority.RootFile), []byte("root"), 0o600))
	h := house{dir: dir}
	back, r, err := restore(t, h.write(t))
	must(t, err)
	if r.Size == 0 {
		t.Error("nothing was restored")
	}
	whole(t, back, r.Size)
}

// FuzzRestore: whatever the stream says, no file is written outside of the
// folder, and none that is not of a data folder.
func FuzzRestore(f *testing.F) {
	h := newHouse(f)
	f.Add(h.write(f))
	f.Add([]byte("hello"))
	f.Fuzz(func(t *testing.T, data []byte) {
		base := t.TempDir()
		dir := filepath.Join(base, "in", "data")
		must(t, os.MkdirAll(dir, 0o700))
		_, err := Restore(t.Context(), bytes.NewReader(data), RestoreOptions{Dir: dir})
		if err != nil && errors.Is(err, io.EOF) {
			t.Errorf("%v says nothing to an operator", err)
		}
		must(t, filepath.WalkDir(base, func(path string, e os.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			rel, err := filepath.Rel(dir, path)
			if err != nil || TreatmentOf(filepath.ToSlash(rel)) != Public && rel != authority.DatabaseFile {
				t.Errorf("%s was written: %v", path, err)
			}
			return nil
		}))
	})
}
