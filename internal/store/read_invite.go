package store

import (
	"context"
	"iter"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
)

const inviteColumns = `SELECT code, name, profile, group_name, created_at, expires_at, used_at, cancelled_at, key_hash, tbs FROM invite `

// Invite returns the invite whose code has the SHA-256 code, or ErrNotFound.
func (r reader) Invite(ctx context.Context, code ledger.Hash) (InviteRow, error) {
	rows, err := collect(ctx, r.session, inviteColumns+"WHERE code = $1", []any{code[:]}, scanInvite)
	return only(rows, err)
}

// Invites returns every invite, in no order that means anything.
func (r reader) Invites(ctx context.Context) iter.Seq2[InviteRow, error] {
	return paged(ctx, r.session, inviteColumns+"WHERE code > $1 ORDER BY code LIMIT $2", []any{[]byte{}}, scanInvite,
		func(row InviteRow) []any { return []any{row.Code[:]} })
}

// OpenInvites returns the invites of n and of the names below it that were
// neither used nor cancelled, oldest first. Some may have expired.
func (r reader) OpenInvites(ctx context.Context, n identity.Name) ([]InviteRow, error) {
	if n.IsZero() {
		return nil, nil
	}
	from, to := span(n)
	return collect(ctx, r.session, inviteColumns+`WHERE (name = $1 OR name > $2 AND name < $3)
		AND used_at IS NULL AND cancelled_at IS NULL ORDER BY seq`, []any{n.String(), from, to}, scanInvite)
}
