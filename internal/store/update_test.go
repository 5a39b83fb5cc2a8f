package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-project/postern/internal/ledger"
)

var errOwn = errors.New("the function's own error")

// Group commit, whatever is mixed into it: what was acknowledged is there, in
// one piece and in the order that Committed was told; what failed left nothing.
func TestUpdatesThatShareACommitDoNotHarmEachOther(t *testing.T) {
	var j journal
	s := openAt(t, filepath.Join(t.TempDir(), "postern.db"), Options{Committed: j.committed})
	newWorld(t).begin(t, s)
	var mu sync.Mutex
	acknowledged := map[string]bool{"ben": true, "ben/phone": true}
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			dice := rand.New(rand.NewPCG(uint64(g), 1))
			for i := range 40 {
				names := []string{fmt.Sprintf("u%d-%d", g, i), fmt.Sprintf("u%d-%d/a", g, i), fmt.Sprintf("u%d-%d/b", g, i)}
				err := oneOfMany(s, dice.IntN(8), names)
				before := j.size()
				mu.Lock()
				for _, n := range names {
					if err == nil {
						acknowledged[n] = true
					}
				}
				mu.Unlock()
				if head, headErr := s.Head(context.Background()); headErr != nil || err == nil && before == 0 || head.Size == 0 {
					t.Errorf("head after an update: %v", headErr)
				}
			}
		})
	}
	wg.Wait()

	stored := map[string]bool{}
	for row, err := range s.Identities(t.Context(), IdentityFilter{}, time.Time{}) {
		must(t, err)
		stored[row.Name.String()] = true
	}
	for n := range acknowledged {
		if !stored[n] {
			t.Errorf("%s was acknowledged and is not there", n)
		}
	}
	for n := range stored {
		if !acknowledged[n] {
			t.Errorf("%s is there and was not acknowledged", n)
		}
	}
	entries := bodies(t, s)
	if !slices.Equal(marshalled(entries), marshalled(j.entries)) || j.gap {
		t.Errorf("Committed was not told what is stored, in order (gap %v)", j.gap)
	}
	inOnePiece(t, entries)
	sound(t, s)
}

// oneOfMany runs an Update of one of several fates, most of them bad.
func oneOfMany(s *Store, fate int, names []string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if fate == 0 {
		cancel()
	}
	if fate == 1 {
		go cancel() // at any moment
	}
	return s.Update(ctx, func(tx *Tx) error {
		for i, n := range names {
			if i == 2 {
				switch fate {
				case 2:
					return errOwn
				case 3:
					panic("the function's own panic")
				case 4:
					return tx.Append(ledger.IdentityCreated{Name: name("ben")}) // is there already
				case 5:
					_ = tx.Append(ledger.CertificatesRevoked{Certificates: []ledger.Ref{{Serial: newSerial(), TBS: hashOf("none", 1)}}})
					return nil // overlooks an error that left something half done
				}
			}
			if err := tx.Append(ledger.IdentityCreated{Name: name(n)}); err != nil {
				return err
			}
		}
		return nil
	})
}

func newSerial() ledger.Serial {
	s, err := ledger.SerialFromBytes([]byte{1})
	if err != nil {
		panic(err)
	}
	return s
}

// inOnePiece checks that the entries of one Update stand together.
func inOnePiece(t *testing.T, entries []ledger.Entry) {
	t.Helper()
	for i, e := range entries {
		created, ok := e.Body.(ledger.IdentityCreated)
		if !ok || created.Name.String()[0] != 'u' {
			continue
		}
		for above := range created.Name.Lineage() {
			if above == created.Name {
				continue
			}
			back := 1
			if created.Name.String()[len(created.Name.String())-1] == 'b' {
				back = 2
			}
			if before, ok := entries[i-back].Body.(ledger.IdentityCreated); !ok || before.Name != above {
				t.Errorf("entry %d, %s, is not beside what was appended with it", i, created.Name)
			}
		}
	}
}

func TestAFunctionThatFails(t *testing.T) {
	_, s := started(t)
	tests := map[string]struct {
		f    func(*Tx) error
		want func(error) bool
	}{
		"by its own error": {func(*Tx) error { return errOwn }, func(err error) bool { return errors.Is(err, errOwn) }},
		"by a panic": {func(*Tx) error { panic("boom") }, func(err error) bool {
			p, ok := errors.AsType[*PanicError](err)
			return ok && p.Value == "boom"
		}},
		"by a fault of the runtime": {func(*Tx) error { var none []int; _ = none[len(none)]; return nil }, func(err error) bool {
			_, ok := errors.AsType[*PanicError](err)
			return ok
		}},
		"by appending nothing":    {func(tx *Tx) error { return tx.Append(nil) }, func(err error) bool { return err != nil }},
		"by an entry unlike any":  {func(tx *Tx) error { return tx.Append(ledger.IdentityCreated{}) }, func(err error) bool { return err != nil }},
		"by a second genesis":     {func(tx *Tx) error { return tx.Append(ledger.Genesis{}) }, func(err error) bool { return err != nil }},
		"by an epoch that is not": {func(tx *Tx) error { return tx.Append(ledger.EpochOpened{}) }, func(err error) bool { return err != nil }},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			size := len(bodies(t, s))
			err := s.Update(t.Context(), func(tx *Tx) error {
				if err := tx.Append(ledger.IdentityCreated{Name: name("anna")}); err != nil {
					return err
				}
				return test.f(tx)
			})
			if !test.want(err) {
				t.Errorf("Update returned %v", err)
			}
			if got := len(bodies(t, s)); got != size {
				t.Errorf("%d entries after a failure, %d before", got, size)
			}
			if _, err := s.Identity(t.Context(), name("anna")); !errors.Is(err, ErrNotFound) {
				t.Errorf("the view kept what failed: %v", err)
			}
		})
	}
	update(t, s, ledger.IdentityCreated{Name: name("anna")})
	sound(t, s)
}

func TestAFunctionThatEndsItsGoroutineStopsNobodyElse(t *testing.T) {
	_, s := started(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = s.Update(context.Background(), func(*Tx) error { runtime.Goexit(); return nil })
	})
	wg.Wait()
	update(t, s, ledger.IdentityCreated{Name: name("anna")})
	sound(t, s)
}

func TestACallThatWaitsHeedsItsContext(t *testing.T) {
	_, s := started(t)
	inside, leave := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = s.Update(context.Background(), func(*Tx) error { close(inside); <-leave; return nil })
	})
	<-inside
	ctx, cancel := context.WithCancel(t.Context())
	wg.Go(func() {
		err := s.Update(ctx, func(*Tx) error { t.Error("it ran after its context was done"); return nil })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Update returned %v, want context canceled", err)
		}
		close(leave) // only now: it returned while the other one ran
	})
	cancel()
	wg.Wait()
}

func TestATransactionIsOverWhenItsFunctionReturns(t *testing.T) {
	_, s := started(t)
	var kept *Tx
	must(t, s.Update(t.Context(), func(tx *Tx) error { kept = tx; return nil }))
	if err := kept.Append(ledger.IdentityCreated{Name: name("anna")}); err == nil {
		t.Error("a transaction that is over took an entry")
	}
}

func TestATransactionSeesWhatItAppended(t *testing.T) {
	w, s := started(t)
	must(t, s.Update(t.Context(), func(tx *Tx) error {
		must(t, tx.Append(w.certificate("ben", 1)))
		refs, err := tx.LiveRefs(t.Context(), name("ben"))
		if err != nil || len(refs) != 1 {
			t.Errorf("inside: %v, %v", refs, err)
		}
		if outside, err := s.LiveRefs(t.Context(), name("ben")); err != nil || len(outside) != 0 {
			t.Errorf("outside, before the commit: %v, %v", outside, err)
		}
		return nil
	}))
}

func TestAfterCloseNothingIsTaken(t *testing.T) {
	_, s := started(t)
	must(t, s.Close())
	must(t, s.Close())
	if err := appendAll(s, ledger.IdentityCreated{Name: name("anna")}); !errors.Is(err, ErrClosed) {
		t.Errorf("Update after Close: %v", err)
	}
}

func TestTimeNeverRunsBackInTheLedger(t *testing.T) {
	now := time.Date(2027, 1, 1, 0, 0, 0, 123456789, time.FixedZone("CET", 3600))
	clock := func() time.Time { return now }
	path := filepath.Join(t.TempDir(), "postern.db")
	s := openAt(t, path, Options{Now: clock})
	newWorld(t).begin(t, s)
	now = now.AddDate(-1, 0, 0) // somebody put the clock right
	update(t, s, ledger.IdentityCreated{Name: name("anna")})
	must(t, s.Close())
	s = openAt(t, path, Options{Now: clock})
	update(t, s, ledger.IdentityCreated{Name: name("carl")})
	entries := bodies(t, s)
	want := time.Date(2026, 12, 31, 23, 0, 0, 123000000, time.UTC)
	for i, e := range entries {
		if !e.At.Equal(want) {
			t.Errorf("entry %d is of %v, want %v", i, e.At, want)
		}
	}
	sound(t, s)
}

// Copies wait a second at most; this one is about the timer alone.
func TestCopiesAreDueAfterASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := copies{due: make(chan struct{}, 1)}
		must(t, c.add(hashOf("x", 1), []byte("der")))
		time.Sleep(time.Second)
		synctest.Wait()
		select {
		case <-c.due:
		default:
			t.Error("after a second nothing is due")
		}
	})
}
