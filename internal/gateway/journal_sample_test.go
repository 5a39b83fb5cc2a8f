package gateway

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/postern-project/postern/internal/refusal"
)

func TestAFloodIsCountedAndNotWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "refusals.jsonl")
	c := &clock{t: noon}
	j := openJournal(t, path, JournalOptions{Now: c.now})
	var last Refused
	for i := range 500 {
		last = from(0, noon)
		last.Address = fmt.Sprintf("10.0.0.%d:1", i%256) // all of one /24
		j.Record(last)
	}
	if _, ok := find(t, j, last); !ok {
		t.Error("one of the newest is not found because it was not written")
	}
	other := from(9, noon) // of another network
	j.Record(other)
	c.add(2 * time.Minute)
	next := from(0, c.now())
	j.Record(next)
	j.Close()
	j = openJournal(t, path, JournalOptions{Now: c.now})
	list, err := j.Recent(1000)
	if err != nil || len(list) != sampleFirst+2 {
		t.Fatal(len(list), err)
	}
	if got, ok := find(t, j, next); !ok || got.Suppressed != 490 {
		t.Errorf("suppressed %d, want 490", got.Suppressed)
	}
	if _, ok := find(t, j, other); !ok {
		t.Error("the flood hid another network")
	}
}

func TestAFloodFromEverywhereHidesNoAlarm(t *testing.T) {
	s := newSampler()
	kept := 0
	for i := range 100_000 {
		if keep, _ := s.take(refusal.NoCertificate, fmt.Sprintf("2001:db8:%x:%x::1", i>>16, i&0xffff), noon); keep {
			kept++
		}
	}
	if kept > sampleTotal || len(s.kinds) > sampleKinds+len(refusal.All()) {
		t.Fatalf("%d kept, %d kinds remembered", kept, len(s.kinds))
	}
	if keep, _ := s.take(refusal.NotInLedger, "192.0.2.1", noon); !keep {
		t.Error("the alarm was not kept")
	}
	for i := range 2 * sampleKinds {
		s.take(refusal.Expired, fmt.Sprintf("10.%d.%d.1", i>>8, i&0xff), noon.Add(5*time.Minute))
	}
	if len(s.kinds) > sampleKinds+len(refusal.All()) {
		t.Fatalf("%d kinds remembered", len(s.kinds))
	}
}

func TestAddressesOfOneNetworkCountTogether(t *testing.T) {
	for want, addresses := range map[string][]string{
		"192.0.2.0/24":         {"192.0.2.1", "192.0.2.255:80", "::ffff:192.0.2.7", "[::ffff:192.0.2.9]:1"},
		"2001:db8:0:aa00::/56": {"2001:db8:0:aaff::1", "[2001:db8:0:aa00::2]:443", "2001:db8:0:aabb:1::%eth0"},
		"invalid Prefix":       {"", "@", "a.example:1"},
	} {
		for _, a := range addresses {
			if got := network(a).String(); got != want {
				t.Errorf("%q belongs to %s, want %s", a, got, want)
			}
		}
	}
}

func TestNothingInARecordSteersATerminal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "refusals.jsonl")
	c := &clock{t: noon}
	j := openJournal(t, path, JournalOptions{Now: c.now})
	r := from(1, noon)
	r.Path, r.Host, r.Client.Subject = "/\x1b[2J\u009b\n", "a\u202eb\xff", "CN=Jürgen \"x\" <✓>"
	r.Detail = strings.Repeat("ü", maxDetail)
	j.Record(r)
	j.Close()
	j = openJournal(t, path, JournalOptions{Now: c.now})
	got, ok := find(t, j, r)
	if !ok || got.Path != `/\x1b[2J\u009b\n` || got.Host != `a\u202eb\xff` || got.Client.Subject != "CN=Jürgen \"x\" <✓>" {
		t.Errorf("%q %q %q", got.Path, got.Host, got.Client.Subject)
	}
	if len(got.Detail) > maxDetail+len("…") || !strings.HasSuffix(got.Detail, "ü…") {
		t.Errorf("%d bytes of detail end in %q", len(got.Detail), got.Detail[len(got.Detail)-6:])
	}
	text, err := os.ReadFile(path)
	if err != nil || strings.ContainsAny(strings.TrimSuffix(string(text), "\n"), "\x1b\n\u009b\u202e") || !utf8.Valid(text) {
		t.Errorf("%q %v", text, err)
	}
}

func FuzzPresentable(f *testing.F) {
	f.Add("a\x1b\u009b\xff\"\\", 4)
	f.Add("\u202eü", 1)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = min(max(limit, 0), 4096)
		got := presentable(s, limit)
		for _, r := range got {
			if !unicode.IsPrint(r) {
				t.Fatalf("%q holds %q", got, r)
			}
		}
		if len(s) <= limit && strings.IndexFunc(s, unprintable) < 0 && got != s {
			t.Fatalf("%q became %q for nothing", s, got)
		}
	})
}
