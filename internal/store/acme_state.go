package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"
)

// ErrConflict is the error for a record that somebody else has changed since
// it was read.
var ErrConflict = errors.New("changed by somebody else")

// A State is one record of what the ACME server has to remember. It is no part
// of the ledger.
type State struct {
	Kind, ID string
	Owner    string // the account it belongs to
	Lookup   string // finds it beside its ID, alone among its kind; "" for nothing
	// Version is that which was read, 0 for a record that is to be new.
	Version          uint64
	Created, Expires time.Time // Sweep removes it once it has expired
	Body             []byte
}

const stateColumns = "SELECT kind, id, owner, lookup, version, created_at, expires_at, body FROM acme_state "

func scanState(scan scanner) (s State, err error) {
	var version int64
	err = scan(&s.Kind, &s.ID, &s.Owner, &s.Lookup, &version, timeColumn(&s.Created), timeColumn(&s.Expires), &s.Body)
	s.Version = uint64(version)
	return s, err
}

// State returns one record, or ErrNotFound.
func (r reader) State(ctx context.Context, kind, id string) (State, error) {
	rows, err := collect(ctx, r.session, stateColumns+"WHERE kind = $1 AND id = $2", []any{kind, id}, scanState)
	return only(rows, err)
}

// StateBy returns the record of a kind that is found by lookup, or
// ErrNotFound.
func (r reader) StateBy(ctx context.Context, kind, lookup string) (State, error) {
	if lookup == "" {
		return State{}, ErrNotFound
	}
	rows, err := collect(ctx, r.session, stateColumns+"WHERE kind = $1 AND lookup = $2 AND lookup <> ''", []any{kind, lookup}, scanState)
	return only(rows, err)
}

// StatesOf returns the newest records of a kind that belong to owner, at most
// limit of them.
func (r reader) StatesOf(ctx context.Context, kind, owner string, limit int) ([]State, error) {
	return collect(ctx, r.session, stateColumns+"WHERE kind = $1 AND owner = $2 ORDER BY created_at DESC, id LIMIT $3",
		[]any{kind, owner, limit}, scanState)
}

// CountStates returns how many records of a kind belong to owner.
func (r reader) CountStates(ctx context.Context, kind, owner string) (n int, err error) {
	err = r.session.row(ctx, "SELECT COUNT(*) FROM acme_state WHERE kind = $1 AND owner = $2", []any{kind, owner}, &n)
	return n, err
}

// States returns every record of a kind, sorted by ID.
func (r reader) States(ctx context.Context, kind string) iter.Seq2[State, error] {
	return limited(ctx, r.session, stateColumns+"WHERE id > $1 AND kind = $2 ORDER BY id LIMIT $3", []any{""}, []any{kind}, 1<<30,
		scanState, func(s State) []any { return []any{s.ID} })
}

// WriteStates writes all of the records or none. A record whose Version is not
// the stored one is ErrConflict, and so is a new one that is there already or
// whose Lookup is taken.
func (s *Store) WriteStates(ctx context.Context, records ...State) error {
	return s.Update(ctx, func(tx *Tx) error {
		for _, r := range records {
			if err := tx.WriteState(r); err != nil {
				return err
			}
		}
		return nil
	})
}

// WriteState is WriteStates for one record inside a transaction.
func (tx *Tx) WriteState(r State) error {
	if tx.over {
		return errOver
	}
	n, err := tx.writeState(r)
	if err == nil && n != 1 {
		err = fmt.Errorf("ACME %s %s: %w", r.Kind, r.ID, ErrConflict)
	}
	if err != nil {
		tx.failed = err
		return err
	}
	tx.batch.state.copies++ // there is something to commit beside the ledger
	return nil
}

func (tx *Tx) writeState(r State) (int64, error) {
	if r.Version == 0 {
		return tx.session.exec(tx.ctx, `INSERT INTO acme_state (kind, id, owner, lookup, version, created_at, expires_at, body)
			VALUES ($1, $2, $3, $4, 1, $5, $6, $7) ON CONFLICT DO NOTHING`,
			r.Kind, r.ID, r.Owner, r.Lookup, millis(r.Created), millis(r.Expires), r.Body)
	}
	return tx.session.exec(tx.ctx, `UPDATE acme_state SET lookup = $1, version = version + 1, expires_at = $2, body = $3
		WHERE kind = $4 AND id = $5 AND version = $6 AND ($1 = '' OR NOT EXISTS
			(SELECT 1 FROM acme_state AS other WHERE other.kind = $4 AND other.lookup = $1 AND other.id <> $5))`,
		r.Lookup, millis(r.Expires), r.Body, r.Kind, r.ID, int64(r.Version))
}

// SweepStates removes records that expired before now, at most limit of them,
// and returns how many went.
func (s *Store) SweepStates(ctx context.Context, now time.Time, limit int) (n int64, err error) {
	err = s.Update(ctx, func(tx *Tx) error {
		n, err = tx.session.exec(tx.ctx, `DELETE FROM acme_state WHERE (kind, id) IN
			(SELECT kind, id FROM acme_state WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)`, millis(now), limit)
		if err != nil {
			tx.failed = err
		}
		tx.batch.state.copies++
		return err
	})
	return n, err
}

// NewestStates returns the newest records of a kind, at most limit of them.
func (r reader) NewestStates(ctx context.Context, kind string, limit int) ([]State, error) {
	return collect(ctx, r.session, stateColumns+"WHERE kind = $1 ORDER BY created_at DESC, id LIMIT $2", []any{kind, limit}, scanState)
}
