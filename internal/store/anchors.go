package store

import (
	"context"
	"fmt"

	"github.com/postern-project/postern/internal/ledger"
)

// anchors returns what an entry about the hierarchy is believed by: what
// somebody vouched for, else what all entries come to, with those of this
// batch.
func (tx *Tx) anchors() (a ledger.Anchors, err error) {
	a, known := tx.store.vouched.trusted()
	if !known {
		if a, err = tx.reader.Anchors(tx.ctx); err != nil {
			return a, err
		}
	}
	for _, e := range tx.batch.entries {
		if a, err = a.After(e.Body); err != nil {
			return a, err
		}
	}
	return a, nil
}

// Anchors returns what all stored entries come to, with every signature of a
// root checked. It reads the whole ledger.
func (r reader) Anchors(ctx context.Context) (a ledger.Anchors, err error) {
	for record, err := range r.Records(ctx, 0) {
		if err != nil {
			return a, err
		}
		if a, err = a.AfterRecord(record.Data); err != nil {
			return a, entryFault(record.Seq, "%v", err)
		}
	}
	return a, nil
}

// judgeAnchored checks an entry that carries a root's signature.
func (tx *Tx) judgeAnchored(body ledger.Body) error {
	a, err := tx.anchors()
	if err != nil {
		return err
	}
	if b, ok := body.(ledger.IssuerAdded); ok {
		if _, err := a.Issuer(b); err != nil {
			return err
		}
		return tx.judgeLine(b)
	}
	if _, err = a.After(body); err != nil {
		return err
	}
	if _, ok := body.(ledger.LedgerKeyChanged); ok {
		// The checkpoint over this entry is signed with the new key.
		tx.batch.tail.signer = nil
	}
	return nil
}

// judgeLine refuses an issuer whose line is for something else.
func (tx *Tx) judgeLine(b ledger.IssuerAdded) error {
	known, err := tx.Issuers(tx.ctx)
	if err != nil {
		return err
	}
	for _, i := range known {
		if ledger.LineOf(i.Name) == ledger.LineOf(b.Name) && i.Use != b.Use {
			return fmt.Errorf("issuer %q is for %s and issuer %q of its line is for %s: give it another name", b.Name, b.Use, i.Name, i.Use)
		}
	}
	return nil
}

func (v view) issuerActivated(b ledger.IssuerActivated) error {
	if _, err := v.trustedIssuer(b.Issuer); err != nil {
		return err
	}
	return v.once(ErrNotFound, "issuer with key id "+b.Issuer.String(),
		"UPDATE issuer SET activated_at = $1 WHERE key_id = $2", v.at, b.Issuer[:])
}

func (v view) issuerRetired(b ledger.IssuerRetired) error {
	var retired bool
	err := v.db.row(v.ctx, "SELECT retired_at IS NOT NULL FROM issuer WHERE key_id = $1", []any{b.Issuer[:]}, &retired)
	if err == ErrNotFound {
		return fmt.Errorf("issuer with key id %s: %w", b.Issuer, ErrNotFound)
	}
	if err != nil {
		return err
	}
	return v.once(ErrSpent, "issuer with key id "+b.Issuer.String(),
		"UPDATE issuer SET retired_at = $1 WHERE key_id = $2 AND retired_at IS NULL", v.at, b.Issuer[:])
}
