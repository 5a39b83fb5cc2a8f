package gateway

import "slices"

// An errand is a request in hand, as far as judging it again needs it.
type errand struct{ method, path string }

// take notes a request before it is judged, so that a change of the rules
// from then on finds it.
func (c *conn) take(a *errand) {
	if a.path == "" {
		a.path = "/" // as canonicalPath has it
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hand = append(c.hand, a)
}

// lay forgets a request that was answered.
func (c *conn) lay(a *errand) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.Index(c.hand, a); i >= 0 {
		last := len(c.hand) - 1
		c.hand[i], c.hand[last] = c.hand[last], nil
		c.hand = c.hand[:last]
	}
}

// inHand returns the requests in hand.
func (c *conn) inHand() []*errand {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.hand)
}
