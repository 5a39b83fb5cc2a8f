package authority

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/keys"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/profile"
)

func TestInitMakesAnAuthority(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "data")
	var shown keys.Passphrase
	r, err := Init(t.Context(), InitOptions{Dir: dir, TrustDomain: domain(t), Show: func(p keys.Passphrase) error {
		if is, _ := Initialised(dir); is {
			t.Error("the authority exists before its passphrase was shown")
		}
		shown = p
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Generated || r.Passphrase.IsZero() || shown.Reveal() != r.Passphrase.Reveal() {
		t.Error("the passphrase shown is not the one returned")
	}
	modes := map[string]fs.FileMode{
		"": 0o700, RootFile: 0o644, RootKeyFile: 0o600, LedgerKeyFile: 0o600, DatabaseFile: 0o600, IssuersFolder: 0o700,
		"issuers/clients-1.key": 0o600, "issuers/clients-1.pem": 0o644, "issuers/servers-1.key": 0o600, "issuers/servers-1.pem": 0o644,
	}
	for name, want := range modes {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %#o, want %#o", name, got, want)
		}
	}
	left, _ := os.ReadDir(dir)
	if len(left) != len(pieces) {
		t.Errorf("the folder holds %v", left)
	}
	root, err := readCertificate(filepath.Join(dir, RootFile))
	if err != nil || r.RootFingerprint != invite.PinOf(root).String() {
		t.Errorf("fingerprint %s, %v", r.RootFingerprint, err)
	}
	key, err := keys.Unseal(filepath.Join(dir, RootKeyFile), r.Passphrase)
	if err != nil || !key.Public().(*ecdsa.PublicKey).Equal(root.PublicKey) {
		t.Errorf("the sealed key is not the root's: %v", err)
	}
}

func TestTheFirstEntriesAreTheAnchors(t *testing.T) {
	for _, kind := range []keys.Kind{keys.ECDSAP256, keys.ECDSAP384} {
		h := newHouse(t, kind)
		entries := h.entries(0)
		if got, want := kinds(entries), []ledger.Kind{ledger.KindGenesis, ledger.KindIssuerAdded, ledger.KindIssuerAdded, ledger.KindRootListSigned, ledger.KindCeremonyRecorded}; !slices.Equal(got, want) {
			t.Fatalf("entries %v, want %v", got, want)
		}
		genesis := entries[0].Body.(ledger.Genesis)
		if err := genesis.Verify(); err != nil || genesis.TrustDomain != domain(t) {
			t.Errorf("genesis of %s: %v", genesis.TrustDomain, err)
		}
		for n, want := range []string{firstClients, firstServers} {
			added := entries[n+1].Body.(ledger.IssuerAdded)
			if err := added.Verify(h.roster.Root()); err != nil || added.Name != want {
				t.Errorf("issuer %s: %v", added.Name, err)
			}
			if err := profile.Lint(added.Certificate); err != nil {
				t.Error(err)
			}
		}
		h.verify()
	}
}

func TestInitRefuses(t *testing.T) {
	full := t.TempDir()
	if _, err := Init(t.Context(), InitOptions{Dir: full, TrustDomain: domain(t)}); err != nil {
		t.Fatal(err)
	}
	before := picture(t, full)
	_, err := Init(t.Context(), InitOptions{Dir: full, TrustDomain: domain(t)})
	wantCode(t, err, CodeExists)
	if !maps.EqualFunc(before, picture(t, full), bytes.Equal) {
		t.Error("the refused run changed the folder")
	}
	for _, piece := range pieces {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, piece), []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Init(t.Context(), InitOptions{Dir: dir, TrustDomain: domain(t)})
		wantCode(t, err, CodeExists)
		if data, _ := os.ReadFile(filepath.Join(dir, piece)); string(data) != "mine" {
			t.Errorf("%s was written over", piece)
		}
	}
	_, err = Init(t.Context(), InitOptions{Dir: t.TempDir()})
	wantCode(t, err, CodeBadRequest)
	if _, err := Init(t.Context(), InitOptions{Dir: t.TempDir(), TrustDomain: domain(t), KeyKind: "rsa-512"}); err == nil {
		t.Error("made an authority of RSA with 512 bits")
	}
	if _, err := Init(t.Context(), InitOptions{Dir: t.TempDir(), TrustDomain: domain(t), Passphrase: &keys.Passphrase{}}); err == nil {
		t.Error("sealed the root with nothing")
	}
	dir := t.TempDir()
	if _, err := Init(t.Context(), InitOptions{Dir: dir, TrustDomain: domain(t), Show: func(keys.Passphrase) error { return errors.New("no terminal") }}); err == nil {
		t.Error("went on although the passphrase could not be shown")
	}
	if is, _ := Initialised(dir); is {
		t.Error("an authority whose passphrase nobody saw")
	}
}

// A file of a lock or a socket beside it is left alone.
func TestInitLeavesOtherFilesAlone(t *testing.T) {
	dir := t.TempDir()
	lock := filepath.Join(dir, "postern.lock")
	if err := os.WriteFile(lock, []byte("17\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Init(t.Context(), InitOptions{Dir: dir, TrustDomain: domain(t)}); err != nil {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(lock); string(data) != "17\n" {
		t.Error("the lock is gone")
	}
}

// I8, I10: killed after any step, no file holds the root's key in the clear,
// and the next run ends with a whole authority.
func TestInitKilledAtEveryStep(t *testing.T) {
	moments, rootKey, seen := record(t)
	if len(moments) < 12 {
		t.Fatalf("only %d steps", len(moments))
	}
	committed := false
	for n, at := range moments {
		committed = committed || at.step == "committed"
		t.Run(fmt.Sprintf("%02d %s", n, at.step), func(t *testing.T) {
			dir := t.TempDir()
			restore(t, dir, at.files)
			noPlainKey(t, dir, rootKey)
			r, err := Init(t.Context(), InitOptions{Dir: dir, TrustDomain: domain(t)})
			if CodeOf(err) == CodeExists && n == len(moments)-1 {
				err = nil // killed after the last step
			}
			if err != nil {
				t.Fatal(err)
			}
			if is, err := Initialised(dir); !is || err != nil {
				t.Errorf("not initialised: %v", err)
			}
			if committed == r.Generated {
				t.Errorf("a passphrase was drawn: %t", r.Generated)
			}
			if committed {
				r.Passphrase = seen
			}
			h := &house{t: t, dir: dir, clock: &clock{}, log: newTape()}
			h.open()
			h.issue("ben/phone")
			h.verify()
			if n > 0 && n < len(moments)-1 {
				return // opening the seal takes its time, twice is enough
			}
			sealed, err := keys.Unseal(filepath.Join(dir, RootKeyFile), r.Passphrase)
			if err != nil {
				t.Fatal(err)
			}
			if sealed.(*ecdsa.PrivateKey).Equal(rootKey) != committed {
				t.Error("the sealed key is that of the other run")
			}
			noPlainKey(t, dir, sealed.(*ecdsa.PrivateKey))
		})
	}
}

// A moment is the data folder as a kill after a step leaves it.
type moment struct {
	step  string
	files map[string][]byte // folders have no bytes and end in a slash
}

// record runs Init and keeps what the folder holds after every step, the
// root's key and the passphrase that was shown.
func record(t *testing.T) (moments []moment, rootKey *ecdsa.PrivateKey, seen keys.Passphrase) {
	t.Helper()
	dir := t.TempDir()
	m := &maker{InitOptions: InitOptions{Dir: dir, TrustDomain: domain(t), Now: time.Now, Log: newTape().logger()}}
	m.Show = func(p keys.Passphrase) error { seen = p; return nil }
	m.step = func(what string) {
		if k, ok := m.rootKey.(*ecdsa.PrivateKey); ok {
			rootKey = k
		}
		moments = append(moments, moment{what, picture(t, dir)})
	}
	if _, err := m.make(t.Context()); err != nil {
		t.Fatal(err)
	}
	return append(moments, moment{"returned", picture(t, dir)}), rootKey, seen
}

func picture(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		name, _ := strings.CutPrefix(path, dir)
		switch {
		case err != nil:
			return err
		case e.IsDir():
			files[name+"/"] = nil
			return nil
		}
		files[name], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func restore(t testing.TB, dir string, files map[string][]byte) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(dir, name)
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(path, 0o700); err != nil {
				t.Fatal(err)
			}
		} else if err := os.WriteFile(path, files[name], 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// noPlainKey looks for the private number of k, in the forms in which a file
// might hold it, in every file below dir.
func noPlainKey(t *testing.T, dir string, k *ecdsa.PrivateKey) {
	t.Helper()
	d, err := k.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	text := base64.StdEncoding.EncodeToString(der)
	forms := [][]byte{d, []byte(hex.EncodeToString(d)), []byte(strings.ToUpper(hex.EncodeToString(d))),
		[]byte(text[len(text)/2-16 : len(text)/2+16]), []byte(base64.StdEncoding.EncodeToString(d)[:24])}
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		// A PEM's lines are broken, so it is searched without its ends.
		flat := bytes.ReplaceAll(data, []byte("\n"), nil)
		for n, form := range forms {
			if bytes.Contains(data, form) || bytes.Contains(flat, form) {
				t.Errorf("%s holds the root's key, form %d", path, n)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The search above finds what it looks for.
func TestNoPlainKeyWouldFindOne(t *testing.T) {
	k, err := keys.Generate(keys.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := keys.WritePrivate(filepath.Join(dir, "k"), k); err != nil {
		t.Fatal(err)
	}
	probe := &testing.T{}
	noPlainKey(probe, dir, k.(*ecdsa.PrivateKey))
	if !probe.Failed() {
		t.Error("a key in PEM was not found")
	}
}

func TestLedgerSignerNeedsAnEd25519Key(t *testing.T) {
	dir := t.TempDir()
	if _, err := LedgerSigner(dir, domain(t))(0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no key: %v", err)
	}
	k, err := keys.Generate(keys.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.WritePrivate(filepath.Join(dir, LedgerKeyFile), k); err != nil {
		t.Fatal(err)
	}
	if _, err := LedgerSigner(dir, domain(t))(0); err == nil || !strings.Contains(err.Error(), "Ed25519") {
		t.Errorf("an ECDSA key: %v", err)
	}
}

func TestOpenNeedsALoadedRoster(t *testing.T) {
	h := newHouse(t, "")
	if _, err := Open(t.Context(), Options{Dir: h.dir, Store: h.store}); err == nil {
		t.Error("opened without a roster")
	}
	var nobody identity.TrustDomain
	if h.TrustDomain() == nobody || len(h.Root()) == 0 {
		t.Error("no trust domain or root")
	}
	if _, ok := any(h.entries(0)[0].Body.(ledger.Genesis).LedgerKey).(ed25519.PublicKey); !ok {
		t.Error("the ledger's key is not Ed25519")
	}
}
