package follow

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/roster"
	"github.com/postern-project/postern/internal/store"
)

func spend(t *testing.T, s *store.Store, code ledger.Hash) error {
	t.Helper()
	return s.Update(context.Background(), func(tx *store.Tx) error { return tx.Append(ledger.InviteUsed{Code: code}) })
}

// witnessed returns a witness that has seen what s holds.
func (f folder) witnessed(t *testing.T, s *store.Store) *Witness {
	t.Helper()
	dir := t.TempDir()
	w := OpenWitness(dir, f.leaf0)
	w.Record(headOf(t, s))
	must(t, w.Close())
	w = OpenWitness(dir, f.leaf0)
	t.Cleanup(func() { w.Close() })
	return w
}

func TestAWitnessThatHasSeenNothingIsContent(t *testing.T) {
	f := newFolder(t, 3)
	s := f.open(t)
	must(t, Judge(s, OpenWitness(t.TempDir(), f.leaf0)))
}

func TestAStoreThatGrewSinceIsFine(t *testing.T) {
	f := newFolder(t, 3)
	s := f.open(t)
	w := f.witnessed(t, s)
	must(t, Judge(s, w))
	for i := range 9 { // at every shape of the tree
		f.grow(t, s, 100+i, 1)
		must(t, Judge(s, w))
	}
}

// I11: an older copy refuses to serve, and says how to go on.
func TestAnOlderCopyIsRefused(t *testing.T) {
	f := newFolder(t, 3)
	old := f.copied(t)
	s := f.open(t)
	f.grow(t, s, 100, 5)
	w := f.witnessed(t, s)

	err := Judge(old.open(t), w)
	behind, ok := errors.AsType[*BehindError](err)
	if !ok || behind.Forked || behind.Have.Size != 6 || behind.Seen.Size != 11 {
		t.Fatalf("got %v, want a *BehindError of 6 and 11 entries", err)
	}
	for _, says := range []string{"6 entries", "11", "newer data folder", "postern restore --accept-loss --data " + filepath.Dir(old.path), w.Path()} {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("%q does not say %q", err, says)
		}
	}
	must(t, Judge(s, w))
}

func TestACopyThatWentAnotherWayIsRefused(t *testing.T) {
	for what, growth := range map[string]int{"as long": 5, "longer": 9, "shorter": 2} {
		t.Run(what, func(t *testing.T) {
			f := newFolder(t, 3)
			other := f.copied(t)
			s := f.open(t)
			f.grow(t, s, 100, 5)
			w := f.witnessed(t, s)
			o := other.open(t)
			other.grow(t, o, 200, growth)
			behind, ok := errors.AsType[*BehindError](Judge(o, w))
			if !ok || behind.Forked != (growth >= 5) {
				t.Errorf("got %v", behind)
			}
		})
	}
}

func TestAcceptedLossOpensANewEpoch(t *testing.T) {
	for what, growth := range map[string]int{"on an older copy": 0, "on one that went another way": 9} {
		t.Run(what, func(t *testing.T) {
			f := newFolder(t, 3)
			other := f.copied(t)
			s := f.open(t)
			f.grow(t, s, 100, 5)
			w := f.witnessed(t, s)
			lost := headOf(t, s)
			o := other.open(t)
			if growth > 0 {
				other.grow(t, o, 200, growth)
			}
			kept := headOf(t, o)

			must(t, AcceptLoss(t.Context(), o, w))
			must(t, Judge(o, w))
			head := headOf(t, o)
			if head.Epoch != 1 || head.Size != kept.Size+1 || !strings.HasPrefix(string(head.Note), "example.com/ledger/1\n") {
				t.Errorf("head after the loss: %+v", head)
			}
			seen, ok, err := w.Seen()
			if err != nil || !ok || seen.Epoch != 1 || seen.Size != head.Size || seen.Root != head.Root {
				t.Errorf("the witness was not rewritten: %+v, %v", seen, err)
			}
			opened := last(t, o)
			if opened.Epoch != 1 || opened.LostSize != lost.Size || opened.LostRoot != lost.Root {
				t.Errorf("the entry says %+v", opened)
			}
			must(t, Load(t.Context(), o, public(7), roster.New()))
			if _, ok := errors.AsType[*BehindError](Judge(s, w)); !ok {
				t.Error("the lost folder is still believed")
			}
			if err := AcceptLoss(t.Context(), o, w); err == nil {
				t.Error("a loss was accepted twice")
			}
		})
	}
}

// A second machine, or one that crashed between the entry and its file, still
// has the old checkpoint: the entry says that its loss was accepted.
func TestAWitnessOfTheLostTailUnderstandsTheNewEpoch(t *testing.T) {
	f := newFolder(t, 3)
	other := f.copied(t)
	s := f.open(t)
	f.grow(t, s, 100, 5)
	early := f.witnessed(t, s)
	same := f.witnessed(t, s)
	f.grow(t, s, 110, 5)
	w := f.witnessed(t, s)
	f.grow(t, s, 120, 5)
	late := f.witnessed(t, s)

	o := other.open(t)
	must(t, AcceptLoss(t.Context(), o, w))
	must(t, Judge(o, early))
	must(t, Judge(o, same))
	if _, ok := errors.AsType[*BehindError](Judge(o, late)); !ok {
		t.Error("more is lost than was accepted, and nobody says so")
	}
	must(t, AcceptLoss(t.Context(), o, late))
	if e := headOf(t, o).Epoch; e != 2 {
		t.Errorf("epoch %d, want 2", e)
	}
}

func last(t *testing.T, s *store.Store) ledger.EpochOpened {
	t.Helper()
	for e, err := range s.Entries(t.Context(), headOf(t, s).Size-1) {
		must(t, err)
		o, ok := e.Body.(ledger.EpochOpened)
		if !ok {
			t.Fatalf("the last entry is %s", e.Body.Kind())
		}
		return o
	}
	t.Fatal("no last entry")
	return ledger.EpochOpened{}
}

func TestAWitnessThatSomebodyChangedIsNotBelieved(t *testing.T) {
	f := newFolder(t, 3)
	s := f.open(t)
	w := f.witnessed(t, s)
	note, err := os.ReadFile(w.Path())
	must(t, err)
	for what, change := range map[string]string{
		"longer":    strings.Replace(string(note), "\n6\n", "\n99\n", 1),
		"no note":   "nothing",
		"empty":     "",
		"no number": strings.Replace(string(note), "\n6\n", "\nsix\n", 1),
	} {
		t.Run(what, func(t *testing.T) {
			must(t, os.WriteFile(w.Path(), []byte(change), 0o600))
			err := Judge(s, w)
			if _, behind := errors.AsType[*BehindError](err); err == nil || behind || !strings.Contains(err.Error(), "remove it") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestAWitnessNeverGoesBack(t *testing.T) {
	f := newFolder(t, 3)
	old := f.copied(t)
	s := f.open(t)
	early := headOf(t, old.open(t))
	f.grow(t, s, 100, 5)
	w := f.witnessed(t, s)
	w.Record(early)
	if err := w.Close(); err == nil {
		t.Error("an older head was recorded without a word")
	}
	if seen, _, err := w.Seen(); err != nil || seen.Size != 11 {
		t.Errorf("the witness has gone back to %d entries, %v", seen.Size, err)
	}
}

func TestRecordWritesAtMostOnceASecond(t *testing.T) {
	f := newFolder(t, 3)
	s := f.open(t)
	heads := []store.Head{headOf(t, s)}
	for i := range 5 {
		f.grow(t, s, 100+i, 1)
		heads = append(heads, headOf(t, s))
	}
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := OpenWitness(dir, f.leaf0)
		seen := func() uint64 {
			synctest.Wait()
			s, _, err := w.Seen()
			must(t, err)
			return s.Size
		}
		w.Record(heads[0])
		time.Sleep(time.Millisecond)
		if got := seen(); got != heads[0].Size {
			t.Errorf("the first head is written at once, and the file has %d", got)
		}
		for _, h := range heads[1:5] {
			w.Record(h)
		}
		time.Sleep(interval / 2)
		if got := seen(); got != heads[0].Size {
			t.Errorf("within the second the file has %d", got)
		}
		time.Sleep(interval)
		if got := seen(); got != heads[4].Size {
			t.Errorf("after the second the file has %d, want %d", got, heads[4].Size)
		}
		w.Record(heads[5])
		must(t, w.Close())
		if got := seen(); got != heads[5].Size {
			t.Errorf("after Close the file has %d, want %d", got, heads[5].Size)
		}
		w.Record(heads[0]) // does nothing
	})
}

func TestAWitnessThatCannotWriteSaysSo(t *testing.T) {
	f := newFolder(t, 3)
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	w := OpenWitness(filepath.Join(file, "below"), f.leaf0)
	w.Record(headOf(t, f.open(t)))
	if err := w.Close(); err == nil || w.Err() == nil || !strings.Contains(err.Error(), "POSTERN_STATE_DIR") {
		t.Errorf("got %v", err)
	}
}

func TestStateDirStandsOutsideTheData(t *testing.T) {
	for what, test := range map[string]struct {
		environment map[string]string
		want        string
	}{
		"by postern's variable":      {map[string]string{"POSTERN_STATE_DIR": "/a", "STATE_DIRECTORY": "/b", "XDG_STATE_HOME": "/c"}, "/a"},
		"under systemd":              {map[string]string{"STATE_DIRECTORY": "/b:/b2", "XDG_STATE_HOME": "/c"}, "/b"},
		"by the desktop's variable":  {map[string]string{"XDG_STATE_HOME": "/c"}, "/c/postern"},
		"relative ones do not count": {map[string]string{"STATE_DIRECTORY": "b", "XDG_STATE_HOME": "c"}, "/h/.local/state/postern"},
		"in the home":                {nil, "/h/.local/state/postern"},
	} {
		t.Run(what, func(t *testing.T) {
			for _, v := range []string{"POSTERN_STATE_DIR", "STATE_DIRECTORY", "XDG_STATE_HOME"} {
				t.Setenv(v, test.environment[v])
			}
			t.Setenv("HOME", "/h")
			if got, err := StateDir(); err != nil || got != test.want {
				t.Errorf("got %q, %v, want %q", got, err, test.want)
			}
		})
	}
	t.Run("without a home", func(t *testing.T) {
		for _, v := range []string{"POSTERN_STATE_DIR", "STATE_DIRECTORY", "XDG_STATE_HOME", "HOME"} {
			t.Setenv(v, "")
		}
		got, err := StateDir()
		if root := os.Geteuid() == 0; root && got != "/var/lib/postern-witness" || !root && err == nil {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

// What the parser accepts it has read from the text, and it reads nothing else.
func FuzzParseNote(f *testing.F) {
	f.Add("example.com/ledger/0\n6\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n— x y\n")
	f.Add("x")
	f.Fuzz(func(t *testing.T, text string) {
		seen, err := parseNote([]byte(text))
		if err != nil {
			return
		}
		again, err := parseNote(seen.Note)
		if err != nil || again.Size != seen.Size || again.Epoch != seen.Epoch || again.Root != seen.Root || string(seen.Note) != text {
			t.Errorf("%q reads as %+v and then as %+v, %v", text, seen, again, err)
		}
	})
}
