package follow

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/refusal"
	"github.com/postern-project/postern/internal/roster"
)

func TestLoadGivesTheRosterTheWholeLedger(t *testing.T) {
	f := newFolder(t, 2*chunk)
	s := f.open(t)
	for _, pub := range []any{nil, public(7)} {
		r := roster.New()
		if pub == nil {
			must(t, Load(t.Context(), s, nil, r))
		} else {
			must(t, Load(t.Context(), s, public(7), r))
		}
		if want := headOf(t, s).Size; r.Size() != want {
			t.Errorf("%d entries applied, want %d", r.Size(), want)
		}
		for _, number := range []uint64{1, chunk, 2 * chunk} {
			c := f.certificate(number)
			if v := r.Check(c.Ref, c.NotBefore); v.Code != "" {
				t.Errorf("certificate %d: %s", number, v.Code)
			}
		}
		unknown := f.certificate(2*chunk + 1)
		if v := r.Check(unknown.Ref, unknown.NotBefore); v.Code != refusal.NotInLedger {
			t.Errorf("a certificate that was never issued: %q", v.Code)
		}
	}
}

// I13: a ledger that is not the signed one gives the roster nothing, and the
// error names the place.
func TestLoadRefusesAChangedLedger(t *testing.T) {
	whole := newFolder(t, 20)
	for what, test := range map[string]struct{ statement, says string }{
		"an entry changed":          {"UPDATE ledger_entry SET data = CAST(substr(data, 1, 12) || x'ff' || substr(data, 14) AS BLOB) WHERE seq = 5", "seq=5"},
		"an entry deleted":          {"DELETE FROM ledger_entry WHERE seq = 5", "seq=5"},
		"the last entry deleted":    {"DELETE FROM ledger_entry WHERE seq = 22", "seq=22"},
		"the first entry deleted":   {"DELETE FROM ledger_entry WHERE seq = 0", "entry 0"},
		"the first entry changed":   {"UPDATE ledger_entry SET data = CAST(substr(data, 1, 40) || x'ff' || substr(data, 42) AS BLOB) WHERE seq = 0", "seq=0"},
		"entries exchanged":         {"UPDATE ledger_entry SET data = (SELECT data FROM ledger_entry o WHERE o.seq = 11 - ledger_entry.seq) WHERE seq IN (5, 6)", "seq=5"},
		"a head with another root":  {"UPDATE ledger_head SET root = zeroblob(32)", "ledger_head"},
		"a head with another size":  {"UPDATE ledger_head SET size = 22", "ledger_head"},
		"a head with another epoch": {"UPDATE ledger_head SET epoch = 1", "ledger_head"},
		"a head with another note":  {"UPDATE ledger_head SET note = x'00'", "ledger_head"},
	} {
		t.Run(what, func(t *testing.T) {
			f := whole.copied(t)
			f.tamper(t, test.statement)
			r := roster.New()
			err := Load(t.Context(), f.open(t), public(7), r)
			if _, ok := errors.AsType[*DamagedError](err); !ok || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), "backup") {
				t.Errorf("got %v, want a *DamagedError that names %s", err, test.says)
			}
			if r.Size() != 0 {
				t.Errorf("%d entries reached the roster", r.Size())
			}
		})
	}
}

// I13: what stands in the views, or behind the head, is nothing to the roster.
func TestLoadHeedsNoView(t *testing.T) {
	f := newFolder(t, 20)
	f.tamper(t, "UPDATE certificate SET revoked_at = 1, reason = 1")
	f.tamper(t, "INSERT INTO ledger_entry (seq, data) SELECT 23, data FROM ledger_entry WHERE seq = 5")
	planted := f.certificate(99)
	f.tamper(t, "INSERT INTO certificate SELECT 99, issuer, $1, $2, name, profile, key_hash, not_before, not_after, NULL, dns, ips, via, issued_at, NULL, NULL FROM certificate WHERE seq = 5",
		planted.Serial.Bytes(), planted.TBS[:])
	r := roster.New()
	must(t, Load(t.Context(), f.open(t), public(7), r))
	if v := r.Check(f.certificate(1).Ref, time.Now()); v.Code != "" {
		t.Errorf("a good certificate is refused because of a view: %s", v.Code)
	}
	if v := r.Check(planted.Ref, time.Now()); v.Code != refusal.NotInLedger {
		t.Errorf("a planted certificate: %q", v.Code)
	}
}

func TestLoadWantsTheRightKeyAndANewRoster(t *testing.T) {
	f := newFolder(t, 3)
	s := f.open(t)
	if err := Load(t.Context(), s, public(8), roster.New()); err == nil || !strings.Contains(err.Error(), "ledger.key") {
		t.Errorf("another key: %v", err)
	}
	r := roster.New()
	must(t, Load(t.Context(), s, public(7), r))
	if err := Load(t.Context(), s, public(7), r); err == nil {
		t.Error("a roster was loaded twice")
	}
	empty := folder{path: t.TempDir() + "/postern.db"}
	if err := Load(t.Context(), empty.open(t), public(7), roster.New()); err == nil || !strings.Contains(err.Error(), "postern init") {
		t.Errorf("an empty ledger: %v", err)
	}
}

func TestLoadVouchesForOpenInvites(t *testing.T) {
	f := newFolder(t, 1)
	s := f.open(t)
	invite := ledger.InviteCreated{Code: ledger.Hash{1}, Name: name("ben"), Profile: "device"}
	appendAll(t, s, invite)
	planted := ledger.Hash{2}
	f.tamper(t, "INSERT INTO invite (code, seq, name, profile, group_name, created_at, expires_at) VALUES ($1, 4, 'ben', 'device', '', 0, 9999999999999)", planted[:])
	must(t, Load(t.Context(), s, public(7), roster.New()))
	if err := spend(t, s, planted); err == nil {
		t.Error("a planted invite was spent")
	}
	must(t, spend(t, s, invite.Code))
}

func BenchmarkLoad(b *testing.B) {
	const n = 50_000
	f := newFolder(b, n)
	s := f.open(b)
	for b.Loop() {
		must(b, Load(b.Context(), s, public(7), roster.New()))
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "entries/s")
}
