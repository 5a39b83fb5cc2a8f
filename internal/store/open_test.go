package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/postern-project/postern/internal/ledger"
)

func readOnly(t testing.TB, path string) (*Store, error) {
	t.Helper()
	s, err := Open(t.Context(), path, Options{})
	if err == nil {
		t.Cleanup(func() { s.Close() })
	}
	return s, err
}

func TestAReadOnlyStoreReadsAndVerifiesWhileAnotherOneWrites(t *testing.T) {
	w, s := started(t)
	r, err := readOnly(t, s.Path())
	must(t, err)
	update(t, s, w.certificate("ben", 1))
	sound(t, r)
	if err := appendAll(r, ledger.IdentityCreated{Name: name("anna")}); !errors.Is(err, ErrReadOnly) {
		t.Errorf("Update: %v, want ErrReadOnly", err)
	}
	if err := r.KeepCertificate(t.Context(), ledger.Hash{}, nil); !errors.Is(err, ErrReadOnly) {
		t.Errorf("KeepCertificate: %v, want ErrReadOnly", err)
	}
}

func TestWhatIsNoLedger(t *testing.T) {
	dir := t.TempDir()
	_, whole := started(t)
	must(t, whole.Close())
	good, err := os.ReadFile(whole.Path())
	must(t, err)
	foreign := filepath.Join(dir, "foreign.db")
	other, err := open(t.Context(), foreign, Options{Signer: signer}, []migration{{1, "CREATE TABLE cookies (host TEXT);"}})
	must(t, err)
	must(t, other.Close())
	tamper(t, other, "DROP TABLE goose_db_version")
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, data, 0o600))
		return path
	}
	tests := map[string]struct {
		path string
		want error
		says string
	}{
		"a text":                     {write("text.db", bytes.Repeat([]byte("not a database\n"), 400)), ErrDamaged, "not a database"},
		"a truncated database":       {write("short.db", good[:len(good)/2]), ErrDamaged, "backup"},
		"the first page alone":       {write("page.db", good[:4096]), ErrDamaged, "backup"},
		"another program's database": {foreign, ErrDamaged, "another program's"},
		"a folder":                   {dir, nil, "folder"},
		"a file in a missing folder": {filepath.Join(dir, "none", "postern.db"), ErrReadOnly, "make the folder"},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			s, err := Open(t.Context(), test.path, Options{Signer: signer})
			if err == nil {
				// what opens must not pass for whole
				err = appendAll(s, ledger.IdentityCreated{Name: name("anna")})
				s.Close()
			}
			if err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want %v and %q", err, test.want, test.says)
			}
		})
	}
	if _, err := readOnly(t, filepath.Join(dir, "nothing.db")); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "postern init") {
		t.Errorf("reading what is not there: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "nothing.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a read-only store made the file")
	}
}

func TestTheFileIsForItsOwnerOnly(t *testing.T) {
	_, s := started(t)
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(s.Path() + suffix)
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("postern.db%s has mode %v, want 0600", suffix, info.Mode().Perm())
		}
	}
}

func TestAPathIsTakenAsItIs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a folder?mode=memory&x#%41", "postern.db")
	must(t, os.Mkdir(filepath.Dir(path), 0o700))
	s := openAt(t, path, Options{})
	newWorld(t).begin(t, s)
	must(t, s.Close())
	if info, err := os.Stat(path); err != nil || info.Size() == 0 {
		t.Errorf("the database is not where it was asked for: %v", err)
	}
}

func TestANewerSchemaIsRefused(t *testing.T) {
	_, s := started(t)
	must(t, s.Close())
	tamper(t, s, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)")
	before, err := os.ReadFile(s.Path())
	must(t, err)
	for what, o := range map[string]Options{"to write": {Signer: signer}, "to read": {}} {
		_, err := Open(t.Context(), s.Path(), o)
		e, ok := errors.AsType[*SchemaError](err)
		if !ok || e.Have != 99 || !strings.Contains(err.Error(), "newer") {
			t.Errorf("%s: %v, want a *SchemaError", what, err)
		}
	}
	after, err := os.ReadFile(s.Path())
	must(t, err)
	if !bytes.Equal(before, after) {
		t.Error("the file was changed all the same")
	}
}

func TestAnOlderSchemaIsBackedUpAndUpgraded(t *testing.T) {
	w, s := started(t)
	must(t, s.Close())
	known, err := embedded()
	must(t, err)
	next := newest(known) + 1
	later := append(known, migration{next, "CREATE TABLE later (a BIGINT PRIMARY KEY);\nALTER TABLE identity ADD COLUMN note TEXT;"})

	if _, err := open(t.Context(), s.Path(), Options{}, later); err == nil || !strings.Contains(err.Error(), "postern up") {
		t.Errorf("reading an older schema: %v", err)
	}
	upgraded, err := open(t.Context(), s.Path(), Options{Signer: signer}, later)
	must(t, err)
	update(t, upgraded, w.certificate("ben", 1))
	must(t, upgraded.Close())

	backup := fmt.Sprintf("%s.backup-v%d", s.Path(), next-1)
	info, err := os.Stat(backup)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the backup has mode %v, want 0600", info.Mode().Perm())
	}
	old := openAt(t, backup, Options{})
	sound(t, old)
	if _, err := old.Certificate(t.Context(), w.certificate("ben", 1).Serial); !errors.Is(err, ErrNotFound) {
		t.Errorf("the backup is not from before the upgrade: %v", err)
	}
	if _, err := Open(t.Context(), s.Path(), Options{Signer: signer}); err == nil {
		t.Error("an older postern opened what a newer one upgraded")
	}
}

func TestAnUpgradeThatFailsLeavesTheOldSchema(t *testing.T) {
	w, s := started(t)
	must(t, s.Close())
	known, err := embedded()
	must(t, err)
	broken := append(known, migration{newest(known) + 1, "CREATE TABLE later (a BIGINT PRIMARY KEY);\nCREATE NONSENSE;"})
	if _, err := open(t.Context(), s.Path(), Options{Signer: signer}, broken); err == nil {
		t.Fatal("nonsense was applied")
	}
	s = openAt(t, s.Path(), Options{})
	update(t, s, w.certificate("ben", 1))
	sound(t, s)
}

func TestAnotherProcessHoldsTheDatabase(t *testing.T) {
	var j journal
	s := openAt(t, filepath.Join(t.TempDir(), "postern.db"), Options{Committed: j.committed})
	newWorld(t).begin(t, s)
	s2, err := Open(t.Context(), s.Path(), Options{Signer: signer, connected: func(c *session) error {
		_, err := c.exec(context.Background(), "PRAGMA busy_timeout = 50")
		return err
	}})
	must(t, err)
	defer s2.Close()
	must(t, s.Update(t.Context(), func(tx *Tx) error {
		err := appendAll(s2, ledger.IdentityCreated{Name: name("anna")})
		if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "another process") {
			t.Errorf("got %v, want ErrLocked", err)
		}
		return nil
	}))
	update(t, s2, ledger.IdentityCreated{Name: name("anna")})
	update(t, s, ledger.IdentityCreated{Name: name("carl")})
	if !slices.Equal(marshalled(j.entries), marshalled(bodies(t, s))) || j.gap {
		t.Errorf("Committed was not told what the other one wrote (gap %v)", j.gap)
	}
	sound(t, s)
}

// stranger opens a store as a user who may not write there.
func stranger(path string) error {
	s, err := Open(context.Background(), path, Options{Signer: signer})
	if err != nil {
		return err
	}
	defer s.Close()
	return appendAll(s, ledger.IdentityCreated{Name: name("anna")})
}

func TestAFolderThatCannotBeWritten(t *testing.T) {
	_, s := started(t)
	must(t, s.Close())
	dir := filepath.Dir(s.Path())
	must(t, os.Chmod(s.Path(), 0o644))
	tests := map[string]struct {
		path string
		mode fs.FileMode
	}{
		"with a ledger in it": {s.Path(), 0o555},
		"without":             {filepath.Join(dir, "new.db"), 0o555},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			open := func(d string, mode fs.FileMode) {
				must(t, os.Chmod(d, mode))
			}
			open(filepath.Dir(dir), 0o755) // the test's own folder, for the stranger to pass through
			open(dir, test.mode)
			t.Cleanup(func() { open(dir, 0o700) })
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(os.Environ(), "POSTERN_TEST_STRANGER="+test.path)
			if os.Geteuid() == 0 { // root may write anywhere
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
			}
			out, err := cmd.CombinedOutput()
			must(t, err)
			if !strings.Contains(string(out), "writable for the user") {
				t.Errorf("got %q", out)
			}
		})
	}
	sound(t, openAt(t, s.Path(), Options{}))
}
