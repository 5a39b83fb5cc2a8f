package upstream

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/postern-project/postern/internal/refusal"
)

// An OnError answers a request to which no application did. It is called
// while nothing of an answer has been sent.
type OnError func(w http.ResponseWriter, r *http.Request, code refusal.Code, detail string)

// GroupOptions tune a Group. The zero value means the defaults.
type GroupOptions struct {
	Options
	Balance Balance
	// Retries is on how many others a request is tried whose application is
	// down: only one that has no body and that may be asked twice (RFC 9110
	// section 9.2.2). 1 by default; negative for none.
	Retries int
	// Health, with a Path, asks every member again and again.
	Health Health
	// TLS is for https members.
	TLS TLS
	// Separate keeps the connections of each identity apart, for applications
	// that authenticate connections and not requests, as NTLM does.
	Separate bool
	// MaxBody is the size of a request's body in bytes; 0 for no limit.
	MaxBody int64
}

// A Group is the applications that share a site's work. It is safe for
// concurrent use.
type Group struct {
	options GroupOptions
	circle  circle
	pools   []pooled
	log     *slog.Logger
	stop    func()
}

// pooled is how a member is reached: by one pool of connections, or by one for
// each identity.
type pooled interface {
	handler(OnError) http.Handler
	close()
}

// NewGroup returns the group of the applications written as New reads them.
// It dials nothing yet, unless their health is to be checked. Close ends it.
func NewGroup(specs []string, o GroupOptions) (*Group, error) {
	if len(specs) == 0 {
		return nil, errors.New("no upstream: name at least one")
	}
	g := &Group{options: o, log: cmp.Or(o.Log, slog.New(slog.DiscardHandler)), stop: func() {}}
	g.circle.balance = o.Balance
	for _, spec := range specs {
		p, err := g.pool(spec)
		if err != nil {
			g.Close()
			return nil, err
		}
		g.pools = append(g.pools, p)
		g.circle.members = append(g.circle.members, &member{spec: spec})
	}
	if o.Health.Path != "" {
		g.stop = g.watch()
	}
	return g, nil
}

func (g *Group) pool(spec string) (pooled, error) {
	open := func(o Options) (*Upstream, error) {
		u, err := New(spec, o)
		if err != nil {
			return nil, err
		}
		return u, g.options.TLS.apply(u)
	}
	if g.options.Separate {
		return newSeparate(open, g.options.Options)
	}
	u, err := open(g.options.Options)
	if err != nil {
		return nil, err
	}
	return shared{u}, nil
}

// shared is one pool for everybody.
type shared struct{ up *Upstream }

func (s shared) handler(onError OnError) http.Handler { return s.up.Handler(onError) }
func (s shared) close()                               { s.up.CloseIdle() }

// Close ends the health checks and the connections that rest. Requests under
// way are not touched.
func (g *Group) Close() {
	g.stop()
	for _, p := range g.pools {
		p.close()
	}
}

// Handler forwards requests as Upstream.Handler does, to the member whose turn
// it is.
func (g *Group) Handler(onError OnError) http.Handler {
	h := &groupHandler{group: g, onError: onError}
	for _, p := range g.pools {
		h.members = append(h.members, p.handler(collect))
	}
	if g.options.MaxBody > 0 {
		return limitBody(h, onError, g.options.MaxBody)
	}
	return h
}

type groupHandler struct {
	group   *Group
	onError OnError
	members []http.Handler
}

// An attempt is the answer of one member, or why there is none.
type attempt struct {
	http.ResponseWriter
	failed bool
	code   refusal.Code
	detail string
}

// Unwrap is for http.ResponseController.
func (a *attempt) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// collect is the OnError of members: it keeps what went wrong for whoever
// decides whether to ask another.
func collect(w http.ResponseWriter, _ *http.Request, code refusal.Code, detail string) {
	a := w.(*attempt)
	a.failed, a.code, a.detail = true, code, detail
}

// ServeHTTP asks one member after the other.
func (h *groupHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g := h.group
	tries := 1
	if len(h.members) > 1 && repeatable(r) {
		tries += max(0, cmp.Or(g.options.Retries, 1))
	}
	var tried []int
	var last attempt
	for range tries {
		i := g.circle.next(tried, time.Now())
		if i < 0 {
			break
		}
		tried = append(tried, i)
		last = attempt{ResponseWriter: w}
		h.ask(i, &last, r)
		if !last.failed || last.code != refusal.UpstreamDown || r.Context().Err() != nil {
			break
		}
	}
	if !last.failed {
		return
	}
	if n := len(tried); n > 1 {
		last.detail = fmt.Sprintf("%s (the last of %d that were tried)", last.detail, n)
	}
	h.onError(w, r, last.code, last.detail)
}

// ask has one member answer, and notes how it did. Only what the application
// did wrong counts against it: a visitor may ask for something slow.
func (h *groupHandler) ask(i int, a *attempt, r *http.Request) {
	m := h.group.circle.members[i]
	m.active.Add(1)
	defer m.active.Add(-1)
	h.members[i].ServeHTTP(a, r)
	if a.failed && a.code != refusal.UpstreamDown {
		return
	}
	if m.worked(!a.failed, time.Now()) && len(h.members) > 1 {
		h.group.log.Warn("upstream paused: it failed again and again", "upstream", m.spec, "pause", pause, "err", a.detail)
	}
}

// repeatable reports whether r may be sent again to somebody else: it has no
// body, and asking twice does what asking once does (RFC 9110 section 9.2.2).
func repeatable(r *http.Request) bool {
	if r.ContentLength != 0 || r.Header["Upgrade"] != nil { // of HTTP/2, Body is never http.NoBody
		return false
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}
