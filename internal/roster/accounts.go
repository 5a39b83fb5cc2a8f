package roster

import (
	"sync"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
)

// An Account is an ACME account, or the key that may yet become one, as the
// ledger has it.
type Account struct {
	ledger.ACMEKeyCreated
	// Thumbprint is that of the account's key now; zero until one is bound.
	Thumbprint ledger.Hash
	Cancelled  bool
}

// accounts are the ACME accounts by the identifier of their key.
type accounts struct{ byKey sync.Map } // string -> Account

// follow brings the accounts up to date with one entry. A key that is
// mentioned before it was created, or bound twice, changes nothing.
func (a *accounts) follow(body ledger.Body) {
	switch b := body.(type) {
	case ledger.ACMEKeyCreated:
		a.byKey.LoadOrStore(b.Key, Account{ACMEKeyCreated: b})
	case ledger.ACMEAccountBound:
		a.change(b.Key, func(x *Account) {
			if x.Thumbprint.IsZero() {
				x.Thumbprint = b.Thumbprint
			}
		})
	case ledger.ACMEAccountRekeyed:
		a.change(b.Key, func(x *Account) {
			if !x.Thumbprint.IsZero() {
				x.Thumbprint = b.Thumbprint
			}
		})
	case ledger.ACMEKeyCancelled:
		a.change(b.Key, func(x *Account) { x.Cancelled = true })
	}
}

func (a *accounts) change(key string, by func(*Account)) {
	if v, ok := a.byKey.Load(key); ok {
		x := v.(Account)
		by(&x)
		a.byKey.Store(key, x)
	}
}

// Account returns the ACME account of a key's identifier.
func (r *Roster) Account(key string) (Account, bool) {
	v, ok := r.accounts.byKey.Load(key)
	if !ok || !r.ready.Load() {
		return Account{}, false
	}
	return v.(Account), true
}

// AccountOf returns the ACME account of a profile that has the key with that
// thumbprint now and was not ended.
func (r *Roster) AccountOf(profile string, thumbprint ledger.Hash) (found Account, ok bool) {
	if thumbprint.IsZero() || !r.ready.Load() {
		return Account{}, false
	}
	r.accounts.byKey.Range(func(_, v any) bool {
		a := v.(Account)
		ok = a.Profile == profile && a.Thumbprint == thumbprint && !a.Cancelled
		if ok {
			found = a
		}
		return !ok
	})
	return found, ok
}

// Suspended returns the nearest name at or above n that is suspended.
func (r *Roster) Suspended(n identity.Name) (identity.Name, bool) {
	for above := range n.Lineage() {
		if i, ok := r.names.lookup(above); ok {
			return r.names.suspender(i)
		}
	}
	return identity.Name{}, false
}
