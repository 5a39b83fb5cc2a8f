package store

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/ledger"
)

func acmeKey(id, n string) ledger.ACMEKeyCreated {
	return ledger.ACMEKeyCreated{Key: id, Name: name(n), Profile: "server", Hosts: []string{"*.example.com"}, Expires: time.Now().Add(time.Hour)}
}

func TestAnACMEKeyIsSpentOnceAndCancelledOnce(t *testing.T) {
	_, s := started(t)
	update(t, s, acmeKey("k1", "ben"), acmeKey("k2", "ben/phone"), acmeKey("k3", "ben"))
	update(t, s, ledger.ACMEAccountBound{Key: "k1", Thumbprint: hashOf("thumb", 1)})
	update(t, s, ledger.ACMEAccountRekeyed{Key: "k1", Thumbprint: hashOf("thumb", 2)}, ledger.ACMEKeyCancelled{Key: "k3"})
	for sentence, c := range map[string]struct {
		body ledger.Body
		want error
	}{
		"a key that is there":             {acmeKey("k1", "ben"), ErrExists},
		"a key of nobody":                 {acmeKey("k9", "nobody"), ErrNotFound},
		"a second account for a key":      {ledger.ACMEAccountBound{Key: "k1", Thumbprint: hashOf("thumb", 3)}, ErrSpent},
		"an account for a cancelled key":  {ledger.ACMEAccountBound{Key: "k3", Thumbprint: hashOf("thumb", 3)}, ErrSpent},
		"an account for a key never made": {ledger.ACMEAccountBound{Key: "k9", Thumbprint: hashOf("thumb", 3)}, ErrNotFound},
		"another key before the first":    {ledger.ACMEAccountRekeyed{Key: "k2", Thumbprint: hashOf("thumb", 3)}, ErrSpent},
		"cancelling twice":                {ledger.ACMEKeyCancelled{Key: "k3"}, ErrSpent},
	} {
		if err := appendAll(s, c.body); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", sentence, err, c.want)
		}
	}
	row, err := s.ACMEKey(t.Context(), "k1")
	if err != nil || row.Thumbprint != hashOf("thumb", 2) || row.BoundAt.IsZero() || row.Name != name("ben") || row.Hosts[0] != "*.example.com" {
		t.Errorf("k1 is %+v, %v", row, err)
	}
	if live, err := s.LiveACMEKeys(t.Context(), name("ben")); err != nil || len(live) != 2 {
		t.Errorf("%d keys of ben and below are live, want 2; %v", len(live), err)
	}
	sound(t, s)
}

// However many ask at once, an order gets one certificate.
func TestAnACMEOrderGetsOneCertificate(t *testing.T) {
	w, s := started(t)
	var won, spent atomic.Int32
	var wg sync.WaitGroup
	for i := range uint64(16) {
		wg.Go(func() {
			c := w.certificate("ben", i)
			switch err := appendAll(s, c, ledger.ACMECertificateIssued{Order: "order-1", Account: "k1", TBS: c.TBS}); {
			case err == nil:
				won.Add(1)
			case errors.Is(err, ErrSpent):
				spent.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || spent.Load() != 15 {
		t.Errorf("%d got a certificate and %d were told that the order has one", won.Load(), spent.Load())
	}
	row, err := s.ACMECertificate(t.Context(), "order-1")
	if err != nil || row.Account != "k1" {
		t.Errorf("%+v, %v", row, err)
	}
	if again, err := s.ACMEOrderOf(t.Context(), row.TBS); err != nil || again.Order != "order-1" {
		t.Errorf("%+v, %v", again, err)
	}
	if err := appendAll(s, ledger.ACMECertificateIssued{Order: "order-2", Account: "k1", TBS: hashOf("tbs", 3)}); !errors.Is(err, ErrNotFound) {
		t.Errorf("an order got a certificate that is not beside it: %v", err)
	}
	sound(t, s)
}

func TestARecordIsChangedOnlyByWhoReadIt(t *testing.T) {
	_, s := started(t)
	at := time.UnixMilli(1_700_000_000_000).UTC()
	one := State{Kind: "order", ID: "o1", Owner: "a1", Lookup: "x", Created: at, Expires: at.Add(time.Hour), Body: []byte("{}")}
	must(t, s.WriteStates(t.Context(), one))
	read, err := s.State(t.Context(), "order", "o1")
	if err != nil || read.Version != 1 || string(read.Body) != "{}" || !read.Expires.Equal(one.Expires) {
		t.Fatalf("%+v, %v", read, err)
	}
	var won atomic.Int32
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			mine := read
			mine.Body = fmt.Appendf(nil, "%d", i)
			switch err := s.WriteStates(t.Context(), mine); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, ErrConflict):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d changed the same version", won.Load())
	}
	two := State{Kind: "order", ID: "o2", Owner: "a1", Created: at, Expires: at, Body: []byte("{}")}
	taken := State{Kind: "order", ID: "o3", Owner: "a1", Lookup: "x", Created: at, Expires: at, Body: []byte("{}")}
	if err := s.WriteStates(t.Context(), two, taken); !errors.Is(err, ErrConflict) {
		t.Errorf("a lookup that is taken: %v", err)
	}
	if _, err := s.State(t.Context(), "order", "o2"); err != ErrNotFound {
		t.Errorf("half of a refused write was kept: %v", err)
	}
	must(t, s.WriteStates(t.Context(), two))
	if two, err = s.State(t.Context(), "order", "o2"); err != nil {
		t.Fatal(err)
	}
	two.Lookup = "x"
	if err := s.WriteStates(t.Context(), two); !errors.Is(err, ErrConflict) {
		t.Errorf("taking another's lookup: %v", err)
	}
	if found, err := s.StateBy(t.Context(), "order", "x"); err != nil || found.ID != "o1" {
		t.Errorf("%+v, %v", found, err)
	}
	if n, err := s.SweepStates(t.Context(), at.Add(time.Minute), 100); err != nil || n != 1 {
		t.Errorf("swept %d, %v", n, err)
	}
	if n, err := s.CountStates(t.Context(), "order", "a1"); err != nil || n != 1 {
		t.Errorf("%d left, %v", n, err)
	}
	sound(t, s)
}
