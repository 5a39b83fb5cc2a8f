package gateway

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-project/postern/internal/refusal"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// clock is a time that a test sets.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.t }

func (c *clock) add(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.t = c.t.Add(d) }

func openJournal(t testing.TB, path string, o JournalOptions) *Journal {
	t.Helper()
	j, err := OpenJournal(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

// from returns a refusal of somebody in network n.
func from(n int, when time.Time) Refused {
	return Refused{
		Reference: refusal.NewReference(), Time: when, Code: refusal.Expired, Detail: "ended yesterday", Site: "pw.example.com",
		Host: "pw.example.com", Method: "GET", Path: "/", Address: fmt.Sprintf("10.%d.%d.1:4000", n/256, n%256),
		Client: Shown{Name: "ben/phone", Serial: "0a", Subject: "CN=ben/phone", Issuer: "CN=clients-1", NotAfter: when.Add(-time.Hour)},
	}
}

func find(t *testing.T, j *Journal, r Refused) (Refused, bool) {
	t.Helper()
	got, ok, err := j.Find(r.Reference)
	if err != nil {
		t.Fatal(err)
	}
	return got, ok
}

func TestARefusalIsFoundAtOnceAndAfterARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "refusals.jsonl")
	c := &clock{t: noon}
	j := openJournal(t, path, JournalOptions{Now: c.now})
	want := from(1, noon)
	j.disk.Lock() // the disk is busy
	j.Record(want)
	j.disk.Unlock()
	if got, ok := find(t, j, want); !ok || !cmp.Equal(got, want, cmp.Comparer(sameReference)) {
		t.Fatalf("at once: %v %s", ok, cmp.Diff(want, got, cmp.Comparer(sameReference)))
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j.Record(from(2, noon)) // too late, and harmless
	j = openJournal(t, path, JournalOptions{Now: c.now})
	if got, ok := find(t, j, want); !ok || !cmp.Equal(got, want, cmp.Comparer(sameReference)) {
		t.Fatalf("after a restart: %v %s", ok, cmp.Diff(want, got, cmp.Comparer(sameReference)))
	}
	if _, ok := find(t, j, from(3, noon)); ok {
		t.Error("a reference that nobody was given is found")
	}
	if _, ok, err := j.Find(refusal.Reference{}); ok || err != nil {
		t.Error("the zero reference is found")
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
}

func sameReference(a, b refusal.Reference) bool { return a == b }

func TestAFileThatOthersCouldReadIsClosedToThem(t *testing.T) {
	path := filepath.Join(t.TempDir(), "refusals.jsonl")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	openJournal(t, path, JournalOptions{})
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatal(info.Mode(), err)
	}
}

func TestALineThatAKilledProcessLeftIsDropped(t *testing.T) {
	for name, tail := range map[string]string{
		"half a line":    `{"reference":"K7QM-2XPA","time":"2026-`,
		"no end of line": `{"reference":"K7QM-2XPA","time":"2026-11-23T12:00:00Z","code":"expired"}`,
		"zeroes":         "\x00\x00\x00\x00",
		"garbage lines":  "not json\n{}\n[1]\n\x00\n",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "refusals.jsonl")
			c := &clock{t: noon}
			j := openJournal(t, path, JournalOptions{Now: c.now})
			first, second := from(1, noon), from(2, noon)
			j.Record(first)
			j.Close()
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			f.WriteString(tail)
			f.Close()
			j = openJournal(t, path, JournalOptions{Now: c.now})
			j.Record(second)
			j.Close()
			j = openJournal(t, path, JournalOptions{Now: c.now})
			for _, r := range []Refused{first, second} {
				if _, ok := find(t, j, r); !ok {
					t.Errorf("%s is lost", r.Reference)
				}
			}
			list, err := j.Recent(10)
			if err != nil {
				t.Fatal(err)
			}
			if len(list) < 2 || list[0].Reference != second.Reference {
				t.Errorf("recent: %v", list)
			}
		})
	}
}

func TestTheFileIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "refusals.jsonl")
	c := &clock{t: noon}
	j := openJournal(t, path, JournalOptions{Max: 100, Now: c.now})
	var all []Refused
	for i := range 1000 {
		c.add(time.Second)
		all = append(all, from(i, c.now()))
		j.Record(all[i])
	}
	j.Close()
	lines := 0
	for _, p := range []string{path, path + ".1"} {
		text, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		lines += strings.Count(string(text), "\n")
	}
	if lines > 100 || lines < 50 {
		t.Fatalf("%d records are kept, of at most 100", lines)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 2 {
		t.Fatal(entries, err)
	}
	j = openJournal(t, path, JournalOptions{Max: 100, Now: c.now})
	list, err := j.Recent(50)
	if err != nil || len(list) != 50 {
		t.Fatal(len(list), err)
	}
	for i, r := range list {
		if r.Reference != all[999-i].Reference {
			t.Fatalf("number %d of the newest is %s, not %s", i, r.Reference, all[999-i].Reference)
		}
	}
	if list, err := j.Recent(0); len(list) != 0 || err != nil {
		t.Error(list, err)
	}
}

func TestWhatIsTooOldIsForgotten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "refusals.jsonl")
	c := &clock{t: time.Now()}
	j := openJournal(t, path, JournalOptions{Now: c.now})
	old := from(1, c.now())
	j.Record(old)
	c.add(6 * 24 * time.Hour)
	if _, ok := find(t, j, old); !ok {
		t.Fatal("gone after six days")
	}
	c.add(2 * 24 * time.Hour)
	if _, ok := find(t, j, old); ok {
		t.Error("found after eight days")
	}
	if list, err := j.Recent(10); err != nil || len(list) != 0 {
		t.Error(list, err)
	}
	for n := range 2 { // the first moves the old file aside, the second finds it outlived
		j.Record(from(2+n, c.now()))
		j.Close()
		c.add(8 * 24 * time.Hour)
		j = openJournal(t, path, JournalOptions{Now: c.now})
	}
	for _, p := range []string{path, path + ".1"} {
		if text, _ := os.ReadFile(p); strings.Contains(string(text), old.Reference.String()) {
			t.Errorf("%s still holds it", p)
		}
	}
}

func TestADiskThatRefusesIsSaidOnceAndMendsItself(t *testing.T) {
	path := filepath.Join(t.TempDir(), "refusals.jsonl")
	j := openJournal(t, path, JournalOptions{})
	j.disk.Lock()
	good := j.files.file
	bad, err := os.Open(path) // not for writing
	if err != nil {
		t.Fatal(err)
	}
	j.files.file = bad
	j.disk.Unlock()
	lost := from(1, time.Now())
	j.Record(lost)
	for range 500 { // until the writer has tried
		j.disk.Lock()
		tried := j.ailing
		j.disk.Unlock()
		if tried {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	j.disk.Lock()
	if !j.ailing {
		t.Error("the failure was not noticed")
	}
	j.files.file = good
	j.disk.Unlock()
	bad.Close()
	kept := from(2, time.Now())
	j.Record(kept)
	j.Close()
	j = openJournal(t, path, JournalOptions{})
	if _, ok := find(t, j, kept); !ok {
		t.Error("nothing is written any more")
	}
}

func TestRecordNeverWaitsForTheDisk(t *testing.T) {
	j := openJournal(t, filepath.Join(t.TempDir(), "refusals.jsonl"), JournalOptions{})
	j.disk.Lock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := range 20_000 {
			r := from(n, noon.Add(time.Duration(n)*time.Second))
			j.Record(r)
		}
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Error("Record waits")
	}
	lost := j.Lost()
	j.disk.Unlock()
	if lost == 0 {
		t.Error("what waits for the disk has no bound")
	}
}

func TestManyMayRecordAndFindAtOnce(t *testing.T) {
	j := openJournal(t, filepath.Join(t.TempDir(), "refusals.jsonl"), JournalOptions{Max: 2000})
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for i := range 100 {
				r := from(n*100+i, time.Now())
				j.Record(r)
				if _, ok := find(t, j, r); !ok {
					t.Errorf("%s is not found", r.Reference)
				}
				if _, err := j.Recent(5); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func FuzzReadingAnyFile(f *testing.F) {
	f.Add([]byte("{\"reference\":\"K7QM-2XPA\"}\n{"))
	f.Add([]byte("\n\n\x00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "r")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := OpenJournal(path, JournalOptions{Now: func() time.Time { return noon }})
		if err != nil {
			t.Fatal(err)
		}
		r := from(1, noon)
		j.Record(r)
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		for got, err := range j.files.newestFirst(nil) {
			if err != nil || got.Reference != r.Reference {
				t.Fatalf("the newest is %v, %v", got, err)
			}
			break
		}
	})
}

func BenchmarkRecord(b *testing.B) {
	j := openJournal(b, filepath.Join(b.TempDir(), "r"), JournalOptions{})
	r := from(1, noon)
	b.ReportAllocs()
	for b.Loop() {
		j.Record(r)
	}
}
