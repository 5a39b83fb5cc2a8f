package roster

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/postern-project/postern/internal/ledger"
)

// filled returns a roster of n certificates, each with a name of its own, and
// the bytes of memory that each takes.
func filled(t testing.TB, d *domain, n int) (*Roster, float64) {
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
			entries = append(entries, at(d.issued(uint64(i), fmt.Sprintf("services/n%07d", i)))...)
		}
		apply(t, r, entries)
	}
	return r, float64(heap()-before) / float64(n)
}

// The promise of the package: at most 200 bytes for a certificate with a name
// of its own.
func TestACertificateTakesAtMost200Bytes(t *testing.T) {
	d := newDomain()
	r, each := filled(t, d, 100_000)
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

func BenchmarkCheckMillion(b *testing.B) {
	const million = 1_000_000
	d := newDomain()
	r, each := filled(b, d, million)
	refs := make([]ledger.Ref, 1<<16) // drawn at random, so that the cache does not help more than in life
	for i := range refs {
		refs[i] = d.ref(rand.Uint64N(million))
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
