package store

import (
	"context"
	"fmt"
	"iter"
	"math"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
)

// A Filter selects certificates; its zero fields select everything.
type Filter struct {
	Name      identity.Name // the name and all below it
	Serial    ledger.Serial
	Unrevoked bool // leaves out revoked ones
	Limit     int  // zero is no limit
}

// Certificate returns the newest certificate with the serial number, or
// ErrNotFound.
func (r reader) Certificate(ctx context.Context, s ledger.Serial) (CertificateRow, error) {
	rows, err := collect(ctx, r.session, certificateColumns+"WHERE c.serial = $1 ORDER BY c.seq DESC LIMIT 1", []any{s.Bytes()}, scanCertificate)
	return only(rows, err)
}

// CertificateByRef returns the certificate that ref names, or ErrNotFound.
func (r reader) CertificateByRef(ctx context.Context, ref ledger.Ref) (CertificateRow, error) {
	rows, err := collect(ctx, r.session, certificateColumns+"WHERE c.serial = $1 AND c.tbs = $2 AND i.key_id = $3",
		[]any{ref.Serial.Bytes(), ref.TBS[:], ref.Issuer[:]}, scanCertificate)
	return only(rows, err)
}

// Certificates returns the certificates that fit f, newest first.
func (r reader) Certificates(ctx context.Context, f Filter) iter.Seq2[CertificateRow, error] {
	conditions, args := f.where()
	limit := f.Limit
	if limit <= 0 {
		limit = math.MaxInt
	}
	query := fmt.Sprintf("%s WHERE c.seq < $1 %s ORDER BY c.seq DESC LIMIT $%d", certificateColumns, conditions, len(args)+2)
	return limited(ctx, r.session, query, []any{int64(math.MaxInt64)}, args, limit,
		scanCertificate, func(row CertificateRow) []any { return []any{int64(row.Seq)} })
}

// where returns the filter's conditions and their parameters, $2 and after.
func (f Filter) where() (conditions string, args []any) {
	place := func(value any) string {
		args = append(args, value)
		return fmt.Sprintf("$%d", len(args)+1)
	}
	if !f.Serial.IsZero() {
		conditions += "AND c.serial = " + place(f.Serial.Bytes()) + " "
	}
	if !f.Name.IsZero() {
		from, to := span(f.Name)
		conditions += fmt.Sprintf("AND (c.name = %s OR c.name > %s AND c.name < %s) ", place(f.Name.String()), place(from), place(to))
	}
	if f.Unrevoked {
		conditions += "AND c.revoked_at IS NULL "
	}
	return conditions, args
}

// Family returns ref and everything renewed from it, directly or not, oldest
// first, without those that are revoked. An unknown ref is ErrNotFound.
func (r reader) Family(ctx context.Context, ref ledger.Ref) ([]ledger.Ref, error) {
	row, err := r.CertificateByRef(ctx, ref)
	if err != nil {
		return nil, err
	}
	return r.descendants(ctx, "seq = $1", int64(row.Seq))
}

// LiveRefs returns every certificate of n and of the names below it that is
// not revoked, and what was renewed from them, oldest first.
func (r reader) LiveRefs(ctx context.Context, n identity.Name) ([]ledger.Ref, error) {
	if n.IsZero() {
		return nil, nil
	}
	from, to := span(n)
	return r.descendants(ctx, "name = $1 OR name > $2 AND name < $3", n.String(), from, to)
}

// descendants returns those certificates that fit a condition and what was
// renewed from them.
func (r reader) descendants(ctx context.Context, condition string, args ...any) ([]ledger.Ref, error) {
	return collect(ctx, r.session, `WITH RECURSIVE family (seq) AS (
		SELECT seq FROM certificate WHERE `+condition+`
		UNION SELECT child.seq FROM certificate child JOIN family ON child.renewed_from = family.seq)
		`+refColumns+`JOIN family ON family.seq = c.seq WHERE c.revoked_at IS NULL ORDER BY c.seq`, args, scanRef)
}
