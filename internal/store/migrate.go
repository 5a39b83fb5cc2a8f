package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// A migration is one step from one schema to the next.
type migration struct {
	version int64
	text    string
}

// embedded returns the migrations in this program, oldest first.
func embedded() ([]migration, error) {
	files, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	var all []migration
	for _, name := range files {
		number, _, _ := strings.Cut(filepath.Base(name), "_")
		version, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("migration %s: %w", name, err)
		}
		text, err := migrationFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		all = append(all, migration{version, string(text)})
	}
	return all, nil
}

func newest(known []migration) int64 { return known[len(known)-1].version }

// migrate brings db to the newest schema, one transaction for each step.
func migrate(ctx context.Context, db *sql.DB, known []migration) error {
	steps := make([]*goose.Migration, len(known))
	for i, m := range known {
		steps[i] = goose.NewGoMigration(m.version, &goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, words(m.text))
			if err == nil && m.version == hostsSchema {
				err = fillHosts(ctx, tx)
			}
			return err
		}}, nil)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, nil, goose.WithGoMigrations(steps...),
		goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}

// prepareFile leaves a database of the newest schema at the store's path, and
// opens it for writing unless the store is read-only.
func (s *Store) prepareFile(ctx context.Context, known []migration) error {
	readOnly := s.options.Signer == nil
	if err := s.ensureFile(readOnly); err != nil {
		return err
	}
	dsn, err := writerSource(s.path)
	if readOnly {
		dsn, err = readerSource(s.path)
	}
	if err != nil {
		return err
	}
	db, err := sql.Open(driverName, dsn)
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	if readOnly {
		defer db.Close()
	} else {
		s.writers = db
	}
	return explain(s.path, s.upgrade(ctx, db, known, readOnly))
}

func (s *Store) ensureFile(readOnly bool) error {
	info, err := os.Stat(s.path)
	switch {
	case err == nil && info.IsDir():
		return fmt.Errorf("%s is a folder: a database file is expected there", s.path)
	case err == nil && (info.Size() > 0 || !readOnly):
		return nil
	case err == nil || errors.Is(err, fs.ErrNotExist) && readOnly:
		return &located{fs.ErrNotExist, fmt.Sprintf("%s: there is no ledger yet: make one with 'postern init' or 'postern up'", s.path), err}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	// SQLite gives its log and shared memory the same permissions.
	f, err := os.OpenFile(s.path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return &located{ErrReadOnly, fmt.Sprintf("%v: make the folder, or make it writable for the user that postern runs as", err), err}
	}
	return f.Close()
}

// upgrade compares the schema's version with the newest one.
func (s *Store) upgrade(ctx context.Context, db *sql.DB, known []migration, readOnly bool) error {
	have, err := version(ctx, s.path, db)
	switch want := newest(known); {
	case err != nil:
		return err
	case have == want:
		return nil
	case have > want, readOnly:
		return &SchemaError{Path: s.path, Have: have, Known: want}
	case have > 0:
		if err := s.backUp(ctx, db, have); err != nil {
			return fmt.Errorf("back up before the upgrade: %w", err)
		}
	}
	return migrate(ctx, db, known)
}

// version returns the schema's version; 0 is an empty database.
func version(ctx context.Context, path string, db *sql.DB) (int64, error) {
	var versions, tables int
	if err := db.QueryRowContext(ctx, hasVersions).Scan(&versions); err != nil {
		return 0, err
	}
	if err := db.QueryRowContext(ctx, hasOtherTables).Scan(&tables); err != nil {
		return 0, err
	}
	if versions == 0 && tables > 0 {
		return 0, &located{ErrDamaged, fmt.Sprintf("%s is another program's database: choose another folder with --data", path), ErrDamaged}
	}
	if versions == 0 {
		return 0, nil
	}
	var have sql.NullInt64
	err := db.QueryRowContext(ctx, "SELECT MAX(version_id) FROM goose_db_version").Scan(&have)
	return have.Int64, err
}

// backUp copies the database to postern.db.backup-vN beside it.
func (s *Store) backUp(ctx context.Context, db *sql.DB, have int64) error {
	path := fmt.Sprintf("%s.backup-v%d", s.path, have)
	tmp := path + ".tmp"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := db.ExecContext(ctx, copyInto, tmp); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	s.options.Log.Info("database backed up before an upgrade", "path", path, "schema", have)
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
