package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
)

// A TokenRow is an app token with what became of it.
type TokenRow struct {
	ledger.TokenIssued
	CreatedAt time.Time
	RevokedAt time.Time // zero unless it was revoked
}

const tokenColumns = "SELECT token, name, site, created_at, expires_at, revoked_at FROM token "

func scanToken(scan scanner) (r TokenRow, err error) {
	err = scan(hashColumn(&r.Token), nameColumn(&r.Name), &r.Site, timeColumn(&r.CreatedAt), timeColumn(&r.Expires), timeColumn(&r.RevokedAt))
	return r, err
}

// Tokens returns every app token, by its hash.
func (r reader) Tokens(ctx context.Context) iter.Seq2[TokenRow, error] {
	return paged(ctx, r.session, tokenColumns+"WHERE token > $1 ORDER BY token LIMIT $2", []any{[]byte{}}, scanToken,
		func(row TokenRow) []any { return []any{row.Token[:]} })
}

// LiveTokens returns the app tokens of n and of the names below it that were
// not revoked, oldest first.
func (r reader) LiveTokens(ctx context.Context, n identity.Name) ([]TokenRow, error) {
	from, to := span(n)
	return collect(ctx, r.session, tokenColumns+"WHERE (name = $1 OR name > $2 AND name < $3) AND revoked_at IS NULL ORDER BY seq",
		[]any{n.String(), from, to}, scanToken)
}

func (v view) tokenIssued(b ledger.TokenIssued) error {
	if err := v.known(b.Name); err != nil {
		return err
	}
	return v.once(ErrExists, "token "+b.Token.String()[:8], `INSERT INTO token (token, seq, name, site, created_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`, b.Token[:], v.seq, b.Name.String(), b.Site, v.at, millis(b.Expires))
}

func (v view) tokenRevoked(b ledger.TokenRevoked) error {
	what := "token " + b.Token.String()[:8]
	err := v.once(ErrSpent, what, "UPDATE token SET revoked_at = $1 WHERE token = $2 AND revoked_at IS NULL", v.at, b.Token[:])
	if !errors.Is(err, ErrSpent) {
		return err
	}
	var one int
	if v.db.row(v.ctx, "SELECT 1 FROM token WHERE token = $1", []any{b.Token[:]}, &one) == ErrNotFound {
		return fmt.Errorf("%s: %w", what, ErrNotFound)
	}
	return err
}
