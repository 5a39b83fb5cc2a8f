package roster

import (
	"reflect"
	"testing"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/refusal"
)

func TestWatchersAreToldWhatABatchChanged(t *testing.T) {
	d := newDomain()
	next := newCA("clients-2", ledger.UseClients, &d.root)
	ben := []identity.Name{name("ben")}
	for sentence, c := range map[string]struct {
		bodies []ledger.Body
		want   []Change
	}{
		"nothing":                    {nil, nil},
		"what concerns nobody yet":   {[]ledger.Body{d.issued(2, "anna"), ledger.IdentityCreated{Name: name("anna")}, ledger.InviteCreated{Name: name("anna")}, ledger.InviteUsed{}, ledger.InviteCancelled{}}, nil},
		"a revocation":               {[]ledger.Body{d.revoked(1)}, []Change{{Certificates: []ledger.Ref{d.ref(1)}}}},
		"a revocation of nothing":    {[]ledger.Body{ledger.CertificatesRevoked{}}, nil},
		"a revoked name":             {[]ledger.Body{ledger.CertificatesRevoked{Name: name("ben")}}, []Change{{Names: ben}}},
		"a suspension":               {[]ledger.Body{ledger.IdentitySuspended{Name: name("ben")}}, []Change{{Names: ben}}},
		"a reinstatement":            {[]ledger.Body{ledger.IdentityReinstated{Name: name("ben")}}, []Change{{Names: ben}}},
		"joining a group":            {[]ledger.Body{ledger.GroupJoined{Group: group("g"), Name: name("ben")}}, []Change{{Names: ben}}},
		"leaving a group":            {[]ledger.Body{ledger.GroupLeft{Group: group("g"), Name: name("ben")}}, []Change{{Names: ben}}},
		"a new issuer":               {[]ledger.Body{ledger.IssuerAdded{Name: "clients-2", Use: ledger.UseClients, Certificate: next.Raw}}, []Change{{Trust: true}}},
		"a distrusted issuer":        {[]ledger.Body{ledger.IssuerDistrusted{Issuer: d.clients.id()}}, []Change{{Issuers: []ledger.KeyID{d.clients.id()}, Trust: true}}},
		"several things at one time": {[]ledger.Body{d.issued(2, "anna"), d.revoked(1, 2), ledger.IdentitySuspended{Name: name("ben")}}, []Change{{Certificates: []ledger.Ref{d.ref(1), d.ref(2)}, Names: ben}}},
	} {
		t.Run(sentence, func(t *testing.T) {
			r := d.begun(t, d.issued(1, "ben/phone"))
			var told []Change
			r.Watch(func(c Change) { told = append(told, c) })
			apply(t, r, at(c.bodies...))
			if !reflect.DeepEqual(told, c.want) {
				t.Errorf("told %+v, want %+v", told, c.want)
			}
		})
	}
}

// When a watcher is called, Check answers by the change already; when Apply
// returns, the watcher has been called.
func TestWatchersAreToldAfterItIsVisibleAndBeforeApplyReturns(t *testing.T) {
	d := newDomain()
	r := d.begun(t, d.issued(1, "ben/phone"), d.issued(2, "anna"))
	var seen []refusal.Code
	var sizes []uint64
	r.Watch(func(Change) {
		seen = append(seen, r.Check(d.ref(1), noon).Code, r.Check(d.ref(2), noon).Code)
		sizes = append(sizes, r.Size())
	})
	apply(t, r, at(ledger.IdentitySuspended{Name: name("ben")}))
	apply(t, r, at(d.revoked(2)))
	if err := r.Apply(99, nil); err == nil {
		t.Fatal("a gap was accepted")
	}
	want := []refusal.Code{refusal.Suspended, "", refusal.Suspended, refusal.Revoked, refusal.StaleRoster, refusal.StaleRoster}
	if !reflect.DeepEqual(seen, want) || !reflect.DeepEqual(sizes, []uint64{6, 7, 7}) {
		t.Errorf("watchers saw %q at sizes %d, want %q", seen, sizes, want)
	}
}

func TestAStaleRosterTellsOnce(t *testing.T) {
	d := newDomain()
	r := New()
	calls := 0
	r.Watch(func(Change) { calls++ })
	for range 3 {
		if r.Apply(7, nil) == nil {
			t.Fatal("a gap was accepted")
		}
	}
	if calls != 0 {
		t.Errorf("a roster that knew nothing told its watchers %d times that it knows nothing", calls)
	}
	apply(t, r, d.beginning())
	for range 3 {
		if r.Apply(7, nil) == nil {
			t.Fatal("a gap was accepted")
		}
	}
	if calls != 2 {
		t.Errorf("%d calls, want one for the beginning and one for going stale", calls)
	}
}

func TestWatchersAreCalledInOrderUntilTheyStop(t *testing.T) {
	d := newDomain()
	r := d.begun(t, d.issued(1, "ben"), d.issued(2, "ben"), d.issued(3, "ben"))
	var calls []string
	stopA := r.Watch(func(Change) { calls = append(calls, "a") })
	var stopB func()
	stopB = r.Watch(func(Change) { calls = append(calls, "b"); stopB() })
	r.Watch(func(Change) { calls = append(calls, "c") })
	apply(t, r, at(d.revoked(1)))
	stopA()
	stopA()
	apply(t, r, at(d.revoked(2)))
	if want := []string{"a", "b", "c", "c"}; !reflect.DeepEqual(calls, want) {
		t.Errorf("calls %q, want %q", calls, want)
	}
}
