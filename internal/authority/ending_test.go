package authority

import (
	"testing"
	"time"

	"github.com/postern-project/postern/internal/ledger"
)

// What ends soon and has no successor is told, the soonest first; what the
// sites have of their own, what was renewed and what is no good is not.
func TestEnding(t *testing.T) {
	now := time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)
	day := 24 * time.Hour
	serial := func(n byte) ledger.Serial {
		s, err := ledger.SerialFromBytes([]byte{0x40, 1, 2, 3, 4, 5, 6, 7, 8, n})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	good := func(n byte, left time.Duration) Certificate {
		return Certificate{Serial: serial(n), Status: StatusGood, Via: "join", NotAfter: now.Add(left)}
	}
	own, renewed, successor, revoked := good(3, day), good(4, day), good(5, 300*day), good(6, day)
	own.Via, successor.RenewedFrom, revoked.Status = "self", renewed.Serial, StatusRevoked
	got := Ending([]Certificate{good(1, 20*day), good(2, 2*day), own, renewed, successor, revoked, good(7, 31*day)}, now, 30*day)
	if len(got) != 2 || got[0].Serial != serial(2) || got[1].Serial != serial(1) {
		t.Errorf("got %v", got)
	}
}
