package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/postern-project/postern/internal/ledger"
)

// A Tx is a transaction that an Update's function reads from and appends to.
// It sees what it appended. It is for one goroutine, and only until the
// function returns.
type Tx struct {
	reader
	store  *Store
	batch  *batch
	ctx    context.Context
	failed error // keeps a function from overlooking an error that left something half done
	over   bool
}

var errOver = errors.New("the transaction is over: use it only inside the function given to Update")

// Append adds an entry to the ledger and brings the views up to date with it
// at once. The entry is stamped with the time, never before the newest entry.
// The errors are ErrExists for an identity, group membership, suspension,
// invite, issuer or certificate that is there already; ErrNotFound for a name,
// issuer, invite or certificate that is not: a name is created by its first
// entry; and ErrSpent for an invite that was used or cancelled, a certificate
// that was revoked and an issuer that was distrusted. After one of these the
// transaction may go on.
func (tx *Tx) Append(body ledger.Body) error {
	if tx.over {
		return errOver
	}
	if tx.failed != nil {
		return tx.failed
	}
	err := tx.append(body)
	if err != nil && !tx.harmless(body, err) {
		tx.failed = err
	}
	return err
}

// harmless reports whether an entry that was refused has left nothing behind.
func (tx *Tx) harmless(body ledger.Body, err error) bool {
	_, many := body.(ledger.CertificatesRevoked)
	return !many && (errors.Is(err, ErrExists) || errors.Is(err, ErrNotFound) || errors.Is(err, ErrSpent))
}

func (tx *Tx) append(body ledger.Body) error {
	b := tx.batch
	// what is applied is what a reader of the ledger will see
	data, e, err := ledger.Entry{At: tx.stamp(), Body: body}.Encode()
	if err != nil {
		return err
	}
	if err := tx.judge(e.Body); err != nil {
		return err
	}
	seq := b.first + uint64(len(b.entries))
	if err := apply(tx.ctx, tx.session, seq, e); err != nil {
		return fmt.Errorf("%s: %w", body.Kind(), err)
	}
	b.add(e, data)
	return nil
}

// stamp returns the time of a new entry: whole milliseconds, and never before
// the newest one, so that a clock put back cannot reorder the past.
func (tx *Tx) stamp() time.Time {
	now := tx.store.options.Now().UTC().Truncate(time.Millisecond)
	if newest := tx.batch.state.newest; now.Before(newest) {
		return newest
	}
	return now
}

// judge checks what the views cannot: what the root has to have signed, the
// order of epochs, and that a spent invite is one that the ledger holds.
func (tx *Tx) judge(body ledger.Body) error {
	switch b := body.(type) {
	case ledger.Genesis:
		return b.Verify()
	case ledger.IssuerAdded, ledger.RootAdded, ledger.RootRetired, ledger.RootListSigned, ledger.LedgerKeyChanged, ledger.CeremonyRecorded:
		return tx.judgeAnchored(b)
	case ledger.EpochOpened:
		if b.Epoch <= tx.batch.state.epoch {
			return fmt.Errorf("epoch %d does not follow epoch %d", b.Epoch, tx.batch.state.epoch)
		}
	case ledger.InviteUsed:
		return tx.vouchFor(b.Code)
	}
	return nil
}
