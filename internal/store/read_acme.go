package store

import (
	"context"
	"iter"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
)

// An ACMEKeyRow is a key for external account binding with what became of it.
type ACMEKeyRow struct {
	ledger.ACMEKeyCreated
	CreatedAt   time.Time
	Thumbprint  ledger.Hash // of the account's key; zero until one is bound
	BoundAt     time.Time   // zero until one is bound
	CancelledAt time.Time   // zero unless it was cancelled
}

const acmeKeyColumns = `SELECT id, name, profile, hosts, created_at, expires_at, thumbprint, bound_at, cancelled_at FROM acme_key `

func scanACMEKey(scan scanner) (r ACMEKeyRow, err error) {
	err = scan(&r.Key, nameColumn(&r.Name), &r.Profile, listColumn(&r.Hosts, asIs), timeColumn(&r.CreatedAt),
		timeColumn(&r.Expires), hashColumn(&r.Thumbprint), timeColumn(&r.BoundAt), timeColumn(&r.CancelledAt))
	return r, err
}

// ACMEKey returns the key with that identifier, or ErrNotFound.
func (r reader) ACMEKey(ctx context.Context, id string) (ACMEKeyRow, error) {
	rows, err := collect(ctx, r.session, acmeKeyColumns+"WHERE id = $1", []any{id}, scanACMEKey)
	return only(rows, err)
}

// ACMEKeys returns every key, sorted by identifier.
func (r reader) ACMEKeys(ctx context.Context) iter.Seq2[ACMEKeyRow, error] {
	return paged(ctx, r.session, acmeKeyColumns+"WHERE id > $1 ORDER BY id LIMIT $2", []any{""}, scanACMEKey,
		func(row ACMEKeyRow) []any { return []any{row.Key} })
}

// LiveACMEKeys returns the keys of n and of the names below it that were not
// cancelled, oldest first, whether or not an account was bound.
func (r reader) LiveACMEKeys(ctx context.Context, n identity.Name) ([]ACMEKeyRow, error) {
	if n.IsZero() {
		return nil, nil
	}
	from, to := span(n)
	return collect(ctx, r.session, acmeKeyColumns+`WHERE (name = $1 OR name > $2 AND name < $3)
		AND cancelled_at IS NULL ORDER BY seq`, []any{n.String(), from, to}, scanACMEKey)
}

// An ACMECertificateRow says which order a certificate was for.
type ACMECertificateRow struct {
	ledger.ACMECertificateIssued
	IssuedAt time.Time
}

const acmeCertificateColumns = "SELECT order_id, account, tbs, issued_at FROM acme_certificate "

func scanACMECertificate(scan scanner) (r ACMECertificateRow, err error) {
	err = scan(&r.Order, &r.Account, hashColumn(&r.TBS), timeColumn(&r.IssuedAt))
	return r, err
}

// ACMECertificate returns what the order got, or ErrNotFound.
func (r reader) ACMECertificate(ctx context.Context, order string) (ACMECertificateRow, error) {
	rows, err := collect(ctx, r.session, acmeCertificateColumns+"WHERE order_id = $1", []any{order}, scanACMECertificate)
	return only(rows, err)
}

// ACMEOrderOf returns the order that the certificate with that hash was for,
// or ErrNotFound.
func (r reader) ACMEOrderOf(ctx context.Context, tbs ledger.Hash) (ACMECertificateRow, error) {
	rows, err := collect(ctx, r.session, acmeCertificateColumns+"WHERE tbs = $1", []any{tbs[:]}, scanACMECertificate)
	return only(rows, err)
}
