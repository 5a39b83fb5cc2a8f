package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"iter"
	"math"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
)

// A reader answers questions, from the pool for a Store and from inside the
// transaction for a Tx. Lists are read a page at a time and hold no connection
// while their consumer works.
type reader struct{ session *session }

// page is how many rows are read at once.
const page = 1000

// Head returns the newest checkpoint; zero while the ledger is empty.
func (r reader) Head(ctx context.Context) (Head, error) {
	var h Head
	err := r.session.row(ctx, "SELECT epoch, size, root, note FROM ledger_head WHERE id = 1", nil,
		&h.Epoch, &h.Size, hashColumn(&h.Root), &h.Note)
	if err == ErrNotFound {
		return Head{}, &located{ErrDamaged, fmt.Sprintf("%s: ledger_head has lost its row: put the file back from a backup", r.session.path), err}
	}
	return h, err
}

// A Record is an entry as it is stored.
type Record struct {
	Seq  uint64
	Data []byte // what ledger.Unmarshal reads
}

// Records returns the stored entries from number from on, in order. A missing
// number ends it with an error that names it.
func (r reader) Records(ctx context.Context, from uint64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for next := from; ; {
			records, err := collect(ctx, r.session,
				"SELECT seq, data FROM ledger_entry WHERE seq >= $1 ORDER BY seq LIMIT $2", []any{int64(next), page}, scanRecord)
			for _, record := range records {
				if err == nil && record.Seq != next {
					err = &located{ErrDamaged, fmt.Sprintf("%s: ledger entry %d is missing: put the file back from a backup", r.session.path, next), ErrDamaged}
				}
				if err != nil {
					break
				}
				if next++; !yield(record, nil) {
					return
				}
			}
			if err != nil {
				yield(Record{}, err)
				return
			}
			if len(records) < page {
				return
			}
		}
	}
}

func scanRecord(scan scanner) (r Record, err error) {
	var seq int64
	err = scan(&seq, &r.Data)
	if err == nil && seq < 0 {
		err = &Fault{Table: "ledger_entry", Key: fmt.Sprintf("seq=%d", seq), What: "no entry has this number"}
	}
	r.Seq = uint64(seq)
	return r, err
}

// Entries returns the entries from number from on, in order.
func (r reader) Entries(ctx context.Context, from uint64) iter.Seq2[ledger.Entry, error] {
	return func(yield func(ledger.Entry, error) bool) {
		for record, err := range r.Records(ctx, from) {
			if err != nil {
				yield(ledger.Entry{}, err)
				return
			}
			e, err := ledger.Unmarshal(record.Data)
			if err != nil {
				err = fmt.Errorf("ledger entry %d: %w", record.Seq, err)
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// nodes reads tree nodes by their indexes.
func (r reader) nodes(ctx context.Context) ledger.ReadNodes {
	return func(indexes []int64) ([]ledger.Hash, error) {
		all := make([]ledger.Hash, len(indexes))
		for i, index := range indexes {
			err := r.session.row(ctx, "SELECT hash FROM ledger_node WHERE idx = $1", []any{index}, hashColumn(&all[i]))
			if err == ErrNotFound {
				return nil, &located{ErrDamaged, fmt.Sprintf("%s: ledger node %d is missing: put the file back from a backup", r.session.path, index), err}
			}
			if err != nil {
				return nil, fmt.Errorf("ledger node %d: %w", index, err)
			}
		}
		return all, nil
	}
}

// RootAt returns the root of the tree of the first size entries, from the
// stored nodes. A follower that saw that size compares it with what it saw.
func (r reader) RootAt(ctx context.Context, size uint64) (ledger.Hash, error) {
	return ledger.TreeHash(size, r.nodes(ctx))
}

// TreeAt returns the tree of the first size entries, to be added to, from the
// stored nodes. Its root is the caller's to compare.
func (r reader) TreeAt(ctx context.Context, size uint64) (ledger.Builder, error) {
	tree, err := ledger.ResumeBuilder(size, r.nodes(ctx))
	if err != nil {
		return ledger.Builder{}, err
	}
	return *tree, nil
}

// Inclusion returns the proof that the tree of the first size entries holds
// entry number index, from the stored nodes.
func (r reader) Inclusion(ctx context.Context, index, size uint64) ([]ledger.Hash, error) {
	return ledger.ProveInclusion(index, size, r.nodes(ctx))
}

// Identity returns what is known of a name, or ErrNotFound.
func (r reader) Identity(ctx context.Context, n identity.Name) (IdentityRow, error) {
	rows, err := collect(ctx, r.session, "SELECT name, created_at, suspended_at, 0 FROM identity WHERE name = $1", []any{n.String()}, scanIdentity)
	return only(rows, err)
}

// An IdentityFilter selects names; its zero fields select every one.
type IdentityFilter struct {
	Name  identity.Name // the name and all below it
	After identity.Name // where the page before ended
	Limit int           // zero is no limit
}

// Identities returns the names that fit f, sorted, each with how many of its
// certificates are neither revoked nor ended at a time.
func (r reader) Identities(ctx context.Context, f IdentityFilter, at time.Time) iter.Seq2[IdentityRow, error] {
	args, below := []any{millis(at)}, ""
	if !f.Name.IsZero() {
		from, to := span(f.Name)
		args, below = append(args, f.Name.String(), from, to), "AND (name = $3 OR name > $4) AND name >= $3 AND name < $5 "
	}
	query := fmt.Sprintf(`SELECT name, created_at, suspended_at,
		(SELECT COUNT(*) FROM certificate c WHERE c.name = identity.name AND c.not_after > $2 AND c.revoked_at IS NULL)
		FROM identity WHERE name > $1 %sORDER BY name LIMIT $%d`, below, len(args)+2)
	return limited(ctx, r.session, query, []any{f.After.String()}, args, cmp.Or(max(f.Limit, 0), math.MaxInt),
		scanIdentity, func(row IdentityRow) []any { return []any{row.Name.String()} })
}

// AllSuspended returns the names that are suspended themselves.
func (r reader) AllSuspended(ctx context.Context) (map[identity.Name]bool, error) {
	names := map[identity.Name]bool{}
	err := r.session.each(ctx, "SELECT name FROM identity WHERE suspended_at IS NOT NULL", nil, func(rows *sql.Rows) error {
		var n identity.Name
		err := rows.Scan(nameColumn(&n))
		names[n] = true
		return err
	})
	return names, err
}

// Suspended returns the nearest suspended name at or above n.
func (r reader) Suspended(ctx context.Context, n identity.Name) (identity.Name, bool, error) {
	for above := range n.Lineage() {
		row, err := r.Identity(ctx, above)
		if err == nil && row.Suspended {
			return above, true, nil
		}
		if err != nil && err != ErrNotFound {
			return identity.Name{}, false, err
		}
	}
	return identity.Name{}, false, nil
}

// Groups returns who is in which group, sorted by group and name.
func (r reader) Groups(ctx context.Context) iter.Seq2[GroupRow, error] {
	return paged(ctx, r.session, `SELECT group_name, name, joined_at FROM membership
		WHERE left_at IS NULL AND (group_name > $1 OR group_name = $1 AND name > $2) ORDER BY group_name, name LIMIT $3`,
		[]any{"", ""}, scanGroup, func(row GroupRow) []any { return []any{row.Group.String(), row.Name.String()} })
}

// GroupExists reports whether the ledger has ever named the group, in an
// invite or as one that somebody joined.
func (r reader) GroupExists(ctx context.Context, g identity.Group) (bool, error) {
	var n int
	err := r.session.row(ctx, `SELECT COUNT(*) FROM (SELECT name FROM membership WHERE group_name = $1
		UNION ALL SELECT name FROM invite WHERE group_name = $1) AS known`, []any{g.String()}, &n)
	return n > 0 && !g.IsZero(), err
}

// Issuers returns every issuer in the order in which they were added.
func (r reader) Issuers(ctx context.Context) ([]IssuerRow, error) {
	return collect(ctx, r.session, `SELECT name, purpose, certificate, key_id, added_at, distrusted_at, reason
		FROM issuer ORDER BY seq`, nil, scanIssuer)
}

// only returns the one row, or ErrNotFound.
func only[T any](rows []T, err error) (T, error) {
	if err == nil && len(rows) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return *new(T), err
	}
	return rows[0], nil
}

// paged returns the rows of a query whose first parameters are the key to
// start after, and whose last one is how many rows to read.
func paged[T any](ctx context.Context, s *session, query string, after []any, scan func(scanner) (T, error), key func(T) []any) iter.Seq2[T, error] {
	return limited(ctx, s, query, after, nil, math.MaxInt, scan, key)
}

// limited is paged with further parameters after the key, and an end.
func limited[T any](ctx context.Context, s *session, query string, after, more []any, limit int, scan func(scanner) (T, error), key func(T) []any) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		after, limit := after, limit
		for limit > 0 {
			args := append(append(append([]any{}, after...), more...), min(page, limit))
			rows, err := collect(ctx, s, query, args, scan)
			if err != nil {
				yield(*new(T), err)
				return
			}
			for _, row := range rows {
				if !yield(row, nil) {
					return
				}
			}
			if len(rows) < page {
				return
			}
			after, limit = key(rows[len(rows)-1]), limit-len(rows)
		}
	}
}
