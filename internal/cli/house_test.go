package cli

import (
	"bytes"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/follow"
)

// openHouse opens the data folder of the test and closes it when the test ends.
func openHouse(t *testing.T, dir string) (*House, error) {
	t.Helper()
	lock, err := api.TryHold(dir)
	if err != nil {
		t.Fatal(err)
	}
	h, err := OpenHouse(t.Context(), lock, HouseOptions{})
	if err == nil {
		t.Cleanup(func() { h.Close() })
	}
	return h, err
}

func TestAHouseHasOneHolder(t *testing.T) {
	inFolder(t, true)
	h, err := openHouse(t, defaultData)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := api.TryHold(defaultData); err == nil {
		t.Error("a second holder is let in")
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := api.TryHold(defaultData)
	if err != nil {
		t.Fatalf("the house is closed and still held: %v", err)
	}
	again.Close()
}

// What is issued is known to the roster before the call returns.
func TestTheRosterFollows(t *testing.T) {
	inFolder(t, true)
	h, err := openHouse(t, defaultData)
	if err != nil {
		t.Fatal(err)
	}
	before := h.Roster.Size()
	n, err := parseName("ben")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Authority.Invite(t.Context(), authority.InviteRequest{Name: n}); err != nil {
		t.Fatal(err)
	}
	if err := h.Authority.Suspend(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if h.Roster.Size() != before+3 { // identity, invite, suspension
		t.Errorf("%d entries, then %d", before, h.Roster.Size())
	}
}

// Files of another authority, or damaged ones, open no house, and the folder
// is free again afterwards.
func TestAHouseOfStrangePartsStaysShut(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *testing.T)
		want  string
	}{
		"another ledger's key":  {func(t *testing.T) { take(t, "ledger.key") }, "ledger.key"},
		"another root":          {func(t *testing.T) { take(t, "root.pem") }, "root"},
		"another issuer's key":  {func(t *testing.T) { take(t, "issuers/clients-1.key") }, "clients-1"},
		"no ledger key":         {func(t *testing.T) { remove(t, "ledger.key") }, "ledger.key"},
		"no issuer key":         {func(t *testing.T) { remove(t, "issuers/servers-1.key") }, "servers-1"},
		"a key that all read":   {func(t *testing.T) { chmod(t, "ledger.key", 0o644) }, "chmod"},
		"a changed entry":       {func(t *testing.T) { query(t, "UPDATE ledger_entry SET data = zeroblob(40) WHERE seq = 1") }, "entry"},
		"a missing entry":       {func(t *testing.T) { query(t, "DELETE FROM ledger_entry WHERE seq = 1") }, "seq=1"},
		"a head that was moved": {func(t *testing.T) { query(t, "UPDATE ledger_head SET size = 2") }, "head"},
	} {
		t.Run(name, func(t *testing.T) {
			inFolder(t, true)
			c.spoil(t)
			_, err := openHouse(t, defaultData)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one about %q", err, c.want)
			}
			lock, err := api.TryHold(defaultData)
			if err != nil {
				t.Fatalf("the folder stays held: %v", err)
			}
			lock.Close()
		})
	}
}

// I11: a copy that is behind what was seen of the ledger stays shut until the
// loss is accepted.
func TestAnOlderCopyStaysShut(t *testing.T) {
	inFolder(t, true)
	copyFolder(t, defaultData, "old")
	var w world
	w.do(t, "group", "add", "family", "anna")
	_, err := openHouse(t, "old")
	if behind, ok := errors.AsType[*follow.BehindError](err); !ok || behind.Forked {
		t.Fatalf("an older copy: %v", err)
	}
	if w.run(t, "list", "--data", "old") != exitFailed || !strings.Contains(w.err.String(), "postern restore --accept-loss --data old") {
		t.Errorf("%s", w.err.String())
	}
	w.do(t, "restore", "--accept-loss", "--data", "old")
	w.do(t, "list", "--data", "old")
}

// A damaged ledger can still be looked at, and the place is named.
func TestVerifyNamesTheDamage(t *testing.T) {
	inFolder(t, true)
	var w world
	w.do(t, "group", "add", "family", "anna")
	w.do(t, "ledger", "verify")
	query(t, "UPDATE membership SET name = 'eve'")
	if code := w.run(t, "ledger", "verify"); code != exitFailed || !strings.Contains(w.out.String(), "membership") {
		t.Errorf("exit code %d: %s", code, w.out.String())
	}
	if code := w.run(t, "ledger", "verify", "--json"); code != exitFailed || !strings.Contains(w.out.String(), `"ok": false`) {
		t.Errorf("exit code %d: %s", code, w.out.String())
	}
}

// take puts a file of another authority in place of this one's.
func take(t *testing.T, name string) {
	t.Helper()
	var out bytes.Buffer
	other := t.TempDir()
	code := Main(t.Context(), Env{
		Args: []string{"init", "--json", "--data", other}, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out,
		Getenv: func(string) string { return "" }, Now: time.Now,
	})
	if code != exitDone {
		t.Fatal(out.String())
	}
	data, err := os.ReadFile(filepath.Join(other, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(defaultData, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(defaultData, name)); err != nil {
		t.Fatal(err)
	}
}

func chmod(t *testing.T, name string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(filepath.Join(defaultData, name), mode); err != nil {
		t.Fatal(err)
	}
}

// query changes the database behind Postern's back.
func query(t *testing.T, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(defaultData, authority.DatabaseFile))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}
