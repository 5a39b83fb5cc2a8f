package gateway

import (
	"sync"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
)

// A shelf holds connections under a key.
type shelf[K comparable] map[K]map[*conn]struct{}

func (s shelf[K]) add(k K, c *conn) {
	set := s[k]
	if set == nil {
		set = make(map[*conn]struct{}, 1)
		s[k] = set
	}
	set[c] = struct{}{}
}

func (s shelf[K]) remove(k K, c *conn) {
	set := s[k]
	delete(set, c)
	if len(set) == 0 {
		delete(s, k)
	}
}

// An index finds live connections by what they are cut by. It is safe for
// concurrent use.
type index struct {
	mu       sync.Mutex // guards all fields, and filed and known of every conn
	all      map[*conn]struct{}
	tokens   map[*conn]struct{} // over which tokens came
	byRef    shelf[ledger.Ref]
	byName   shelf[identity.Name] // a connection is under its name and every name above
	byIssuer shelf[ledger.KeyID]
	// soonest is no later than the first end among the filed credentials.
	soonest time.Time
}

func newIndex() *index {
	return &index{
		all: make(map[*conn]struct{}), tokens: make(map[*conn]struct{}), byRef: make(shelf[ledger.Ref]),
		byName: make(shelf[identity.Name]), byIssuer: make(shelf[ledger.KeyID]),
	}
}

// add enters c, which nobody has asked the roster about yet.
func (x *index) add(c *conn) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if c.why() == nil {
		x.all[c] = struct{}{}
		c.known = true
	}
}

// file enters c under what cr says of it, in place of what was said before. A
// connection that has ended is not entered.
func (x *index) file(c *conn, cr *credential) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.unfile(c)
	if !c.known || cr.client.Ref.IsZero() {
		return
	}
	c.filed = cr
	x.byRef.add(cr.client.Ref, c)
	x.byIssuer.add(cr.client.Ref.Issuer, c)
	for n := range cr.client.Name.Lineage() {
		x.byName.add(n, c)
	}
	if x.soonest.IsZero() || cr.until.Before(x.soonest) {
		x.soonest = cr.until
	}
}

func (x *index) unfile(c *conn) {
	cr := c.filed
	if cr == nil {
		return
	}
	c.filed = nil
	x.byRef.remove(cr.client.Ref, c)
	x.byIssuer.remove(cr.client.Ref.Issuer, c)
	for n := range cr.client.Name.Lineage() {
		x.byName.remove(n, c)
	}
}

// remove forgets c.
func (x *index) remove(c *conn) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.unfile(c)
	c.known = false
	delete(x.all, c)
	delete(x.tokens, c)
}

// size counts the connections, for a gauge.
func (x *index) size() float64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return float64(len(x.all))
}

func (x *index) every() []*conn {
	x.mu.Lock()
	defer x.mu.Unlock()
	return members(x.all)
}

func (x *index) ref(r ledger.Ref) []*conn {
	x.mu.Lock()
	defer x.mu.Unlock()
	return members(x.byRef[r])
}

func (x *index) name(n identity.Name) []*conn {
	x.mu.Lock()
	defer x.mu.Unlock()
	return members(x.byName[n])
}

func (x *index) issuer(k ledger.KeyID) []*conn {
	x.mu.Lock()
	defer x.mu.Unlock()
	return members(x.byIssuer[k])
}

// of returns the connections that came in through l.
func (x *index) of(l *listener) []*conn {
	x.mu.Lock()
	defer x.mu.Unlock()
	var found []*conn
	for c := range x.all {
		if c.listener == l {
			found = append(found, c)
		}
	}
	return found
}

// bearers returns the connections over which tokens came.
func (x *index) bearers() []*conn {
	x.mu.Lock()
	defer x.mu.Unlock()
	return members(x.tokens)
}

// bear enters c as one over which a token came.
func (x *index) bear(c *conn) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if c.known {
		x.tokens[c] = struct{}{}
	}
}

// ended returns the connections whose credential has ended by now. As long as
// none can have, it costs nothing.
func (x *index) ended(now time.Time) []*conn {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.soonest.IsZero() || now.Before(x.soonest) {
		return nil
	}
	var found []*conn
	x.soonest = time.Time{}
	for c := range x.all {
		switch {
		case c.filed == nil:
		case !now.Before(c.filed.until):
			found = append(found, c)
		case x.soonest.IsZero() || c.filed.until.Before(x.soonest):
			x.soonest = c.filed.until
		}
	}
	return found
}

// nextEnd returns a time no later than the first end among the filed
// credentials, or one far away.
func (x *index) nextEnd() time.Time {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.soonest.IsZero() {
		return time.Now().AddDate(1, 0, 0)
	}
	return x.soonest
}

func members(set map[*conn]struct{}) []*conn {
	if len(set) == 0 {
		return nil
	}
	found := make([]*conn, 0, len(set))
	for c := range set {
		found = append(found, c)
	}
	return found
}
