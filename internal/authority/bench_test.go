package authority

import (
	"syscall"
	"testing"
	"time"
)

// cpu returns the time that the process has spent, user and system.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkIssueDurable issues certificates for 64 callers at once; each is on
// the disk before its caller has it.
func BenchmarkIssueDurable(b *testing.B) {
	h := newHouse(b, "")
	spki, name := newSPKI(b), named(b, "services/checkout")
	b.SetParallelism(64)
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := h.Issue(b.Context(), IssueRequest{Name: name, Profile: "service", PublicKey: spki}); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "certificates/s")
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
}

// BenchmarkDraft is the part of issuing before the ledger is asked: template,
// throw-away signature, lint.
func BenchmarkDraft(b *testing.B) {
	h := newHouse(b, "")
	want := decision{name: named(b, "services/checkout"), profile: "service", spki: newSPKI(b), via: viaIssue}
	for b.Loop() {
		if _, err := h.draft(want); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSign is the issuer's signature, compared with what was recorded.
func BenchmarkSign(b *testing.B) {
	h := newHouse(b, "")
	d, err := h.draft(decision{name: named(b, "services/checkout"), profile: "service", spki: newSPKI(b), via: viaIssue})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := sign(d.cert, d.issuer); err != nil {
			b.Fatal(err)
		}
	}
}
