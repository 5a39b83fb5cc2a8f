package store

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-project/postern/internal/ledger"
)

// copyOf returns a closed store's file under another name, opened to read.
func copyOf(t *testing.T, path string) *Store {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	target := filepath.Join(t.TempDir(), "postern.db")
	must(t, os.WriteFile(target, data, 0o600))
	s, err := readOnly(t, target)
	must(t, err)
	return s
}

func closedWorld(t *testing.T) (world, string) {
	t.Helper()
	w, path := newWorld(t), filepath.Join(t.TempDir(), "postern.db")
	s := openAt(t, path, Options{})
	w.everything(t, s)
	must(t, s.Close())
	return w, path
}

// I13: whatever row somebody inserts, changes or deletes is found and named.
func TestVerifyNamesTheFirstRowThatDiffers(t *testing.T) {
	_, path := closedWorld(t)
	tests := map[string]struct {
		statement string
		table     string
		key       string
		column    string
	}{
		"an identity planted":          {"INSERT INTO identity (name, seq, created_at) VALUES ('eve', 3, 0)", "identity", `name="eve"`, ""},
		"an identity deleted":          {"DELETE FROM identity WHERE name = 'ben'", "identity", `name="ben"`, ""},
		"a suspension lifted":          {"UPDATE identity SET suspended_at = NULL WHERE name = 'ben/phone'", "identity", `name="ben/phone"`, "suspended_at"},
		"a name changed":               {"UPDATE identity SET name = 'ben2' WHERE name = 'ben'", "identity", `name="ben"`, ""},
		"a membership planted":         {"INSERT INTO membership (group_name, name, joined_at) VALUES ('ops', 'ben', 0)", "membership", `group_name="ops" name="ben"`, ""},
		"a membership deleted":         {"DELETE FROM membership WHERE group_name = 'family'", "membership", `group_name="family" name="ben"`, ""},
		"a membership restored":        {"UPDATE membership SET left_at = NULL WHERE group_name = 'ops'", "membership", `group_name="ops" name="ben/phone"`, "left_at"},
		"an invite planted":            {"INSERT INTO invite (code, seq, name, profile, group_name, created_at, expires_at) VALUES (x'00', 3, 'ben', 'admin', '', 0, 0)", "invite", "code=00", ""},
		"an invite deleted":            {"DELETE FROM invite WHERE used_at IS NOT NULL", "invite", "code=" + hashOf("code", 1).String(), ""},
		"an invite opened again":       {"UPDATE invite SET used_at = NULL WHERE used_at IS NOT NULL", "invite", "code=" + hashOf("code", 1).String(), "used_at"},
		"an invite made to last":       {"UPDATE invite SET expires_at = expires_at + 1 WHERE cancelled_at IS NOT NULL", "invite", "code=" + hashOf("code", 2).String(), "expires_at"},
		"a certificate planted":        {"INSERT INTO certificate SELECT 100, issuer, x'99', tbs, name, profile, key_hash, not_before, not_after, NULL, dns, ips, via, issued_at, NULL, NULL FROM certificate WHERE seq = 9", "certificate", "seq=100", ""},
		"a certificate deleted":        {"DELETE FROM certificate WHERE seq = 12", "certificate", "seq=12", ""},
		"a revocation undone":          {"UPDATE certificate SET revoked_at = NULL WHERE seq = 9", "certificate", "seq=9", "revoked_at"},
		"a certificate given a name":   {"UPDATE certificate SET dns = dns || ' eve.example.com' WHERE seq = 12", "certificate", "seq=12", "dns"},
		"a certificate's hash changed": {"UPDATE certificate SET tbs = x'00' WHERE seq = 12", "certificate", "seq=12", "tbs"},
		"an issuer planted":            {"INSERT INTO issuer (seq, name, key_id, purpose, certificate, added_at) VALUES (100, 'eve', x'00', 1, x'00', 0)", "issuer", "seq=100", ""},
		"an issuer deleted":            {"DELETE FROM issuer", "issuer", "seq=1", ""},
		"an issuer trusted again":      {"UPDATE issuer SET distrusted_at = NULL, reason = NULL", "issuer", "seq=1", "distrusted_at"},
		"an entry changed":             {"UPDATE ledger_entry SET data = CAST(substr(data, 1, 12) || x'ff' || substr(data, 14) AS BLOB) WHERE seq = 5", "ledger_entry", "seq=5", ""},
		"an entry cut short":           {"UPDATE ledger_entry SET data = substr(data, 1, length(data) - 1) WHERE seq = 5", "ledger_entry", "seq=5", ""},
		"two entries exchanged":        {"UPDATE ledger_entry SET data = (SELECT data FROM ledger_entry other WHERE other.seq = 5 - ledger_entry.seq) WHERE seq IN (2, 3)", "ledger_entry", "seq=2", ""},
		"an entry deleted":             {"DELETE FROM ledger_entry WHERE seq = 5", "ledger_entry", "seq=5", ""},
		"the last entry deleted":       {"DELETE FROM ledger_entry WHERE seq = (SELECT MAX(seq) FROM ledger_entry)", "ledger_entry", "seq=20", ""},
		"the first entry deleted":      {"DELETE FROM ledger_entry WHERE seq = 0", "ledger_entry", "seq=0", ""},
		"the first entry changed":      {"UPDATE ledger_entry SET data = CAST(substr(data, 1, 40) || x'ff' || substr(data, 42) AS BLOB) WHERE seq = 0", "ledger_entry", "seq=0", ""},
		"an entry appended":            {"INSERT INTO ledger_entry (seq, data) SELECT 21, data FROM ledger_entry WHERE seq = 2", "ledger_entry", "seq=21", ""},
		"an entry before the first":    {"INSERT INTO ledger_entry (seq, data) SELECT -1, data FROM ledger_entry WHERE seq = 2", "ledger_entry", "seq=-1", ""},
		"a leaf changed":               {"UPDATE ledger_node SET hash = zeroblob(32) WHERE idx = 0", "ledger_node", "idx=0", ""},
		"a node changed":               {"UPDATE ledger_node SET hash = zeroblob(32) WHERE idx = 6", "ledger_node", "idx=6", ""},
		"a node deleted":               {"DELETE FROM ledger_node WHERE idx = 6", "ledger_node", "idx=6", ""},
		"a node appended":              {"INSERT INTO ledger_node (idx, hash) SELECT MAX(idx) + 1, zeroblob(32) FROM ledger_node", "ledger_node", "idx=39", ""},
		"a node before the first":      {"INSERT INTO ledger_node (idx, hash) VALUES (-1, zeroblob(32))", "ledger_node", "idx=-1", ""},
		"a head with another size":     {"UPDATE ledger_head SET size = size - 1", "ledger_head", "id=1", "size"},
		"a head with another root":     {"UPDATE ledger_head SET root = zeroblob(32)", "ledger_head", "id=1", "root"},
		"a head with another epoch":    {"UPDATE ledger_head SET epoch = 0", "ledger_head", "id=1", ""},
		"a head with another note":     {"UPDATE ledger_head SET note = CAST(replace(CAST(note AS TEXT), 'a', 'b') AS BLOB)", "ledger_head", "id=1", ""},
		"a head without a note":        {"UPDATE ledger_head SET note = NULL", "ledger_head", "id=1", ""},
		"a second head":                {"INSERT INTO ledger_head (id, epoch, size) VALUES (2, 0, 0)", "ledger_head", "", ""},
		"a copy that is another":       {"INSERT INTO certificate_copy (tbs, raw) VALUES (x'00', x'00')", "certificate_copy", "tbs=00", ""},
		"a copy of nothing":            {"INSERT INTO certificate_copy (tbs) VALUES (zeroblob(32))", "certificate_copy", "tbs=" + strings.Repeat("0", 64), ""},
		"a table that is not ours":     {"CREATE TABLE extra (a INTEGER)", "extra", "", ""},
		"a trigger":                    {"CREATE TRIGGER helper AFTER INSERT ON invite BEGIN DELETE FROM identity; END", "helper", "", ""},
		"an index dropped":             {"DROP INDEX certificate_name", "certificate_name", "", ""},
		"a table altered":              {"CREATE INDEX more ON invite (tbs)", "more", "", ""},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			s := copyOf(t, path)
			tamper(t, s, test.statement)
			report, err := s.Verify(t.Context())
			must(t, err)
			if report.OK || report.Fault == nil {
				t.Fatalf("not found")
			}
			if f := report.Fault; f.Table != test.table || f.Key != test.key || f.Column != test.column {
				t.Errorf("found %q: table %q, row %q, column %q, want %q, %q, %q", f, f.Table, f.Key, f.Column, test.table, test.key, test.column)
			}
		})
	}
	sound(t, copyOf(t, path))
}

// A whole tail that somebody appended with all its nodes still lacks the
// signature; so does a view-consistent entry that was changed together with
// its nodes.
func TestVerifyWantsTheSignature(t *testing.T) {
	_, path := closedWorld(t)
	s := copyOf(t, path)
	rebuilt(t, s, func(seq int64, data []byte) []byte {
		if seq != 3 {
			return data
		}
		e, err := ledger.Unmarshal(data)
		must(t, err)
		e.Body = ledger.IdentityCreated{Name: name("eve")}
		return e.Marshal()
	})
	report, err := s.Verify(t.Context())
	must(t, err)
	if report.OK || report.Fault.Table != "ledger_head" {
		t.Errorf("a forged ledger: %v", report.Fault)
	}
}

// rebuilt changes entries and makes all nodes fit them.
func rebuilt(t *testing.T, s *Store, change func(int64, []byte) []byte) {
	t.Helper()
	var tree ledger.Builder
	var node int64
	var all []Record
	for r, err := range s.Records(t.Context(), 0) {
		must(t, err)
		all = append(all, r)
	}
	for _, r := range all {
		data := change(int64(r.Seq), r.Data)
		tamper(t, s, "UPDATE ledger_entry SET data = $1 WHERE seq = $2", data, int64(r.Seq))
		for _, h := range tree.Add(ledger.LeafHash(data)) {
			tamper(t, s, "UPDATE ledger_node SET hash = $1 WHERE idx = $2", h[:], node)
			node++
		}
	}
}

// Appending goes on only from a head that we signed and nodes that add up to
// it: otherwise a forger would get our signature with the next entry.
func TestNothingIsAppendedToAChangedLedger(t *testing.T) {
	_, path := closedWorld(t)
	for what, statement := range map[string]string{
		"root":  "UPDATE ledger_head SET root = zeroblob(32)",
		"size":  "UPDATE ledger_head SET size = size - 1",
		"epoch": "UPDATE ledger_head SET epoch = 7",
		"note":  "UPDATE ledger_head SET note = x'00'",
		"node":  "UPDATE ledger_node SET hash = zeroblob(32)",
		"gone":  "DELETE FROM ledger_head",
	} {
		t.Run(what, func(t *testing.T) {
			r := copyOf(t, path)
			tamper(t, r, statement)
			s := openAt(t, r.Path(), Options{})
			if err := appendAll(s, ledger.IdentityCreated{Name: name("anna")}); err == nil || !strings.Contains(err.Error(), "backup") {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("another key", func(t *testing.T) {
		r := copyOf(t, path)
		other := func(epoch uint64) (*ledger.Signer, error) {
			key := ledgerKey()
			return ledger.NewSigner(ledger.Origin(domain(t), epoch+1), key)
		}
		s := openAt(t, r.Path(), Options{Signer: other})
		if err := appendAll(s, ledger.IdentityCreated{Name: name("anna")}); err == nil || !strings.Contains(err.Error(), "ledger.key") {
			t.Errorf("got %v", err)
		}
	})
}

// A bit that flips anywhere in the file is found, or it was in no row and the
// database still says all that it said.
func TestAFlippedBitInTheFile(t *testing.T) {
	_, path := closedWorld(t)
	data, err := os.ReadFile(path)
	must(t, err)
	whole := dump(t, copyOf(t, path))
	found, harmless := 0, 0
	for at := 100; at < len(data); at += 1499 {
		flipped := append([]byte(nil), data...)
		flipped[at] ^= 1 << (at % 8)
		target := filepath.Join(t.TempDir(), "postern.db")
		must(t, os.WriteFile(target, flipped, 0o600))
		s, err := Open(t.Context(), target, Options{})
		if err != nil {
			found++
			continue
		}
		report, err := s.Verify(t.Context())
		switch {
		case err != nil || !report.OK:
			found++
		case dump(t, s) != whole:
			t.Errorf("byte %d: a change went unnoticed", at)
		default:
			harmless++
		}
		must(t, s.Close())
	}
	t.Logf("%d flipped bits found, %d in unused space", found, harmless)
	if found == 0 {
		t.Error("no flipped bit was found")
	}
}

func dump(t *testing.T, s *Store) string {
	t.Helper()
	var b strings.Builder
	for _, name := range []string{"ledger_entry", "ledger_node", "ledger_head", "issuer", "identity", "membership", "invite", "certificate"} {
		err := s.session.each(context.Background(), "SELECT * FROM "+name+" ORDER BY 1, 2", nil, func(rows *sql.Rows) error {
			columns, err := rows.Columns()
			values, dest := make([]any, len(columns)), make([]any, len(columns))
			for i := range dest {
				dest[i] = &values[i]
			}
			if err == nil {
				err = rows.Scan(dest...)
			}
			fmt.Fprintln(&b, name, values)
			return err
		})
		must(t, err)
	}
	return b.String()
}
