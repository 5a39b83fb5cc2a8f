package gateway

import (
	"context"
	"sync"
	"time"

	"github.com/postern-project/postern/internal/refusal"
	"github.com/postern-project/postern/internal/roster"
)

// follow cuts whoever a change of the roster leaves without a right to be
// here. The roster calls it before the change is acknowledged to whoever made
// it, so a revocation that has returned has cut.
func (g *Gateway) follow(ch roster.Change) {
	g.changes.Add(1)
	var revoked []sentence
	for _, ref := range ch.Certificates {
		for _, c := range g.index.ref(ref) {
			revoked = append(revoked, sentence{c, refusal.Revoked, "its certificate was revoked"})
		}
	}
	g.execute(revoked)
	if ch.Tokens || len(ch.Names) > 0 {
		g.reconsider(g.index.bearers(), "a token was revoked, or the standing of its name changed")
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

// reconsider judges connections anew after a change of what they are judged by,
// and cuts those that may not stay. A request that is being judged meanwhile
// notices the change when it enters.
func (g *Gateway) reconsider(conns []*conn, occasion string) {
	g.changes.Add(1)
	g.judgeAnew(conns, occasion)
}

// judgeAnew cuts those of the connections that may not stay. Whom the roster
// turns away goes first: to ask it is quick, and to verify many chains is not.
func (g *Gateway) judgeAnew(conns []*conn, occasion string) {
	now, t := g.now(), g.table.Load()
	g.condemn(conns, func(c *conn) (refusal.Code, string) {
		cr := c.credential.Load()
		if d := t.of(c); d == nil || d.public || cr == nil || d.strangers || d.networks || d.audit || len(d.site.Partners) > 0 {
			return "", ""
		}
		return g.standing(cr).code, occasion
	})
	g.condemn(conns, func(c *conn) (refusal.Code, string) {
		d := t.of(c)
		switch {
		case c.silent.Load():
			return "", ""
		case d == nil:
			return refusal.UnknownHost, "the site is gone"
		case d.public:
			return "", ""
		case c.version < d.version():
			return refusal.BadRequest, "the site now wants a newer TLS than the connection has"
		}
		return g.mayStay(c, d, now).code, occasion
	})
}

// condemn cuts the connections for which judge returns a code. One over which
// nothing behind the door was reached carries nothing that could be taken away,
// and whoever is being refused there is to read why.
func (g *Gateway) condemn(conns []*conn, judge func(*conn) (refusal.Code, string)) {
	var mu sync.Mutex
	var all []sentence
	share(conns, func(c *conn) {
		if !c.entered.Load() {
			return
		}
		if code, why := judge(c); code != "" {
			mu.Lock()
			all = append(all, sentence{c, code, why})
			mu.Unlock()
		}
	})
	g.execute(all)
}

// sweep ends connections whose certificate has ended, and those of strangers
// at rest, until ctx ends.
func (g *Gateway) sweep(ctx context.Context) {
	timer := time.NewTimer(sweepEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			g.expire(g.now())
			g.judgeAnew(g.index.bearers(), "the token has ended")
			if g.minute.begins(g.now()) {
				g.lookAround()
				g.tellTime()
				g.forsake()
			}
			g.dismiss()
			timer.Reset(min(max(g.index.nextEnd().Sub(g.now()), sweepLeast), sweepEvery))
		}
	}
}

func (g *Gateway) expire(now time.Time) {
	t := g.table.Load()
	g.condemn(g.index.ended(now), func(c *conn) (refusal.Code, string) {
		d := t.of(c)
		if d == nil {
			return "", ""
		}
		return g.mayStay(c, d, now).code, "its certificate has ended"
	})
}

// A connection on which no request is made is cut when its certificate ends:
// to the sweepLeast when that was known at the last sweep, else within
// sweepEvery. Wall-clock time is asked, so a machine that slept past an end
// notices as soon.
const (
	sweepEvery = 500 * time.Millisecond
	sweepLeast = 10 * time.Millisecond
)
