package store

import (
	"database/sql"
	"testing"
)

// tamper changes the database behind the store's back, as somebody with write
// access to the file can.
func tamper(t testing.TB, s *Store, statement string, args ...any) {
	t.Helper()
	dsn, err := source(s.path, map[string][]string{}, "busy_timeout(5000)", "foreign_keys(0)")
	must(t, err)
	db, err := sql.Open(driverName, dsn)
	must(t, err)
	defer db.Close()
	result, err := db.Exec(statement, args...)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	if n, err := result.RowsAffected(); err == nil && n == 0 && statement[0] != 'C' && statement[0] != 'D' {
		t.Fatalf("%s changed nothing", statement)
	}
}
