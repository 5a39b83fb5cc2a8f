package store

import (
	"path/filepath"
	"strings"
	"testing"
)

// Views that somebody changed are made again from the entries, which are not
// touched; a ledger that is damaged itself is left alone.
func TestRebuildViews(t *testing.T) {
	path := filepath.Join(t.TempDir(), "postern.db")
	s := openAt(t, path, Options{})
	newWorld(t).everything(t, s)
	before, err := s.Head(t.Context())
	must(t, err)
	for _, damage := range []string{
		"UPDATE certificate SET revoked_at = NULL, reason = NULL", "DELETE FROM membership", "UPDATE identity SET suspended_at = 7",
		"UPDATE invite SET used_at = NULL", "UPDATE issuer SET name = 'mine'",
	} {
		tamper(t, s, damage)
		if r, err := s.Verify(t.Context()); err != nil || r.OK {
			t.Fatalf("%s is not noticed: %v", damage, err)
		}
		must(t, s.Close())
		size, err := RebuildViews(t.Context(), path)
		must(t, err)
		s = openAt(t, path, Options{})
		sound(t, s)
		after, err := s.Head(t.Context())
		must(t, err)
		if after.Root != before.Root || size != before.Size {
			t.Errorf("after %s: %+v, want %+v", damage, after, before)
		}
	}
	tamper(t, s, "UPDATE ledger_entry SET data = x'00' WHERE seq = 3")
	must(t, s.Close())
	if _, err := RebuildViews(t.Context(), path); err == nil || !strings.Contains(err.Error(), "from a backup") {
		t.Errorf("a damaged ledger: %v", err)
	}
}
