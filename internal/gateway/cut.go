package gateway

import (
	"context"
	"time"

	"github.com/postern-project/postern/internal/refusal"
	"github.com/postern-project/postern/internal/roster"
)

// follow cuts whoever a change of the roster leaves without a right to be
// here. The roster calls it before the change is acknowledged to whoever made
// it, so a revocation that has returned has cut.
func (g *Gateway) follow(ch roster.Change) {
	for _, ref := range ch.Certificates {
		for _, c := range g.index.ref(ref) {
			g.cut(c, refusal.Revoked, "its certificate was revoked")
		}
	}
	for _, n := range ch.Names {
		g.reconsider(g.index.name(n), "the standing or the groups of "+n.String()+" changed")
	}
	for _, k := range ch.Issuers {
		g.reconsider(g.index.issuer(k), "its issuer is distrusted")
	}
	if ch.Trust {
		g.trusted()
		g.reconsider(g.index.every(), "the trusted issuers changed")
	}
}

// reconsider judges connections anew and cuts those that may not stay. One on
// which nothing was asked yet is judged by its first request.
func (g *Gateway) reconsider(conns []*conn, occasion string) {
	now, t := g.now(), g.table.Load()
	for _, c := range conns {
		if !c.asked.Load() {
			continue
		}
		d := t.of(c)
		switch {
		case d == nil:
			g.cut(c, refusal.UnknownHost, "the site is gone")
		case d.public:
		case c.version < d.version():
			g.cut(c, refusal.BadRequest, "the site now wants a newer TLS than the connection has")
		default:
			if v := g.judge(c, d.site.List, now); v.code != "" {
				g.cut(c, v.code, occasion)
			}
		}
	}
}

// sweep ends connections whose certificate has ended, and those of strangers
// at rest, until ctx ends.
func (g *Gateway) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			g.expire(g.now())
			g.dismiss()
		}
	}
}

func (g *Gateway) expire(now time.Time) {
	for _, c := range g.index.ended(now) {
		d := g.table.Load().of(c)
		if d == nil {
			continue
		}
		if v := g.judge(c, d.site.List, now); v.code != "" {
			g.cut(c, v.code, "its certificate has ended")
		}
	}
}

// sweepEvery is by how much a connection may outlive its certificate when no
// request is made on it. Wall-clock time is asked, so a machine that slept
// past an end notices within this time.
const sweepEvery = 500 * time.Millisecond

// cut ends c and writes down why.
func (g *Gateway) cut(c *conn, code refusal.Code, why string) {
	if !c.cut(&cutError{why}) {
		return
	}
	g.metrics.cuts.WithLabelValues(string(code)).Inc()
	id, serial := c.spokeFor()
	g.log.Info("connection cut", "site", c.host, "address", address(c), "id", id, "serial", serial, "code", string(code), "why", why)
}
