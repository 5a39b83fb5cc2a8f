package store

import (
	"errors"
	"testing"

	"github.com/postern-project/postern/internal/ledger"
)

// The hierarchy's entries are judged before they are kept, and Verify makes
// their views again.
func TestTheHierarchyIsKept(t *testing.T) {
	w, s := started(t)
	rootKey, root := newCA(t, "root", nil, nil)
	g, err := ledger.NewGenesis(domain(t), root.Raw, w.genesis.LedgerKey, rootKey)
	must(t, err)
	if err := appendAll(s, g); err == nil {
		t.Error("a second genesis was taken")
	}
	_, stranger := newCA(t, "clients-2", root, rootKey)
	if err := appendAll(s, ledger.IssuerAdded{Name: "clients-2", Use: ledger.UseClients, Certificate: stranger.Raw}); err == nil {
		t.Error("an issuer of another root was taken")
	}
	if err := appendAll(s, ledger.CeremonyRecorded{Transcript: []byte("text"), RootSignature: g.RootSignature}); err == nil {
		t.Error("a transcript that no root signed was taken")
	}
	update(t, s, ledger.IssuerActivated{Issuer: w.key})
	sound(t, s)
	update(t, s, ledger.IssuerRetired{Issuer: w.key})
	sound(t, s)
	if err := appendAll(s, w.certificate("ben", 999)); !errors.Is(err, ErrSpent) {
		t.Errorf("issued under a retired issuer: %v", err)
	}
	if err := appendAll(s, ledger.IssuerRetired{Issuer: w.key}); !errors.Is(err, ErrSpent) {
		t.Errorf("retired twice: %v", err)
	}
	unknown := w.key
	unknown[0] ^= 1
	for _, b := range []ledger.Body{ledger.IssuerActivated{Issuer: unknown}, ledger.IssuerRetired{Issuer: unknown}} {
		if err := appendAll(s, b); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s of an unknown issuer: %v", b.Kind(), err)
		}
	}
}
