package follow

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/refusal"
	"github.com/postern-project/postern/internal/roster"
	"github.com/postern-project/postern/internal/store"
)

// keyed signs for any trust domain.
func keyed(k ed25519.PrivateKey) func(identity.TrustDomain, uint64) (*ledger.Signer, error) {
	return func(d identity.TrustDomain, epoch uint64) (*ledger.Signer, error) {
		return ledger.NewSigner(ledger.Origin(d, epoch), k)
	}
}

func (f folder) snapshot() string { return filepath.Join(filepath.Dir(f.path), "roster.snapshot") }

// begin loads the folder as a start of postern does, with k for ledger.key, and
// returns what was logged.
func (f folder) begin(t testing.TB, s *store.Store, k ed25519.PrivateKey) (*Snapshots, *roster.Roster, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	r := roster.New()
	x := NewSnapshots(f.snapshot(), r, keyed(k), slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})))
	x.few = 4
	must(t, x.Load(t.Context(), s))
	return x, r, &log
}

// shelved returns a folder with a snapshot of all its entries.
func shelved(t testing.TB, certificates int) folder {
	t.Helper()
	f := newFolder(t, certificates)
	s := f.open(t)
	x, _, _ := f.begin(t, s, key(7))
	x.Close()
	must(t, s.Close())
	return f
}

// shelvedCopy returns the folder as it is now, elsewhere, with its snapshot.
func (f folder) shelvedCopy(t testing.TB) folder {
	t.Helper()
	snapshot, err := os.ReadFile(f.snapshot())
	must(t, err)
	c := f.copied(t)
	must(t, os.WriteFile(c.snapshot(), snapshot, 0o600))
	return c
}

func good(t testing.TB, f folder, r *roster.Roster, numbers ...uint64) {
	t.Helper()
	for _, n := range numbers {
		c := f.certificate(n)
		if v := r.Check(c.Ref, c.NotBefore); v.Code != "" {
			t.Errorf("certificate %d: %s %s", n, v.Code, v.Detail)
		}
	}
}

func TestAStartFromASnapshotReadsTheTailAlone(t *testing.T) {
	f := shelved(t, 20)
	s := f.open(t)
	f.grow(t, s, 21, 3)
	invite := ledger.InviteCreated{Code: ledger.Hash{1}, Name: name("ben"), Profile: "device"}
	appendAll(t, s, invite)
	x, r, log := f.begin(t, s, key(7))
	defer x.Close()
	if x.kept != 23 || log.Len() != 0 {
		t.Errorf("begun after %d entries, want 23: %s", x.kept, log)
	}
	if want := headOf(t, s).Size; r.Size() != want {
		t.Errorf("%d entries, want %d", r.Size(), want)
	}
	good(t, f, r, 1, 20, 21, 23)
	if v := r.Check(f.certificate(24).Ref, time.Now()); v.Code != refusal.NotInLedger {
		t.Errorf("a certificate that was never issued: %q", v.Code)
	}
	must(t, spend(t, s, invite.Code))
}

func TestAStartFromASnapshotVouchesForItsInvites(t *testing.T) {
	f := newFolder(t, 20)
	s := f.open(t)
	invite := ledger.InviteCreated{Code: ledger.Hash{1}, Name: name("ben"), Profile: "device"}
	appendAll(t, s, invite)
	x, _, _ := f.begin(t, s, key(7))
	x.Close()
	planted := ledger.Hash{2}
	f.tamper(t, "INSERT INTO invite (code, seq, name, profile, group_name, created_at, expires_at) VALUES ($1, 4, 'ben', 'device', '', 0, 9999999999999)", planted[:])
	y, _, _ := f.begin(t, s, key(7))
	defer y.Close()
	if y.kept == 0 {
		t.Error("the snapshot was not used")
	}
	if err := spend(t, s, planted); err == nil {
		t.Error("a planted invite was spent")
	}
	must(t, spend(t, s, invite.Code))
}

// I13: a snapshot that is not the ledger's own of this ledger is nothing; the
// ledger is read instead, and the log says why.
func TestASnapshotThatDoesNotVerifyIsNotUsed(t *testing.T) {
	whole := shelved(t, 20)
	other := shelved(t, 20)
	foreign, err := os.ReadFile(other.snapshot())
	must(t, err)
	change := func(at int, by byte) func([]byte) []byte {
		return func(b []byte) []byte {
			if at < 0 {
				at += len(b)
			}
			b[at] ^= by
			return b
		}
	}
	for what, test := range map[string]struct {
		change func([]byte) []byte
		says   string
	}{
		"empty":                      {func([]byte) []byte { return nil }, "cut off"},
		"cut in half":                {func(b []byte) []byte { return b[:len(b)/2] }, "not used"},
		"cut by a byte":              {func(b []byte) []byte { return b[:len(b)-1] }, "not used"},
		"another version":            {func(b []byte) []byte { return append([]byte("postern roster 3\n"), b[len(magic):]...) }, "version"},
		"a byte changed":             {change(700, 1), "changed"},
		"its size changed":           {change(len(magic)+7, 1), "changed"},
		"its epoch changed":          {change(len(magic)+15, 1), "seal"},
		"its note changed":           {change(-20, 1), "seal"},
		"a note longer than allowed": {change(-2, 0xff), "cut off"},
		"a byte before the note": {func(b []byte) []byte {
			n := len(b) - 4 - int(binary.BigEndian.Uint32(b[len(b)-4:]))
			return append(append(bytes.Clone(b[:n]), 0), b[n:]...)
		}, "changed"},
		"a byte behind": {func(b []byte) []byte { return append(b, 0) }, "not used"},
		"another one's": {func([]byte) []byte { return foreign }, "another ledger"},
	} {
		t.Run(what, func(t *testing.T) {
			f := whole.shelvedCopy(t)
			b, err := os.ReadFile(f.snapshot())
			must(t, err)
			must(t, os.WriteFile(f.snapshot(), test.change(b), 0o600))
			x, r, log := f.begin(t, f.open(t), key(7))
			defer x.Close()
			if x.kept != 0 || !strings.Contains(log.String(), test.says) {
				t.Errorf("kept %d, logged %q, want %q", x.kept, log, test.says)
			}
			good(t, f, r, 1, 20)
		})
	}
}

// Who can write to the folder but does not have the ledger's key cannot make a
// snapshot that is believed, even by putting another key beside it.
func TestASnapshotOfAnotherKeyIsNotUsed(t *testing.T) {
	f := shelved(t, 20)
	forge := func(k ed25519.PrivateKey) {
		s := f.open(t)
		defer s.Close()
		r := roster.New()
		must(t, Load(t.Context(), s, nil, r))
		x := NewSnapshots(f.snapshot(), r, keyed(k), nil)
		head := headOf(t, s)
		moment, _ := r.Snapshot()
		signer, err := x.signer(domain(), 0)
		must(t, err)
		must(t, writeSnapshot(f.snapshot(), moment, signer, head))
	}
	forge(key(8))
	for what, held := range map[string]ed25519.PrivateKey{"the ledger's key": key(7), "the thief's key": key(8)} {
		t.Run(what, func(t *testing.T) {
			s := f.open(t)
			defer s.Close()
			x, r, log := f.begin(t, s, held)
			if x.stop(); x.kept != 0 || !strings.Contains(log.String(), "not used") {
				t.Errorf("kept %d, logged %q", x.kept, log)
			}
			good(t, f, r, 1, 20)
		})
	}
}

// An older copy of the ledger, or one that went another way, has nothing of a
// snapshot that was made further on.
func TestASnapshotNewerThanTheLedgerIsNotUsed(t *testing.T) {
	f := newFolder(t, 20)
	older := f.copied(t)
	s := f.open(t)
	f.grow(t, s, 21, 5)
	x, _, _ := f.begin(t, s, key(7))
	x.Close()
	newer, err := os.ReadFile(f.snapshot())
	must(t, err)
	must(t, os.WriteFile(older.snapshot(), newer, 0o600))
	o := older.open(t)
	y, r, log := older.begin(t, o, key(7))
	y.stop()
	if y.kept != 0 || !strings.Contains(log.String(), "it is of 28 entries") {
		t.Errorf("kept %d, logged %q", y.kept, log)
	}
	if v := r.Check(f.certificate(21).Ref, time.Now()); v.Code != refusal.NotInLedger {
		t.Errorf("a certificate of the newer ledger: %q", v.Code)
	}
	older.grow(t, o, 31, 9) // another way, and longer
	z, _, log := older.begin(t, o, key(7))
	z.stop()
	if z.kept != 0 || !strings.Contains(log.String(), "another ledger") {
		t.Errorf("kept %d, logged %q", z.kept, log)
	}
}

// I13: what stands behind a snapshot is held against the signed head, and a
// ledger that is not the signed one is as damaged as without a snapshot.
func TestASnapshotExcusesNoDamageBehindIt(t *testing.T) {
	whole := shelved(t, 20)
	s := whole.open(t)
	whole.grow(t, s, 21, 5)
	must(t, s.Close())
	for what, statement := range map[string]string{
		"an entry changed":          "UPDATE ledger_entry SET data = CAST(substr(data, 1, 12) || x'ff' || substr(data, 14) AS BLOB) WHERE seq = 25",
		"an entry deleted":          "DELETE FROM ledger_entry WHERE seq = 25",
		"the genesis entry changed": "UPDATE ledger_entry SET data = CAST(substr(data, 1, 40) || x'ff' || substr(data, 42) AS BLOB) WHERE seq = 0",
		"a head with another root":  "UPDATE ledger_head SET root = zeroblob(32)",
		"a head with another note":  "UPDATE ledger_head SET note = x'00'",
		"a head that is shorter":    "UPDATE ledger_head SET size = 24",
	} {
		t.Run(what, func(t *testing.T) {
			f := whole.shelvedCopy(t)
			f.tamper(t, statement)
			r := roster.New()
			x := NewSnapshots(f.snapshot(), r, keyed(key(7)), nil)
			err := x.Load(t.Context(), f.open(t))
			if _, ok := errors.AsType[*DamagedError](err); !ok || r.Size() != 0 {
				t.Errorf("got %v and %d entries", err, r.Size())
			}
		})
	}
}

// An entry before the snapshot that was changed lets nobody in, a moment after
// the start instead of before it.
func TestADamagedPastIsFoundBehindASnapshot(t *testing.T) {
	f := shelved(t, 20)
	f.tamper(t, "UPDATE ledger_entry SET data = CAST(substr(data, 1, 12) || x'ff' || substr(data, 14) AS BLOB) WHERE seq = 5")
	s := f.open(t)
	x, r, log := f.begin(t, s, key(7))
	x.working.Wait()
	if v := r.Check(f.certificate(1).Ref, time.Now()); x.kept == 0 || v.Code != refusal.StaleRoster || !strings.Contains(log.String(), "damaged") {
		t.Errorf("kept %d, %q, logged %q", x.kept, v.Code, log)
	}
	x.Close()
	if err := r.Apply(r.Size(), nil); !errors.Is(err, roster.ErrCondemned) {
		t.Errorf("it goes on: %v", err)
	}
}

// A snapshot is written after so many entries and at the end, not more often,
// and replaces the older one whole.
func TestSnapshotsAreWrittenNowAndThen(t *testing.T) {
	f := newFolder(t, 20)
	r := roster.New()
	x := NewSnapshots(f.snapshot(), r, keyed(key(7)), nil)
	x.few = 10
	s, err := store.Open(context.Background(), f.path, store.Options{Signer: signer, Committed: func(first uint64, entries []ledger.Entry, head store.Head) {
		if err := r.Apply(first, entries); err != nil {
			t.Error(err)
		}
		x.Follow(head)
	}})
	must(t, err)
	defer s.Close()
	must(t, x.Load(t.Context(), s))
	size := func() int64 {
		x.working.Wait()
		info, err := os.Stat(f.snapshot())
		if errors.Is(err, fs.ErrNotExist) {
			return 0
		}
		must(t, err)
		return info.Size()
	}
	f.grow(t, s, 21, 1) // 24 entries are behind the snapshot that is not there
	first := size()
	f.grow(t, s, 22, 9)
	if again := size(); first == 0 || again != first {
		t.Errorf("%d bytes after nine more, and %d before", again, first)
	}
	f.grow(t, s, 31, 1)
	if third := size(); third <= first {
		t.Errorf("%d bytes after ten more, and %d before", third, first)
	}
	f.grow(t, s, 32, 2)
	x.Close()
	if x.kept != headOf(t, s).Size {
		t.Errorf("closed with a snapshot of %d entries", x.kept)
	}
	if left, _ := filepath.Glob(f.snapshot() + ".*"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A folder without room, or that cannot be written to, costs the next start its
// time and nothing else.
func TestASnapshotThatCannotBeWrittenStopsNothing(t *testing.T) {
	f := newFolder(t, 20)
	must(t, os.Mkdir(f.snapshot(), 0o700))
	s := f.open(t)
	x, r, log := f.begin(t, s, key(7))
	x.Close()
	if good(t, f, r, 1, 20); !strings.Contains(log.String(), "not written") {
		t.Errorf("logged %q", log)
	}
}
