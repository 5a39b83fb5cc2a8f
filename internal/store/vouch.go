package store

import (
	"context"
	"fmt"
	"sync"

	"github.com/postern-project/postern/internal/ledger"
)

// vouched holds the invites that are open according to the ledger itself, so
// that a row put into the invite table, or changed there, by somebody else
// buys nothing. It is nil until Vouch, and then follows every commit.
type vouched struct {
	mu      sync.Mutex // guards what follows
	open    map[ledger.Hash]ledger.InviteCreated
	anchors ledger.Anchors // with open
}

// Vouch tells the store which invites are open, and which roots and key are
// trusted, according to entries that were verified against the signed head.
// From then on no other invite is spent, whatever the table says. No Update may
// have run since those entries were read.
func (s *Store) Vouch(open map[ledger.Hash]ledger.InviteCreated, a ledger.Anchors) {
	s.vouched.mu.Lock()
	defer s.vouched.mu.Unlock()
	s.vouched.open, s.vouched.anchors = open, a
}

// trusted returns the anchors that were vouched for, with what was committed
// since, and false when nobody has vouched.
func (v *vouched) trusted() (ledger.Anchors, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.anchors, v.open != nil
}

// follow takes in what was committed.
func (v *vouched) follow(entries []ledger.Entry) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.open != nil {
		for _, e := range entries {
			ledger.FollowInvites(v.open, e.Body)
			if next, err := v.anchors.After(e.Body); err == nil { // judged before it was appended
				v.anchors = next
			}
		}
	}
}

// find returns the open invite with that code: from this batch, else from
// what was committed. known is false when nobody has vouched.
func (v *vouched) find(code ledger.Hash, batch []ledger.Entry) (invite ledger.InviteCreated, open, known bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.open == nil {
		return invite, false, false
	}
	invite, open = v.open[code]
	for _, e := range batch {
		if created, ok := e.Body.(ledger.InviteCreated); ok && created.Code == code {
			invite, open = created, true
		}
	}
	return invite, open, true
}

// vouchFor makes sure that the table's row of an invite that is about to be
// spent says what the ledger says. The row itself shows whether it is spent.
func (tx *Tx) vouchFor(code ledger.Hash) error {
	want, open, known := tx.store.vouched.find(code, tx.batch.entries)
	if !known {
		return nil
	}
	row, err := tx.Invite(context.WithoutCancel(tx.ctx), code)
	if err != nil || !row.Open() {
		return nil // what follows will say so
	}
	if !open || row.InviteCreated != want {
		return &located{ErrDamaged, fmt.Sprintf("%s: invite %s is not in the ledger as the table has it, somebody has changed the database: 'postern ledger verify' names the rows", tx.store.path, code.String()[:8]), ErrDamaged}
	}
	return nil
}
