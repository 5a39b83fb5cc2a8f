package store

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// All that is particular to SQLite stands in this file. The statements
// elsewhere and the migrations are understood by PostgreSQL as well.

const (
	driverName     = "sqlite"
	beginWriting   = "BEGIN IMMEDIATE" // takes the one write lock; elsewhere the head row is locked FOR UPDATE
	listSchema     = "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite!_%' ESCAPE '!' AND tbl_name <> 'goose_db_version' ORDER BY type, name"
	hasVersions    = "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table' AND name = 'goose_db_version'"
	hasOtherTables = "SELECT COUNT(*) FROM sqlite_schema"
	copyInto       = "VACUUM INTO $1"
	deferKeys      = "PRAGMA defer_foreign_keys = ON" // foreign keys are looked at when the transaction ends
	fileCheck      = "PRAGMA integrity_check(1)"
)

// words turns the types of the migrations into SQLite's. An INTEGER PRIMARY
// KEY is the row's place in the file, which saves an index.
func words(migration string) string {
	return strings.NewReplacer("BIGINT PRIMARY KEY", "INTEGER PRIMARY KEY", "BIGINT", "INTEGER", "BYTEA", "BLOB", "\n);", "\n) STRICT;").
		Replace(migration)
}

// tuneDriver sets what holds for the whole process. Both only make SQLite
// behave as it does elsewhere on Linux; where they are unknown nothing is lost.
func tuneDriver() {
	_, _ = sqlite.OFDLocking(true) // closing the file elsewhere in the process drops no lock
	_, _ = sqlite.Fdatasync(true)  // a commit need not wait for the file's timestamps
}

func common() url.Values {
	return url.Values{
		"_defensive": {"1"},
		"_error_rc":  {"1"},
		"_txlock":    {"immediate"},
		"_pragma":    {"busy_timeout(5000)", "foreign_keys(1)", "mmap_size(0)", "temp_store(MEMORY)", "trusted_schema(0)"},
	}
}

// source returns the data source name of the file at path.
func source(path string, options url.Values, pragmas ...string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	for _, p := range pragmas {
		options.Add("_pragma", p)
	}
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(abs), RawQuery: options.Encode()}).String(), nil
}

func writerSource(path string) (string, error) {
	return source(path, common(), "journal_mode(WAL)", "synchronous(FULL)")
}

func readerSource(path string) (string, error) {
	options := common()
	options.Set("_txlock", "deferred")
	options.Set("mode", "rw") // never makes the file
	return source(path, options, "query_only(1)")
}

// scratchSource is a database that nobody else sees. It lives in memory and
// spills into an unnamed temporary file when it grows large.
func scratchSource() string {
	options := common()
	options.Add("_pragma", "synchronous(OFF)")
	options.Add("_pragma", "journal_mode(OFF)")
	options.Del("_defensive")
	return "file:?" + options.Encode()
}

// explain turns SQLite's errors into what an operator can act upon.
func explain(path string, err error) error {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return err
	}
	if _, done := errors.AsType[*located](err); done {
		return err
	}
	say := func(kind error, format string, args ...any) error {
		return &located{kind, fmt.Sprintf("%s: ", path) + fmt.Sprintf(format, args...), err}
	}
	dir := filepath.Dir(path)
	switch code := e.Code(); {
	case code == sqlite3.SQLITE_IOERR_SHMSIZE, code&0xff == sqlite3.SQLITE_FULL:
		return say(ErrFull, "the disk is full: nothing is lost and nothing half written, free some space and try again")
	case code&0xff == sqlite3.SQLITE_BUSY, code&0xff == sqlite3.SQLITE_LOCKED:
		return say(ErrLocked, "another process has held the database for 5 seconds: end it (fuser %s names it) or try again", path)
	case code&0xff == sqlite3.SQLITE_READONLY, code&0xff == sqlite3.SQLITE_CANTOPEN, code&0xff == sqlite3.SQLITE_PERM:
		return say(ErrReadOnly, "cannot be opened for writing: the file and its folder %s have to be writable for the user that postern runs as, and not on a read-only disk", dir)
	case code&0xff == sqlite3.SQLITE_NOTADB:
		return say(ErrDamaged, "this is not a database: put the file back from a backup, or move it away if it is not postern's")
	case code&0xff == sqlite3.SQLITE_CORRUPT:
		return say(ErrDamaged, "the database is damaged (%s): put the file back from a backup", e)
	case code&0xff == sqlite3.SQLITE_IOERR:
		return say(ErrDamaged, "the disk does not work (%s): look at the system log, and move the folder to a sound disk", e)
	}
	return fmt.Errorf("%s: %w", path, err)
}
