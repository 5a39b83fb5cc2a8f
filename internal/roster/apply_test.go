package roster

import (
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/refusal"
)

func TestApplyRefusesALedgerThatCannotBe(t *testing.T) {
	d, thief := newDomain(), newDomain()
	otherOrigin := thief.beginning()[0]
	stolen := newCA("clients-2", ledger.UseClients, &d.clients) // signed by an issuer, as a thief could
	second := newCA("clients-2", ledger.UseClients, &d.root)
	strangers := d.issued(9, "eve")
	strangers.Issuer = thief.clients.id()
	nobody := d.issued(9, "eve")
	nobody.Name = identity.Name{}
	numberless := d.issued(9, "eve")
	numberless.Serial = ledger.Serial{}
	twin := d.ref(1)
	twin.TBS[0] ^= 1
	added := func(name string, use ledger.Use, c ca) ledger.Body {
		return ledger.IssuerAdded{Name: name, Use: use, Certificate: c.Raw}
	}
	revoke := func(ref ledger.Ref) ledger.Body { return ledger.CertificatesRevoked{Certificates: []ledger.Ref{ref}} }
	for sentence, bodies := range map[string][]ledger.Body{
		"a second genesis":                             {otherOrigin.Body},
		"an issuer signed by another root":             {added("clients-2", ledger.UseClients, thief.clients)},
		"an issuer signed by an issuer":                {added("clients-2", ledger.UseClients, stolen)},
		"an issuer for another use":                    {added("clients-2", ledger.UseServers, second)},
		"an issuer by the name of another":             {added("clients-1", ledger.UseClients, second)},
		"an issuer with the key of another":            {added("clients-2", ledger.UseClients, d.clients)},
		"an issuer added twice in a batch":             {added("clients-2", ledger.UseClients, second), added("clients-3", ledger.UseClients, second)},
		"an issuer of a line that is for others":       {added("servers-2", ledger.UseClients, second)},
		"activation of an issuer that was never added": {ledger.IssuerActivated{Issuer: thief.clients.id()}},
		"activation of a distrusted issuer":            {ledger.IssuerDistrusted{Issuer: d.clients.id()}, ledger.IssuerActivated{Issuer: d.clients.id()}},
		"retirement of an issuer that was never added": {ledger.IssuerRetired{Issuer: thief.clients.id()}},
		"activation of a retired issuer":               {added("clients-2", ledger.UseClients, second), ledger.IssuerRetired{Issuer: second.id()}, ledger.IssuerActivated{Issuer: second.id()}},
		"a new ledger key that no root has signed":     {ledger.LedgerKeyChanged{Old: make([]byte, 32), New: make([]byte, 32)}},
		"distrust of an issuer that was never added":   {ledger.IssuerDistrusted{Issuer: thief.clients.id()}},
		"a certificate by an unknown issuer":           {strangers},
		"a certificate for nobody":                     {nobody},
		"a certificate without a number":               {numberless},
		"a number given out before":                    {d.issued(1, "eve")},
		"a number given out twice in a batch":          {d.issued(9, "eve"), d.issued(9, "eve")},
		"a revocation of what was never issued":        {revoke(d.ref(9))},
		"a revocation before the certificate":          {revoke(d.ref(9)), d.issued(9, "eve")},
		"a revocation of a twin":                       {revoke(twin)},
		"a revocation for an unknown issuer":           {revoke(strangers.Ref)},
		"the epoch of the beginning":                   {ledger.EpochOpened{}},
		"an epoch twice":                               {ledger.EpochOpened{Epoch: 1}, ledger.EpochOpened{Epoch: 1}},
		"a suspension of nobody":                       {ledger.IdentitySuspended{}},
		"a reinstatement of nobody":                    {ledger.IdentityReinstated{}},
		"nobody joining":                               {ledger.GroupJoined{Group: group("family")}},
		"a group of no name joined":                    {ledger.GroupJoined{Name: name("ben")}},
		"a group of no name left":                      {ledger.GroupLeft{Name: name("ben")}},
		"an entry of an unknown type":                  {&ledger.IdentitySuspended{Name: name("ben")}},
		"an entry without a body":                      {nil},
	} {
		t.Run(sentence, func(t *testing.T) {
			r := d.begun(t, d.issued(1, "ben/phone"))
			var told []Change
			r.Watch(func(c Change) { told = append(told, c) })
			size, generation, issuers := r.Size(), r.Generation(), len(r.Issuers())
			// A good entry before the bad one is not applied either.
			batch := append(at(ledger.IssuerDistrusted{Issuer: d.servers.id()}, d.issued(2, "ben/laptop"), ledger.GroupJoined{Group: group("family"), Name: name("ben")}), at(bodies...)...)
			err := r.Apply(size, batch)
			if err == nil || errors.Is(err, ErrGap) {
				t.Fatalf("error %v", err)
			}
			for _, n := range []uint64{1, 2, 9} {
				if v := r.Check(d.ref(n), noon); v.Code != refusal.StaleRoster {
					t.Errorf("certificate %d afterwards: %+v, want stale-roster", n, v)
				}
			}
			if r.Size() != size || r.Generation() != generation || len(r.Issuers()) != issuers || r.Issuers()[1].Distrusted || len(r.trust.Load().byKey) != issuers || r.Groups(name("ben")) != nil || r.HasGroup(group("family")) {
				t.Error("a part of the batch was applied")
			}
			if want := []Change{{Trust: true}}; !reflect.DeepEqual(told, want) {
				t.Errorf("watchers were told %+v, want %+v", told, want)
			}
			// The true ledger, asked for once more, mends it.
			apply(t, r, at(d.issued(2, "ben/laptop")))
			for _, n := range []uint64{1, 2} {
				if v := r.Check(d.ref(n), noon); v.Code != "" {
					t.Errorf("certificate %d with the true ledger: %+v", n, v)
				}
			}
			if v := r.Check(d.ref(9), noon); v.Code != refusal.NotInLedger {
				t.Errorf("certificate 9 with the true ledger: %+v", v)
			}
		})
	}
}

func TestApplyRefusesABadBeginning(t *testing.T) {
	d, thief := newDomain(), newDomain()
	good := d.beginning()
	forged := good[0].Body.(ledger.Genesis)
	forged.RootSignature = thief.beginning()[0].Body.(ledger.Genesis).RootSignature
	swapped := good[0].Body.(ledger.Genesis)
	swapped.LedgerKey = make([]byte, len(swapped.LedgerKey))
	for sentence, entries := range map[string][]ledger.Entry{
		"no genesis":                            good[1:],
		"a certificate first":                   at(d.issued(1, "ben")),
		"a genesis that the root did not sign":  at(forged),
		"a genesis for another ledger key":      at(swapped),
		"an issuer of another root":             append(slices.Clone(good[:1]), thief.beginning()[1]),
		"the root and the issuers of two roots": append(thief.beginning()[:1], good[1:]...),
	} {
		t.Run(sentence, func(t *testing.T) {
			r := New()
			if err := r.Apply(0, entries); err == nil {
				t.Error("accepted")
			}
			if v := r.Check(d.ref(1), noon); v.Code != refusal.StaleRoster || r.Root() != nil || r.Size() != 0 {
				t.Errorf("%+v, root %v, size %d: something was applied", v, r.Root(), r.Size())
			}
		})
	}
}

func TestApplyRefusesGapsAndRepetitions(t *testing.T) {
	d := newDomain()
	for sentence, first := range map[string]uint64{"a gap": 5, "a repetition": 3, "from the start again": 0} {
		t.Run(sentence, func(t *testing.T) {
			r := d.begun(t, d.issued(1, "ben"))
			if err := r.Apply(first, at(d.issued(2, "ben"))); !errors.Is(err, ErrGap) {
				t.Fatalf("error %v, want ErrGap", err)
			}
			if v := r.Check(d.ref(1), noon); v.Code != refusal.StaleRoster {
				t.Errorf("%+v: a roster that missed something is not stale", v)
			}
			apply(t, r, nil)
			if v := r.Check(d.ref(1), noon); v.Code != refusal.StaleRoster {
				t.Errorf("%+v: no entries mend nothing", v)
			}
			apply(t, r, at(d.issued(2, "ben")))
			if v := r.Check(d.ref(2), noon); v.Code != "" || r.Size() != 5 {
				t.Errorf("after the right entries: %+v, size %d", v, r.Size())
			}
		})
	}
}

func TestTrustIsWhatTheLedgerSays(t *testing.T) {
	d := newDomain()
	r := d.begun(t)
	if r.TrustDomain().String() != "example.com" || !r.Root().Equal(d.root.Certificate) || r.Size() != 3 {
		t.Errorf("trust domain %s, root %s, size %d", r.TrustDomain(), r.Root().Subject, r.Size())
	}
	want := []Issuer{
		{Name: "clients-1", Use: ledger.UseClients, Certificate: d.clients.Certificate, KeyID: d.clients.id(), Active: true, Used: true, Added: 1},
		{Name: "servers-1", Use: ledger.UseServers, Certificate: d.servers.Certificate, KeyID: d.servers.id(), Active: true, Used: true, Added: 2},
	}
	if got := r.Issuers(); !reflect.DeepEqual(got, want) {
		t.Errorf("issuers %+v, want %+v", got, want)
	}
	before := r.Issuers()
	apply(t, r, at(ledger.IssuerDistrusted{Issuer: d.clients.id()}))
	if got := r.Issuers(); !got[0].Distrusted || got[1].Distrusted || before[0].Distrusted {
		t.Errorf("after the distrust of clients-1: %+v, before: %+v", got, before)
	}
}

func TestTheGenerationChangesWithTrustAlone(t *testing.T) {
	d := newDomain()
	r := d.begun(t)
	next := newCA("clients-2", ledger.UseClients, &d.root)
	for _, step := range []struct {
		body    ledger.Body
		changes bool
	}{
		{d.issued(1, "ben"), false},
		{ledger.IdentitySuspended{Name: name("ben")}, false},
		{d.revoked(1), false},
		{ledger.GroupJoined{Group: group("family"), Name: name("ben")}, false},
		{ledger.IssuerAdded{Name: "clients-2", Use: ledger.UseClients, Certificate: next.Raw}, true},
		{ledger.IssuerDistrusted{Issuer: d.clients.id()}, true},
		{ledger.EpochOpened{Epoch: 1, From: noon}, false},
	} {
		before := r.Generation()
		apply(t, r, at(step.body))
		if changed := r.Generation() != before; changed != step.changes || r.Generation() < before {
			t.Errorf("%s: generation %d becomes %d", step.body.Kind(), before, r.Generation())
		}
	}
}
