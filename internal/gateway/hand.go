package gateway

import (
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/postern-project/postern/internal/ledger"
)

// An errand is a request in hand, as far as judging it again needs it.
// It is guarded by its connection's mutex for all but the goroutine that serves
// it.
type errand struct {
	method, path string
	headers      map[string]string // those that a condition asks for
	token        ledger.Hash       // of the app token; zero for none
}

// errand returns what a connection to the door is judged for as a whole: for
// a tcp site, whose condition does not ask about requests, the one thing it is
// for; else nothing in particular.
func (d *door) errand() *errand {
	if d.tcp() {
		return &errand{}
	}
	return nil
}

// detail notes what the condition of w asks of the header.
func (c *conn) detail(a *errand, h http.Header, w *way) {
	names := w.When.Headers()
	if len(names) == 0 {
		return
	}
	headers := make(map[string]string, len(names))
	for _, name := range names {
		// RFC 9110 section 5.3: fields of one name are one list.
		if values := h.Values(name); len(values) > 0 {
			headers[name] = strings.Join(values, ", ")
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	a.headers = headers
}

// enter notes a request that was judged, before anything behind the door is
// reached: a change of the rules from then on finds it.
func (c *conn) enter(a *errand) {
	if a.path == "" {
		a.path = "/" // as canonicalPath has it
	}
	c.mu.Lock()
	c.hand = append(c.hand, a)
	c.mu.Unlock()
	c.entered.Store(true)
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
func (c *conn) inHand() []errand {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]errand, len(c.hand))
	for i, a := range c.hand {
		all[i] = *a
	}
	return all
}

// loggable returns what conditions were told of a header, so that 'postern
// access --replay' can ask them again. What may be a secret stays out.
func loggable(headers map[string]string) slog.Attr {
	var fields []any
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		if !slices.ContainsFunc([]string{"auth", "cookie", "token", "secret", "key", "password", "session"}, func(s string) bool { return strings.Contains(name, s) }) {
			fields = append(fields, slog.String(name, clip(headers[name])))
		}
	}
	return slog.Group("headers", fields...)
}
