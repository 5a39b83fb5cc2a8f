package store

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"iter"
	"math"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
)

// A Filter selects certificates; its zero fields select everything.
type Filter struct {
	Name      identity.Name // the name and all below it
	Serial    ledger.Serial
	Beginning string      // of the serial number, in hex digits
	Host      string      // a host name or address that stands in it, as encoded
	Key       ledger.Hash // of the SubjectPublicKeyInfo
	Issuer    string      // by name
	Via       string      // the door it was issued through
	NotVia    string      // leaves out what came through this door
	Revoked   bool        // only revoked ones
	Unrevoked bool        // leaves out revoked ones
	Suspended bool        // only those of names that are suspended, by themselves or from above
	Standing  bool        // leaves those out
	// Due leaves out what is not yet in the last third of its life at this time,
	// and what has a successor that is neither revoked nor ended.
	Due time.Time
	// EndsAfter and EndsBefore bound the end of the life, the second one
	// included. With EndsBefore the first to end come first.
	EndsAfter, EndsBefore time.Time
	// After is where the page before ended.
	After Place
	Limit int // zero is no limit

	byName string // how the name is looked for; "" is by the column
}

// ofSuspended are the certificates whose names, or names above them, are
// suspended; the first form lists them, by way of the few names (CROSS JOIN has
// SQLite keep that order), and the second one asks about c.
const (
	ofSuspended = `SELECT x.seq FROM identity s CROSS JOIN certificate x WHERE s.suspended_at IS NOT NULL AND x.name = s.name
		UNION SELECT x.seq FROM identity s CROSS JOIN certificate x WHERE s.suspended_at IS NOT NULL AND x.name > s.name || '/' AND x.name < s.name || '0'`
	isSuspended = `EXISTS (SELECT 1 FROM identity s WHERE s.suspended_at IS NOT NULL AND
		(c.name = s.name OR c.name > s.name || '/' AND c.name < s.name || '0'))`
)

// The ways to look for a name: by its index, and along the ledger.
const (
	byIndex     = "c.seq IN (SELECT seq FROM certificate WHERE name = %s OR name > %s AND name < %s)"
	alongLedger = "((c.name || '') = %s OR (c.name || '') > %s AND (c.name || '') < %s)"
)

// A Place is a certificate's place in a list.
type Place struct {
	Seq  uint64
	Ends time.Time // used by lists in the order of the ends
}

// Place returns where the row stands.
func (r CertificateRow) Place() Place { return Place{r.Seq, r.NotAfter} }

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

// Certificates returns the certificates that fit f: newest first, or with
// EndsBefore the first to end first.
func (r reader) Certificates(ctx context.Context, f Filter) iter.Seq2[CertificateRow, error] {
	limit := f.Limit
	if limit <= 0 {
		limit = math.MaxInt
	}
	if !f.EndsBefore.IsZero() {
		conditions, args := f.where(2)
		query := fmt.Sprintf("%s WHERE (c.not_after > $1 OR c.not_after = $1 AND c.seq > $2) %s ORDER BY c.not_after, c.seq LIMIT $%d",
			certificateColumns, conditions, len(args)+3)
		after := []any{int64(math.MinInt64), int64(math.MaxInt64)}
		if f.After.Seq != 0 {
			after = []any{millis(f.After.Ends), int64(f.After.Seq)}
		} else if !f.EndsAfter.IsZero() {
			after[0] = millis(f.EndsAfter)
		}
		return limited(ctx, r.session, query, after, args, limit,
			scanCertificate, func(row CertificateRow) []any { return []any{millis(row.NotAfter), int64(row.Seq)} })
	}
	return func(yield func(CertificateRow, error) bool) {
		order, byName, err := r.order(ctx, f)
		if err != nil {
			yield(CertificateRow{}, err)
			return
		}
		f.byName = byName
		conditions, args := f.where(1)
		query := fmt.Sprintf("%s WHERE %s < $1 %s ORDER BY %s DESC LIMIT $%d", certificateColumns, order, conditions, order, len(args)+2)
		before := int64(math.MaxInt64)
		if f.After.Seq != 0 {
			before = int64(f.After.Seq)
		}
		for row, err := range limited(ctx, r.session, query, []any{before}, args, limit,
			scanCertificate, func(row CertificateRow) []any { return []any{int64(row.Seq)} }) {
			if !yield(row, err) {
				return
			}
		}
	}
}

// GoodByIssuer returns how many certificates of each issuer are neither revoked
// nor ended at a time.
func (r reader) GoodByIssuer(ctx context.Context, at time.Time) (map[ledger.KeyID]int, error) {
	counts := map[ledger.KeyID]int{}
	err := r.session.each(ctx, `SELECT key_id, (SELECT COUNT(*) FROM certificate c
		WHERE c.issuer = issuer.seq AND c.not_after > $1 AND c.revoked_at IS NULL) FROM issuer`, []any{millis(at)}, func(rows *sql.Rows) error {
		var key ledger.KeyID
		var n int
		if err := rows.Scan(hashColumn(&key), &n); err != nil {
			return err
		}
		counts[key] = n
		return nil
	})
	return counts, err
}

// Count returns how many certificates fit f, whose Limit and After do not matter.
func (r reader) Count(ctx context.Context, f Filter) (n int, err error) {
	conditions, args := f.where(0)
	err = r.session.row(ctx, "SELECT COUNT(*) FROM certificate c WHERE 1 = 1 "+conditions, args, &n)
	return n, err
}

// NewestByName returns the entry that recorded the newest certificate of each
// name among those that came through one of the doors and are neither revoked
// nor ended at a time.
func (r reader) NewestByName(ctx context.Context, at time.Time, doors ...string) (map[identity.Name]uint64, error) {
	newest := map[identity.Name]uint64{}
	args := []any{millis(at)}
	places := make([]string, len(doors))
	for i, door := range doors {
		args = append(args, door)
		places[i] = fmt.Sprintf("$%d", len(args))
	}
	err := r.session.each(ctx, `SELECT name, MAX(seq) FROM certificate WHERE revoked_at IS NULL AND not_after > $1
		AND via IN (`+strings.Join(places, ", ")+`) GROUP BY name`, args, func(rows *sql.Rows) error {
		var n identity.Name
		var seq uint64
		err := rows.Scan(nameColumn(&n), &seq)
		newest[n] = seq
		return err
	})
	return newest, err
}

// few is how many rows are rather sorted than looked for along the ledger.
const few = 2000

// order returns the expression that a list goes by, and how it looks for a
// name. What fits a name, or has not ended, is found by an index that is in
// another order than the ledger's: a few are sorted, and many are met soon
// enough on the way along the ledger. A plus before the number, or an expression
// in place of the name, keeps a database from using the other index.
func (r reader) order(ctx context.Context, f Filter) (number, byName string, err error) {
	narrow := Filter{Name: f.Name, EndsAfter: f.EndsAfter}
	conditions, args := narrow.where(0)
	switch {
	case f.Suspended || f.Beginning != "": // which are listed
		return "+c.seq", "", nil
	case conditions == "":
		return "c.seq", "", nil
	}
	var n int
	query := fmt.Sprintf("SELECT COUNT(*) FROM (SELECT 1 FROM certificate c WHERE %s LIMIT %d) AS some", strings.TrimPrefix(conditions, "AND "), few+1)
	if err := r.session.row(ctx, query, args, &n); err != nil {
		return "", "", err
	}
	switch {
	case n > few:
		return "c.seq", alongLedger, nil
	case !f.Name.IsZero():
		return "c.seq", byIndex, nil
	}
	return "+c.seq", "", nil
}

// where returns the filter's conditions and their parameters, which come after
// so many others.
func (f Filter) where(others int) (conditions string, args []any) {
	add := func(condition string, values ...any) {
		places := make([]any, len(values))
		for i, value := range values {
			args = append(args, value)
			places[i] = fmt.Sprintf("$%d", len(args)+others)
		}
		conditions += fmt.Sprintf("AND "+condition+" ", places...)
	}
	if !f.Serial.IsZero() {
		add("c.serial = %s", f.Serial.Bytes())
	}
	if f.Beginning != "" {
		from, to := beginning(f.Beginning)
		add("c.serial >= %s AND c.serial <= %s", from, to)
	}
	if !f.Name.IsZero() {
		from, to := span(f.Name)
		add(cmp.Or(f.byName, "(c.name = %s OR c.name > %s AND c.name < %s)"), f.Name.String(), from, to)
	}
	if f.Host != "" {
		add("c.seq IN (SELECT certificate FROM certificate_host WHERE host = %s)", f.Host)
	}
	if !f.Key.IsZero() {
		add("c.key_hash = %s", f.Key[:])
	}
	if f.Issuer != "" {
		add("c.issuer = (SELECT seq FROM issuer WHERE name = %s)", f.Issuer)
	}
	if f.Via != "" {
		add("c.via = %s", f.Via)
	}
	if f.NotVia != "" {
		add("c.via <> %s", f.NotVia)
	}
	if f.Suspended {
		add("c.seq IN (" + ofSuspended + ")")
	}
	if f.Standing {
		add("NOT " + isSuspended)
	}
	if !f.Due.IsZero() {
		add("3 * (c.not_after - %s) <= c.not_after - c.not_before", millis(f.Due))
		add("NOT EXISTS (SELECT 1 FROM certificate n WHERE n.renewed_from = c.seq AND n.revoked_at IS NULL AND n.not_after > %s)", millis(f.Due))
	}
	if f.Revoked {
		add("c.revoked_at IS NOT NULL")
	}
	if f.Unrevoked {
		add("c.revoked_at IS NULL")
	}
	if !f.EndsAfter.IsZero() {
		if f.Suspended { // whose few are not to be looked for among all that live
			add("+c.not_after > %s", millis(f.EndsAfter))
		} else {
			add("c.not_after > %s", millis(f.EndsAfter))
		}
	}
	if !f.EndsBefore.IsZero() {
		add("c.not_after <= %s", millis(f.EndsBefore))
	}
	return conditions, args
}

// beginning returns the bounds between which the serial numbers are that begin
// with hex digits.
func beginning(digits string) (from, to []byte) {
	if len(digits)%2 == 0 {
		from, _ = hex.DecodeString(digits)
		to = bytes.Clone(from)
	} else {
		from, _ = hex.DecodeString(digits + "0")
		to, _ = hex.DecodeString(digits + "f")
	}
	return from, append(to, bytes.Repeat([]byte{0xff}, ledger.MaxSerial)...)
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
