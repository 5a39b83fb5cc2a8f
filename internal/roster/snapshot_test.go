package roster

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
)

func written(t testing.TB, r *Roster) []byte {
	t.Helper()
	s, ok := r.Snapshot()
	if !ok {
		t.Fatal("the roster is not complete")
	}
	var b bytes.Buffer
	if err := s.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func adopted(t testing.TB, snapshot []byte) *Roster {
	t.Helper()
	d, err := ReadSnapshot(bytes.NewReader(snapshot))
	if err != nil {
		t.Fatal(err)
	}
	r := New()
	if err := r.Adopt(d); err != nil {
		t.Fatal(err)
	}
	return r
}

var people = []string{"ben", "ben/phone", "ben/phone/app", "benno", "anna/laptop", "anna", "services/a", "services/b/c"}

// story is a random ledger with entries of every kind that a roster heeds.
func (d *domain) story(random *rand.Rand, n int) []ledger.Entry {
	groups := []string{"family", "ops", "friends"}
	who := func() identity.Name { return name(people[random.IntN(len(people))]) }
	which := func() identity.Group { return group(groups[random.IntN(len(groups))]) }
	all := d.beginning()
	issued, accounts, epoch := uint64(0), 0, uint64(0)
	key := func() string { return fmt.Sprint("key-", random.IntN(accounts+1)) }
	now := noon
	for len(all) < n {
		var body ledger.Body
		now = now.Add(time.Duration(random.IntN(40)) * time.Hour)
		switch random.IntN(20) {
		default:
			c := d.issued(issued, who().String())
			if random.IntN(3) == 0 {
				c.Profile = "service"
			}
			body = c
			issued++
		case 0:
			body = ledger.IdentitySuspended{Name: who()}
		case 1:
			body = ledger.IdentityReinstated{Name: who()}
		case 2, 3:
			body = ledger.GroupJoined{Group: which(), Name: who()}
		case 4:
			body = ledger.GroupLeft{Group: which(), Name: who()}
		case 5, 6:
			if issued > 0 {
				body = d.revoked(random.Uint64N(issued), random.Uint64N(issued))
			}
		case 7:
			r := d.revoked()
			r.Name, r.Reason = who(), ledger.ReasonSuperseded
			body = r
		case 8:
			body = ledger.InviteCreated{Code: ledger.Hash{byte(random.IntN(30))}, Name: who(), Profile: "device", Group: which(), Expires: now}
		case 9:
			body = ledger.InviteUsed{Code: ledger.Hash{byte(random.IntN(30))}}
		case 10:
			body = ledger.ACMEKeyCreated{Key: fmt.Sprint("key-", accounts), Name: who(), Profile: "server", Expires: now}
			accounts++
		case 11:
			body = ledger.ACMEAccountBound{Key: key(), Thumbprint: ledger.Hash{byte(random.IntN(200)), 1}}
		case 12:
			body = ledger.ACMEKeyCancelled{Key: key()}
		case 13:
			if random.IntN(8) == 0 {
				epoch++
				body = ledger.EpochOpened{Epoch: epoch, From: now.Add(-time.Hour)}
			}
		case 14:
			if random.IntN(8) == 0 {
				body = ledger.IssuerDistrusted{Issuer: d.clients.id(), Reason: ledger.ReasonKeyCompromise}
			}
		}
		if body != nil {
			all = append(all, ledger.Entry{At: now, Body: body})
		}
	}
	return all
}

// Whatever entry the snapshot was made behind, a roster that goes on from it is
// the one that read everything.
func TestSnapshotAndTailAreTheWholeLedger(t *testing.T) {
	d := newDomain()
	for seed := range uint64(4) {
		random := rand.New(rand.NewPCG(seed, 3))
		entries := d.story(random, 150)
		whole := New()
		apply(t, whole, entries)
		want := written(t, whole)
		grown := New()
		for cut := 1; cut <= len(entries); cut++ {
			apply(t, grown, entries[cut-1:cut])
			r := adopted(t, written(t, grown))
			apply(t, r, entries[cut:])
			if !bytes.Equal(written(t, r), want) {
				t.Fatalf("seed %d, snapshot of %d entries: the rest leads elsewhere", seed, cut)
			}
			if r.Generation() != whole.Generation() || !slices.EqualFunc(r.Issuers(), whole.Issuers(), sameIssuer) {
				t.Fatalf("seed %d, snapshot of %d entries: other issuers", seed, cut)
			}
			for _, p := range append(people, "ben/new", "stranger") {
				if got, want := r.Groups(name(p)), whole.Groups(name(p)); !slices.Equal(got, want) {
					t.Fatalf("seed %d, snapshot of %d entries, groups of %s: %v, want %v", seed, cut, p, got, want)
				}
			}
			for n := range uint64(len(entries)) {
				ref := d.ref(n)
				if got, want := r.Check(ref, noon), whole.Check(ref, noon); got != want {
					t.Fatalf("seed %d, snapshot of %d entries, certificate %d: %+v, want %+v", seed, cut, n, got, want)
				}
				got, _ := r.Standing(ref.Issuer, ref.Serial)
				if want, _ := whole.Standing(ref.Issuer, ref.Serial); got != want {
					t.Fatalf("seed %d, snapshot of %d entries, certificate %d: %+v, want %+v", seed, cut, n, got, want)
				}
			}
			gotN, gotLast := r.Issued(d.clients.id())
			if wantN, wantLast := whole.Issued(d.clients.id()); gotN != wantN || gotLast != wantLast {
				t.Fatalf("seed %d, snapshot of %d entries: %d issued, want %d", seed, cut, gotN, wantN)
			}
		}
	}
}

func sameIssuer(a, b Issuer) bool {
	return a.Certificate.Equal(b.Certificate) && a.Distrusted == b.Distrusted && a.DistrustedAt.Equal(b.DistrustedAt) &&
		a.Active == b.Active && a.Used == b.Used && a.Added == b.Added && a.Reason == b.Reason
}

// What is written is the moment at which it was asked for, though the roster
// goes on while it is written.
func TestASnapshotIsOfOneMoment(t *testing.T) {
	d := newDomain()
	entries := d.story(rand.New(rand.NewPCG(9, 9)), 2000)
	r := New()
	apply(t, r, entries[:1000])
	before := written(t, r)
	s, _ := r.Snapshot()
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 1000; i < len(entries); i++ {
			apply(t, r, entries[i:i+1])
		}
	})
	for range 20 {
		var b bytes.Buffer
		if err := s.Write(&b); err != nil || !bytes.Equal(b.Bytes(), before) {
			t.Fatalf("it changed while the roster went on (%v)", err)
		}
	}
	wg.Wait()
}

func TestARosterThatIsNotCompleteHasNoSnapshot(t *testing.T) {
	r := New()
	if _, ok := r.Snapshot(); ok {
		t.Error("an empty one has")
	}
	r = newDomain().begun(t)
	if err := r.Apply(99, at(ledger.InviteUsed{})); !errors.Is(err, ErrGap) {
		t.Fatal(err)
	}
	if _, ok := r.Snapshot(); ok {
		t.Error("a stale one has")
	}
}

func TestOnlyANewRosterAdopts(t *testing.T) {
	d := newDomain()
	snapshot := written(t, d.begun(t))
	draft := must(ReadSnapshot(bytes.NewReader(snapshot)))
	if err := d.begun(t).Adopt(draft); err == nil {
		t.Error("one with entries adopts another")
	}
}

// The reader believes nothing: no cut and no changed byte makes it panic, and
// what stands behind the end is refused.
func TestReadSnapshotRefusesWhatIsCut(t *testing.T) {
	d := newDomain()
	r := New()
	apply(t, r, d.story(rand.New(rand.NewPCG(1, 1)), 60))
	whole := written(t, r)
	for n := range whole {
		if _, err := ReadSnapshot(bytes.NewReader(whole[:n])); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut after %d bytes: %v", n, err)
		}
	}
	if _, err := ReadSnapshot(strings.NewReader(string(whole) + "x")); !errors.Is(err, errMore) {
		t.Errorf("a byte more: %v", err)
	}
}

// A root's signature is looked at again, whoever signed the snapshot.
func TestReadSnapshotChecksTheRootsSignatures(t *testing.T) {
	d, other := newDomain(), newDomain()
	r := d.begun(t)
	for i, h := range r.history {
		if _, ok := h.entry.Body.(ledger.IssuerAdded); ok {
			r.history[i].entry.Body = ledger.IssuerAdded{Name: "clients-1", Use: ledger.UseClients, Certificate: other.clients.Raw}
			break
		}
	}
	if _, err := ReadSnapshot(bytes.NewReader(written(t, r))); err == nil || !strings.Contains(err.Error(), "ledger entry 1") {
		t.Errorf("an issuer that another root has signed: %v", err)
	}
}

func FuzzReadSnapshot(f *testing.F) {
	d := newDomain()
	for seed := range uint64(3) {
		r := New()
		apply(f, r, d.story(rand.New(rand.NewPCG(seed, 7)), 30))
		f.Add(written(f, r))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		draft, err := ReadSnapshot(bytes.NewReader(data))
		if err != nil {
			return
		}
		r := New()
		if err := r.Adopt(draft); err != nil {
			t.Fatal(err)
		}
		r.Check(d.ref(1), noon)
		again := written(t, r) // and what it is can be written and read again
		if second := adopted(t, again); !bytes.Equal(written(t, second), again) {
			t.Fatal("it is written in two ways")
		}
	})
}
