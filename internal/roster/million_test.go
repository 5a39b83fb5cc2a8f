package roster

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/ledger"
)

const million = 1_000_000

// filled returns a roster of n certificates, of so many names, and the bytes of
// memory that each takes.
func filled(t testing.TB, d *domain, n, names int) (*Roster, float64) {
	t.Helper()
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	r := d.begun(t)
	const batch = 5000
	for first := 0; first < n; first += batch {
		entries := make([]ledger.Entry, 0, batch)
		for i := first; i < min(first+batch, n); i++ {
			entries = append(entries, at(d.issued(uint64(i), fmt.Sprintf("services/n%07d", i%names)))...)
		}
		apply(t, r, entries)
	}
	return r, float64(heap()-before) / float64(n)
}

// The promise of the package: at most 200 bytes for a certificate with a name
// of its own.
func TestACertificateTakesAtMost200Bytes(t *testing.T) {
	d := newDomain()
	r, each := filled(t, d, 100_000, 100_000)
	t.Logf("%.0f bytes for each of 100,000 certificates", each)
	if each > 200 {
		t.Errorf("%.0f bytes for each certificate", each)
	}
	runtime.KeepAlive(r)
}

func TestASuccessfulCheckAllocatesNothing(t *testing.T) {
	d := newDomain()
	r := d.begun(t, d.issued(1, "ben/phone"), ledger.GroupJoined{Group: group("family"), Name: name("ben")})
	ref, who, stranger := d.ref(1), name("ben/phone/app"), name("anna/phone")
	if n := testing.AllocsPerRun(100, func() {
		if r.Check(ref, noon).Code != "" || len(r.Groups(who)) != 1 || len(r.Groups(stranger)) != 0 {
			t.Error("not good")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// What a certificate takes when its name has others: one that is renewed every
// day, or a hundred thousand people with a few devices each.
func TestACertificateOfAKnownNameTakesAtMost80Bytes(t *testing.T) {
	r, each := filled(t, newDomain(), 200_000, 1000)
	t.Logf("%.0f bytes for each of 200,000 certificates", each)
	if each > 80 {
		t.Errorf("%.0f bytes for each certificate", each)
	}
	runtime.KeepAlive(r)
}

func BenchmarkCheckMillion(b *testing.B) { benchmarkCheck(b, million, million) }

func BenchmarkCheckTenMillion(b *testing.B) { benchmarkCheck(b, 10*million, million/10) }

func BenchmarkCheckTenMillionNames(b *testing.B) { benchmarkCheck(b, 10*million, 10*million) }

func benchmarkCheck(b *testing.B, n uint64, names int) {
	d := newDomain()
	r, each := filled(b, d, int(n), names)
	refs := make([]ledger.Ref, 1<<16) // drawn at random, so that the cache does not help more than in life
	for i := range refs {
		refs[i] = d.ref(rand.Uint64N(n))
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		if v := r.Check(refs[i&(1<<16-1)], noon); v.Code != "" {
			b.Fatalf("%+v", v)
		}
		i++
	}
	b.ReportMetric(each, "B/certificate")
}

func BenchmarkSnapshotMillion(b *testing.B) { benchmarkSnapshot(b, million, million) }

func BenchmarkSnapshotTenMillion(b *testing.B) { benchmarkSnapshot(b, 10*million, million/10) }

func BenchmarkSnapshotTenMillionNames(b *testing.B) { benchmarkSnapshot(b, 10*million, 10*million) }

// benchmarkSnapshot writes a snapshot into a file and reads it.
func benchmarkSnapshot(b *testing.B, n, names int) {
	r, _ := filled(b, newDomain(), n, names)
	path := filepath.Join(b.TempDir(), "roster.snapshot")
	f := must(os.Create(path))
	began := time.Now()
	s, _ := r.Snapshot()
	copied := time.Since(began)
	if err := s.Write(f); err != nil {
		b.Fatal(err)
	}
	wrote := time.Since(began)
	r, s = nil, nil
	runtime.GC()
	for b.Loop() {
		must(f.Seek(0, 0))
		d, err := ReadSnapshot(f)
		if err != nil || d.Size() == 0 {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(must(f.Stat()).Size())/float64(n), "B/certificate")
	b.ReportMetric(copied.Seconds()*1000, "ms-stopped")
	b.ReportMetric(wrote.Seconds()*1000, "ms-to-write")
}

func BenchmarkApply(b *testing.B) {
	d := newDomain()
	r := d.begun(b)
	n := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		apply(b, r, at(d.issued(n, "services/checkout")))
		n++
	}
}
