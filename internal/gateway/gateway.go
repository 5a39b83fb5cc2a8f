// Package gateway is the door: it accepts TLS connections, learns from each
// who it speaks for, judges every request by the roster and by the site's
// list, and cuts connections the moment their certificate or name is no
// longer welcome. Identity is gathered by TLS and judged per request, so
// nothing that a session ticket remembers opens a site.
package gateway

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// A Gateway serves sites to those whom the roster and the sites' lists let in.
// It is safe for concurrent use.
type Gateway struct {
	options Options
	roster  Roster
	log     *slog.Logger
	now     func() time.Time
	limits  Limits
	metrics *metrics
	index   *index
	crowd   *crowd
	hush    *hush

	strangers atomic.Int64 // requests in hand that admitStranger has let in

	again   again
	unwatch func()
	frames  sync.Pool // of room for files on their way into HTTP/2 frames

	// mu is held while config, trust and table are replaced together.
	mu         sync.Mutex
	config     Config
	trust      atomic.Pointer[trust]
	table      atomic.Pointer[table]
	sight      atomic.Pointer[sight]
	changes    atomic.Uint64 // of what connections are judged by
	minute     minute
	neighbours neighbours
	turns      *turns
}

// New returns a gateway that serves no site yet. It follows the roster until
// it is closed.
func New(o Options) (*Gateway, error) {
	switch {
	case o.Roster == nil:
		return nil, errors.New("gateway without a roster: nobody could ever be let in")
	case o.Certificate == nil:
		return nil, errors.New("gateway without server certificates: set Options.Certificate")
	}
	idx := newIndex()
	m, err := newMetrics(o.Metrics, idx.size)
	if err != nil {
		return nil, fmt.Errorf("register the gateway's metrics: %w", err)
	}
	g := &Gateway{options: o, roster: o.Roster, log: o.Log, now: o.Now, limits: o.Limits.orDefaults(), metrics: m, index: idx, hush: newHush(), turns: newTurns()}
	g.crowd = newCrowd(g.limits.Connections)
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
	if g.now == nil {
		g.now = time.Now
	}
	if err := g.Configure(Config{}); err != nil {
		return nil, err
	}
	g.unwatch = g.roster.Watch(g.follow)
	return g, nil
}

// Configure puts c in force at once and judges every live connection by it. On
// an error nothing changes.
func (g *Gateway) Configure(c Config) error {
	g.mu.Lock()
	t := g.trust.Load()
	if t == nil || t.generation != g.roster.Generation() {
		t = g.believe()
	}
	next, err := g.newTable(c, t, g.table.Load())
	if err != nil {
		g.mu.Unlock()
		return err
	}
	g.config = c
	g.sight.Store(&sight{c.Networks, ownAddresses()})
	g.trust.Store(t)
	g.table.Store(next)
	g.mu.Unlock()
	g.reconsider(g.index.every(), "the configuration changed")
	return nil
}

// Close stops following the roster and cuts every connection. Serve and
// ServePublic end by their own contexts.
func (g *Gateway) Close() {
	g.unwatch()
	for _, c := range g.index.every() {
		c.cut(errClosing)
	}
	g.tellRest()
	g.turns.close()
}
