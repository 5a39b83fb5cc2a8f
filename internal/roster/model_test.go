package roster

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/refusal"
)

// A model answers as the roster has to, from the entries themselves.
type model []ledger.Entry

func (m model) check(ref ledger.Ref) refusal.Code {
	var owner identity.Name
	var revoked bool
	suspended := map[identity.Name]bool{}
	for _, e := range m {
		switch b := e.Body.(type) {
		case ledger.CertificateIssued:
			if b.Ref == ref {
				owner = b.Name
			}
		case ledger.CertificatesRevoked:
			revoked = revoked || slices.Contains(b.Certificates, ref)
		case ledger.IdentitySuspended:
			suspended[b.Name] = true
		case ledger.IdentityReinstated:
			delete(suspended, b.Name)
		}
	}
	switch {
	case owner.IsZero():
		return refusal.NotInLedger
	case revoked:
		return refusal.Revoked
	}
	for n := range suspended {
		if n.Covers(owner) {
			return refusal.Suspended
		}
	}
	return ""
}

func (m model) groups(n identity.Name) []string {
	in := map[ledger.GroupJoined]bool{}
	for _, e := range m {
		switch b := e.Body.(type) {
		case ledger.GroupJoined:
			in[b] = true
		case ledger.GroupLeft:
			delete(in, ledger.GroupJoined(b))
		}
	}
	var all []string
	for j := range in {
		if j.Name.Covers(n) {
			all = append(all, j.Group.String())
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// The roster agrees with the model after every batch of a random ledger.
func TestRosterAgreesWithTheModel(t *testing.T) {
	d := newDomain()
	people := []string{"ben", "ben/phone", "ben/phone/app", "benno", "anna/laptop", "anna", "services/a", "services/b/c"}
	groups := []string{"family", "ops", "friends"}
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 1))
		who := func() identity.Name { return name(people[random.IntN(len(people))]) }
		which := func() identity.Group { return group(groups[random.IntN(len(groups))]) }
		r := d.begun(t)
		var m model
		issued := uint64(0)
		for range 40 {
			var batch []ledger.Entry
			for range random.IntN(5) {
				var body ledger.Body
				switch random.IntN(8) {
				case 0, 1, 2:
					body = d.issued(issued, who().String())
					issued++
				case 3:
					body = ledger.IdentitySuspended{Name: who()}
				case 4:
					body = ledger.IdentityReinstated{Name: who()}
				case 5:
					body = ledger.GroupJoined{Group: which(), Name: who()}
				case 6:
					body = ledger.GroupLeft{Group: which(), Name: who()}
				case 7:
					var some []uint64
					if issued > 0 {
						some = append(some, random.Uint64N(issued))
					}
					body = d.revoked(some...)
				}
				batch = append(batch, at(body)...)
			}
			apply(t, r, batch)
			m = append(m, batch...)
		}
		for n := range issued + 2 {
			if got, want := r.Check(d.ref(n), noon).Code, m.check(d.ref(n)); got != want {
				t.Fatalf("seed %d, certificate %d: %q, the model says %q", seed, n, got, want)
			}
		}
		for _, p := range append(people, "ben/new", "stranger") {
			var got []string
			for _, g := range r.Groups(name(p)) {
				got = append(got, g.String())
			}
			if want := m.groups(name(p)); !slices.Equal(got, want) {
				t.Fatalf("seed %d, groups of %s: %q, the model says %q", seed, p, got, want)
			}
		}
	}
}

// Readers beside a writer never see a certificate good again that was
// revoked, nor one unknown that was handed out. Run it with -race.
func TestReadersNeverSeeTheLedgerGoBack(t *testing.T) {
	d := newDomain()
	r := d.begun(t)
	const certificates = 2000 // several times past the index's first length
	issued, revoked := make(chan uint64, certificates), make(chan uint64, certificates)
	var wg sync.WaitGroup
	reader := func(from chan uint64, allowed ...refusal.Code) {
		for n := range from {
			if v := r.Check(d.ref(n), noon); !slices.Contains(allowed, v.Code) {
				t.Errorf("certificate %d: %+v, want one of %q", n, v, allowed)
			}
			r.Groups(name("ben/phone"))
			r.Issuers()
			r.HasGroup(group("family"))
		}
	}
	wg.Go(func() { reader(issued, "", refusal.Revoked) })
	wg.Go(func() { reader(revoked, refusal.Revoked) })
	stop := r.Watch(func(c Change) {
		for _, ref := range c.Certificates {
			if r.Check(ref, noon).Code != refusal.Revoked {
				t.Error("a watcher is told of a revocation that Check does not know")
			}
		}
	})
	defer stop()
	for n := range uint64(certificates) {
		apply(t, r, at(d.issued(n, "ben/phone"), ledger.GroupJoined{Group: group("family"), Name: name("ben")}))
		issued <- n
		if n%3 == 0 {
			apply(t, r, at(d.revoked(n), ledger.GroupLeft{Group: group("family"), Name: name("ben")}))
			revoked <- n
		}
	}
	close(issued)
	close(revoked)
	wg.Wait()
}
