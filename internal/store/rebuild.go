package store

import (
	"context"
	"fmt"
)

// RebuildViews makes every view of the database at path again from its
// ledger, which has to be as it was signed, in one transaction. Nobody else may
// have the database open. It returns how many entries the ledger has.
func RebuildViews(ctx context.Context, path string) (size uint64, err error) {
	s, err := Open(ctx, path, Options{})
	if err != nil {
		return 0, err
	}
	report, err := s.VerifyLedger(ctx)
	if closeErr := s.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return 0, err
	}
	if report.Fault != nil {
		return 0, fmt.Errorf("the ledger itself is damaged, so nothing can be made from it: %w: put the folder back from a backup", report.Fault)
	}
	r := Restorer{path: path}
	if err := r.connect(ctx); err != nil {
		return 0, err
	}
	defer r.close()
	if r.conn, err = r.db.Conn(ctx); err != nil {
		return 0, explain(path, err)
	}
	r.session = newSession(path, r.conn, true)
	return report.Size, r.session.rebuild(ctx)
}

// rebuild empties the views and applies every entry again.
func (s *session) rebuild(ctx context.Context) (err error) {
	if _, err := s.exec(ctx, beginWriting); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			s.exec(ctx, "ROLLBACK")
		}
	}()
	if _, err := s.exec(ctx, deferKeys); err != nil {
		return err
	}
	for _, t := range views() {
		if _, err := s.exec(ctx, "DELETE FROM "+t.name); err != nil {
			return err
		}
	}
	var seq uint64
	for e, err := range (reader{s}).Entries(ctx, 0) {
		if err != nil {
			return err
		}
		if err := apply(ctx, s, seq, e); err != nil {
			return entryFault(seq, "it does not fit the entries before it: %v", err)
		}
		seq++
	}
	_, err = s.exec(ctx, "COMMIT")
	return err
}
