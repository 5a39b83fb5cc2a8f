// Package store keeps the ledger and the tables that are views of it in
// SQLite. Writers share transactions (group commit), each in a savepoint of its
// own; the ledger's tail and the signed head are written as the last step of
// each. The statements are portable to PostgreSQL.
package store

import (
	"context"
	"database/sql"
	"log/slog"
	"sync"
	"time"

	"github.com/postern-project/postern/internal/ledger"
)

// Options says how a store is used.
type Options struct {
	// Signer returns the signer of the checkpoints of an epoch. Nil opens the
	// store to read only.
	Signer func(epoch uint64) (*ledger.Signer, error)
	// Committed is told of new entries after they are durable, in order, and
	// before any Update that made them returns. It must not call Update.
	Committed func(first uint64, entries []ledger.Entry, head Head)
	Now       func() time.Time // nil is time.Now
	Log       *slog.Logger     // nil discards

	// connected, which only tests set, is given each new writing connection.
	connected func(*session) error
}

// A Head is the ledger's newest checkpoint. The Head of an empty ledger is
// zero.
type Head struct {
	Epoch, Size uint64
	Root        ledger.Hash
	// Note is the signed checkpoint (C2SP signed-note).
	Note []byte
}

// A Store is the ledger's storage. It is safe for concurrent use.
type Store struct {
	reader
	options Options
	path    string
	readers *sql.DB
	writers *sql.DB // nil when the store is read-only
	lane    lane
	calls   chan *call
	copies  copies
	vouched vouched

	closing   chan struct{}
	closeOnce sync.Once
	finished  sync.WaitGroup // the writing goroutine
	closeErr  error
}

// Open opens the database at path, and makes it unless the store is opened to
// read only. An older schema is backed up beside the file and upgraded, a
// newer one is a *SchemaError. The caller closes the store.
func Open(ctx context.Context, path string, o Options) (*Store, error) {
	migrations, err := embedded()
	if err != nil {
		return nil, err
	}
	return open(ctx, path, o, migrations)
}

func open(ctx context.Context, path string, o Options, known []migration) (_ *Store, err error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	tuneDriver()
	s := &Store{options: o, path: path, calls: make(chan *call), closing: make(chan struct{})}
	defer func() {
		if err != nil {
			s.closePools()
		}
	}()
	if err := s.prepareFile(ctx, known); err != nil {
		return nil, err
	}
	if err := s.openReaders(); err != nil {
		return nil, err
	}
	if s.writers != nil {
		s.copies.due = make(chan struct{}, 1)
		s.finished.Go(s.write)
	}
	return s, nil
}

func (s *Store) openReaders() error {
	dsn, err := readerSource(s.path)
	if err != nil {
		return err
	}
	if s.readers, err = sql.Open(driverName, dsn); err != nil {
		return err
	}
	s.readers.SetMaxOpenConns(16)
	s.readers.SetMaxIdleConns(16)
	s.reader = reader{newSession(s.path, s.readers, false)}
	return nil
}

// Path returns the path of the database.
func (s *Store) Path() string { return s.path }

// Close lets running Updates end, refuses new ones, and closes the database.
// Later calls return what the first one did.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		close(s.closing)
		s.finished.Wait()
		s.closeErr = s.closePools()
	})
	return s.closeErr
}

func (s *Store) closePools() error {
	var errs [2]error
	if s.readers != nil {
		if s.session != nil {
			s.session.close()
		}
		errs[0] = s.readers.Close()
	}
	if s.writers != nil {
		s.lane.close()
		errs[1] = s.writers.Close()
	}
	for _, err := range errs {
		if err != nil {
			return explain(s.path, err)
		}
	}
	return nil
}
