package authority

import (
	"slices"
	"time"

	"github.com/postern-project/postern/internal/ledger"
)

// Ending returns the good certificates of all that end within a time from now
// on and that nobody has renewed yet, the soonest first. Those that the sites
// have of their own are left out: they renew themselves.
func Ending(all []Certificate, now time.Time, within time.Duration) []Certificate {
	renewed := map[ledger.Serial]bool{}
	for _, c := range all {
		if c.Status == StatusGood && !c.RenewedFrom.IsZero() {
			renewed[c.RenewedFrom] = true
		}
	}
	var ending []Certificate
	for _, c := range all {
		if c.Status == StatusGood && c.Via != "self" && !renewed[c.Serial] && !c.NotAfter.After(now.Add(within)) {
			ending = append(ending, c)
		}
	}
	slices.SortFunc(ending, func(a, b Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
	return ending
}
