package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
)

// A session runs statements on a pool or on one connection, and prepares each
// statement once.
type session struct {
	path    string
	prepare func(context.Context, string) (*sql.Stmt, error)
	// whole makes statements run to their end whatever becomes of the
	// caller's context: SQLite rolls the whole transaction back when a
	// statement is interrupted, and others have a part in it.
	whole bool

	mu    sync.Mutex // guards stmts
	stmts map[string]*sql.Stmt
}

type preparer interface {
	PrepareContext(context.Context, string) (*sql.Stmt, error)
}

func newSession(path string, p preparer, whole bool) *session {
	return &session{path: path, prepare: p.PrepareContext, whole: whole, stmts: map[string]*sql.Stmt{}}
}

func (s *session) statement(ctx context.Context, query string) (context.Context, *sql.Stmt, error) {
	if s.whole {
		ctx = context.WithoutCancel(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if stmt, ok := s.stmts[query]; ok {
		return ctx, stmt, nil
	}
	stmt, err := s.prepare(ctx, query)
	if err != nil {
		return ctx, nil, explain(s.path, err)
	}
	s.stmts[query] = stmt
	return ctx, stmt, nil
}

// exec runs a statement and returns how many rows it affected.
func (s *session) exec(ctx context.Context, query string, args ...any) (int64, error) {
	ctx, stmt, err := s.statement(ctx, query)
	if err != nil {
		return 0, err
	}
	result, err := stmt.ExecContext(ctx, args...)
	if err != nil {
		return 0, explain(s.path, err)
	}
	return result.RowsAffected()
}

// row reads the one row of a query into dest. No row is ErrNotFound, bare.
func (s *session) row(ctx context.Context, query string, args []any, dest ...any) error {
	ctx, stmt, err := s.statement(ctx, query)
	if err != nil {
		return err
	}
	err = stmt.QueryRowContext(ctx, args...).Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	return explain(s.path, err)
}

// each calls f for every row of a query.
func (s *session) each(ctx context.Context, query string, args []any, f func(*sql.Rows) error) error {
	ctx, stmt, err := s.statement(ctx, query)
	if err != nil {
		return err
	}
	rows, err := stmt.QueryContext(ctx, args...)
	if err != nil {
		return explain(s.path, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return explain(s.path, rows.Err())
}

// collect returns every row of a query.
func collect[T any](ctx context.Context, s *session, query string, args []any, scan func(scanner) (T, error)) ([]T, error) {
	var all []T
	err := s.each(ctx, query, args, func(rows *sql.Rows) error {
		item, err := scan(rows.Scan)
		if err != nil {
			return fmt.Errorf("%s: %w", s.path, err)
		}
		all = append(all, item)
		return nil
	})
	return all, err
}

func (s *session) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, stmt := range s.stmts {
		stmt.Close()
	}
	clear(s.stmts)
}
