package main

import (
	"crypto/sha256"
	"crypto/x509"
	"database/sql"
	"testing"

	_ "modernc.org/sqlite"
)

// tamper does what somebody can do who may write to the database: it enters
// the forged certificate into the view as if it had been issued, and clears
// every revocation there.
func tamper(t *testing.T, path string, forged []byte) {
	t.Helper()
	cert, err := x509.ParseCertificate(forged)
	if err != nil {
		t.Fatal(err)
	}
	tbs := sha256.Sum256(cert.RawTBSCertificate)
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, step := range []struct {
		statement string
		args      []any
	}{
		{`INSERT INTO certificate (seq, issuer, serial, tbs, name, profile, key_hash, not_before, not_after, dns, ips, via, issued_at)
		  SELECT seq + 100000, issuer, ?, ?, name, profile, key_hash, not_before, not_after, dns, ips, via, issued_at
		  FROM certificate WHERE name = 'ben/laptop' LIMIT 1`, []any{cert.SerialNumber.Bytes(), tbs[:]}},
		{`UPDATE certificate SET revoked_at = NULL, reason = NULL`, nil},
	} {
		done, err := db.Exec(step.statement, step.args...)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := done.RowsAffected(); err != nil || n == 0 {
			t.Fatalf("%d rows changed (%v): the test would prove nothing", n, err)
		}
	}
}
