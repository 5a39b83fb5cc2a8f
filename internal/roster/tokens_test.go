package roster

import (
	"testing"
	"time"

	"github.com/postern-project/postern/internal/ledger"
)

// A token is known from its entry on, revoked by its own entry and with the
// whole of its name, also when the ledger lists it nowhere, and the same after a
// start from a snapshot.
func TestTokensInTheRoster(t *testing.T) {
	d := newDomain()
	r := d.begun(t)
	issue := func(n byte, who string) ledger.TokenIssued {
		return ledger.TokenIssued{Token: ledger.Hash{n}, Name: name(who), Site: "music.example.com", Expires: noon.Add(time.Hour)}
	}
	var told []Change
	r.Watch(func(c Change) { told = append(told, c) })
	size := r.Size()
	next := func(bodies ...ledger.Body) {
		t.Helper()
		for _, b := range bodies {
			if err := r.Apply(size, []ledger.Entry{{At: noon, Body: b}}); err != nil {
				t.Fatal(err)
			}
			size++
		}
	}
	next(issue(1, "ben"), issue(2, "ben/app"), issue(3, "benno"), issue(4, "anna"), issue(1, "anna"))
	if len(told) != 0 {
		t.Errorf("a new token changed something for somebody: %+v", told)
	}
	next(ledger.TokenRevoked{Token: ledger.Hash{4}})
	if len(told) != 1 || !told[0].Tokens {
		t.Errorf("the end of a token was told as %+v", told)
	}
	next(ledger.CertificatesRevoked{Name: name("ben")}, ledger.TokenRevoked{Token: ledger.Hash{9}})
	for where, r := range map[string]*Roster{"": r, " after a snapshot": adopted(t, written(t, r))} {
		for n, revoked := range map[byte]bool{1: true, 2: true, 3: false, 4: true} {
			if got, ok := r.Token(ledger.Hash{n}); !ok || got.Revoked != revoked || n == 1 && got.Name != name("ben") {
				t.Errorf("token %d%s: %+v, %v", n, where, got, ok)
			}
		}
		if _, ok := r.Token(ledger.Hash{9}); ok {
			t.Errorf("a token that nobody made is known%s", where)
		}
	}
	if err := r.Apply(size, []ledger.Entry{{At: noon, Body: ledger.TokenIssued{Token: ledger.Hash{7}, Name: name("ben")}}}); err == nil {
		t.Error("a token for no site was taken")
	}
	if _, ok := r.Token(ledger.Hash{3}); ok {
		t.Error("a roster that is stale answers for a token")
	}
}
