package store

import (
	"context"
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
	query, args := certificateColumns+"WHERE c.seq < $1 ", []any(nil)
	limit := "LIMIT $2"
	switch {
	case !f.Serial.IsZero():
		query, args, limit = query+"AND c.serial = $2 ", []any{f.Serial.Bytes()}, "LIMIT $3"
		if !f.Name.IsZero() {
			from, to := span(f.Name)
			query, args, limit = query+"AND (c.name = $3 OR c.name > $4 AND c.name < $5) ", append(args, f.Name.String(), from, to), "LIMIT $6"
		}
	case !f.Name.IsZero():
		from, to := span(f.Name)
		query, args, limit = query+"AND (c.name = $2 OR c.name > $3 AND c.name < $4) ", []any{f.Name.String(), from, to}, "LIMIT $5"
	}
	if f.Unrevoked {
		query += "AND c.revoked_at IS NULL "
	}
	if f.Limit <= 0 {
		f.Limit = math.MaxInt
	}
	return limited(ctx, r.session, query+"ORDER BY c.seq DESC "+limit, []any{int64(math.MaxInt64)}, args, f.Limit,
		scanCertificate, func(row CertificateRow) []any { return []any{int64(row.Seq)} })
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
