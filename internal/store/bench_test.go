package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/postern-project/postern/internal/ledger"
)

func benchmarked(b *testing.B) (world, *Store) {
	b.Helper()
	w := newWorld(b)
	s := openAt(b, filepath.Join(b.TempDir(), "postern.db"), Options{})
	w.begin(b, s)
	return w, s
}

// One caller: what a commit costs.
func BenchmarkAppendAlone(b *testing.B) {
	w, s := benchmarked(b)
	var i uint64
	for b.Loop() {
		i++
		must(b, appendAll(s, w.certificate("ben", i)))
	}
}

// 64 callers: what sharing commits gives.
func BenchmarkAppend64(b *testing.B) {
	w, s := benchmarked(b)
	var number atomic.Uint64
	work, ended := make(chan struct{}), make(chan error)
	for range 64 {
		go func() {
			var err error
			for range work {
				if err == nil {
					err = appendAll(s, w.certificate("ben", number.Add(1)))
				}
			}
			ended <- err
		}()
	}
	for b.Loop() {
		work <- struct{}{}
	}
	close(work)
	for range 64 {
		must(b, <-ended)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
}

// What issuing does to the store: reads, the to-be-signed part, the entry.
func BenchmarkIssue64(b *testing.B) {
	w, s := benchmarked(b)
	var number atomic.Uint64
	work, ended := make(chan struct{}), make(chan error)
	for range 64 {
		go func() {
			var err error
			for range work {
				if err != nil {
					continue
				}
				raw := binary.BigEndian.AppendUint64(make([]byte, 500), number.Add(1))
				c := w.certificate("ben/phone", number.Add(1))
				err = s.Update(context.Background(), func(tx *Tx) error {
					if _, _, err := tx.Suspended(context.Background(), c.Name); err != nil {
						return err
					}
					c.TBS = hashBytes(raw)
					if err := tx.Append(c); err != nil {
						return err
					}
					return tx.KeepTBS(c.TBS, raw)
				})
			}
			ended <- err
		}()
	}
	for b.Loop() {
		work <- struct{}{}
	}
	close(work)
	for range 64 {
		must(b, <-ended)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "certificates/s")
}

func BenchmarkVerify(b *testing.B) {
	w, s := benchmarked(b)
	const n = 10_000
	all := make([]ledger.Body, n)
	for i := range all {
		all[i] = w.certificate("ben", uint64(i+1))
	}
	must(b, appendAll(s, all...))
	for b.Loop() {
		report, err := s.Verify(context.Background())
		must(b, err)
		if !report.OK {
			b.Fatal(report.Fault)
		}
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "entries/s")
}

func BenchmarkCertificateByRef(b *testing.B) {
	w, s := benchmarked(b)
	for i := range uint64(1000) {
		must(b, appendAll(s, w.certificate("ben", i+1)))
	}
	ref := w.certificate("ben", 500).Ref
	for b.Loop() {
		if _, err := s.CertificateByRef(context.Background(), ref); err != nil {
			b.Fatal(fmt.Errorf("%v: %w", ref, err))
		}
	}
}
