package roster

import (
	"testing"

	"github.com/postern-project/postern/internal/ledger"
)

// One issuer of a line is in use at a time; what was issued under the others
// stays good.
func TestALineHasOneIssuerInUse(t *testing.T) {
	d := newDomain()
	next := newCA("clients-2", ledger.UseClients, &d.root)
	r := d.begun(t, d.issued(1, "ben"))
	inUse := func(want ...string) {
		t.Helper()
		var got []string
		for _, i := range r.Issuers() {
			if i.Active {
				got = append(got, i.Name)
			}
		}
		if len(got) != len(want) || got[0] != want[0] || len(got) == 2 && got[1] != want[1] {
			t.Errorf("in use: %v, want %v", got, want)
		}
	}
	inUse("clients-1", "servers-1")
	apply(t, r, at(ledger.IssuerAdded{Name: "clients-2", Use: ledger.UseClients, Certificate: next.Raw}))
	inUse("clients-1", "servers-1")
	generation := r.Generation()
	apply(t, r, at(ledger.IssuerActivated{Issuer: next.id()}))
	inUse("servers-1", "clients-2")
	if r.Generation() != generation {
		t.Error("a switch made every gateway forget its tickets")
	}
	apply(t, r, at(ledger.IssuerRetired{Issuer: d.clients.id()}))
	if v := r.Check(d.ref(1), noon); v.Code != "" {
		t.Errorf("issued under the retired issuer: %s", v.Code)
	}
	apply(t, r, at(ledger.IssuerDistrusted{Issuer: next.id()}))
	inUse("servers-1")
}
