package enroll

import "time"

// Attempts count tries to use an invitation, whichever way they come in: by the
// page or by SCEP. They are safe for concurrent use.
type Attempts struct{ limit *limiter }

// NewAttempts returns a count that begins now; a nil clock is time.Now.
func NewAttempts(l Limits, now func() time.Time) *Attempts { return &Attempts{newLimiter(l, now)} }

// Take counts a try by a remote address, or says how long to wait until the
// next.
func (a *Attempts) Take(remote string) (wait time.Duration, ok bool) {
	return a.limit.take(prefixOf(remote))
}

// GiveBack undoes a Take: the try was a good one.
func (a *Attempts) GiveBack(remote string) { a.limit.giveBack(prefixOf(remote)) }
