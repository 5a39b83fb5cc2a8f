package authority

import (
	"context"
	"errors"

	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/store"
)

// AppendLost adds an entry that a ledger lost, whose signed checkpoint was
// verified, and reports whether it said something new. Anchors and epochs are
// the ledger's own affair and are left out, and so is what it says already.
func AppendLost(ctx context.Context, s *store.Store, body ledger.Body) (added bool, err error) {
	switch body.(type) {
	case ledger.Genesis, ledger.EpochOpened:
		return false, nil
	}
	err = s.Update(ctx, func(tx *store.Tx) error {
		b := body
		if r, ok := b.(ledger.CertificatesRevoked); ok {
			refs, err := unrevoked(ctx, tx, r.Certificates)
			if err != nil {
				return err
			}
			if len(refs) == 0 && (len(r.Certificates) > 0 || r.Name.IsZero()) {
				return store.ErrExists
			}
			r.Certificates = refs
			b = r
		}
		return tx.Append(b)
	})
	if errors.Is(err, store.ErrExists) || errors.Is(err, store.ErrSpent) || errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// unrevoked returns those certificates that the ledger holds and has not
// revoked.
func unrevoked(ctx context.Context, tx *store.Tx, refs []ledger.Ref) (left []ledger.Ref, err error) {
	for _, ref := range refs {
		row, err := tx.CertificateByRef(ctx, ref)
		switch {
		case errors.Is(err, store.ErrNotFound):
		case err != nil:
			return nil, err
		case !row.Revoked:
			left = append(left, ref)
		}
	}
	return left, nil
}
