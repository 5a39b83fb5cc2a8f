package authority

import (
	"context"

	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/store"
)

// redeemGuarded answers for an invite that was made to be approved: with its
// certificate once it was, and with CodePending before. It spends nothing.
func (s *Service) redeemGuarded(ctx context.Context, code invite.Code, spki []byte) (Issued, error) {
	row, err := s.store.Invite(ctx, code.GuardedHash())
	if err != nil {
		return Issued{}, notFound(err, unknownInvite())
	}
	if used(row) {
		return s.again(ctx, row, spki)
	}
	if err := usable(row, s.now()); err != nil {
		return Issued{}, err
	}
	// A key that could not be certified is refused before anybody is asked.
	if _, err := s.draft(decision{name: row.Name, profile: row.Profile, spki: spki, via: viaInvite}); err != nil {
		return Issued{}, err
	}
	return Issued{}, refuse(CodePending, "compare the words with the person who invited you", "this invitation waits for a yes")
}

// Approve spends an invite that was made to be approved on a key. The same
// code with the same key gets the certificate for ten minutes.
func (s *Service) Approve(ctx context.Context, r ApproveRequest) (Issued, error) {
	row, err := s.store.Invite(ctx, r.Hash)
	if err != nil {
		return Issued{}, notFound(err, unknownInvite())
	}
	return s.redeem(ctx, row, r.PublicKey, viaInvite)
}

// CancelInvite ends an invite unused.
func (s *Service) CancelInvite(ctx context.Context, hash ledger.Hash) error {
	return s.update(ctx, func(tx *store.Tx) error {
		row, err := tx.Invite(ctx, hash)
		if err != nil {
			return notFound(err, unknownInvite())
		}
		if used(row) || cancelled(row) {
			return usable(row, s.now())
		}
		return tx.Append(ledger.InviteCancelled{Code: hash})
	})
}
