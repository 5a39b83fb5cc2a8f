package gateway

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/refusal"
)

// A Tunnel is what stands behind a tcp site: something to connect to. It is
// dialled once somebody was let in, never before.
type Tunnel interface {
	// Dial connects for a visitor; the caller closes the connection. It bounds
	// its own time. The error is for the operator.
	Dial(ctx context.Context, v Visit) (net.Conn, error)
}

// A Visit is one connection to a tcp site that was let in.
type Visit struct {
	// Client is who it speaks for; zero for a stranger.
	Client Client
	// Host is the site's canonical name.
	Host string
	// Address is the client's, and Local the one that it connected to.
	Address, Local net.Addr
	// TLS is what the handshake came to.
	TLS tls.ConnectionState
}

// tcp reports whether the door carries bytes and not requests.
func (d *door) tcp() bool { return d.site.Tunnel != nil }

// stealthy reports whether the door refuses in the handshake. A tcp site does
// so by its nature: it has no page to show.
func (d *door) stealthy() bool { return d.site.Stealth || d.tcp() }

// speaksHTTP reports whether a client that offers these protocols (RFC 7301)
// means HTTP. A browser always says so. On a tcp site it gets an answer from
// us, and what stands behind never sees a byte of it: the certificate of a
// person who is let in would otherwise let any page on the web talk to their
// database (the ALPACA attacks).
func speaksHTTP(protocols []string) bool {
	return slices.ContainsFunc(protocols, func(p string) bool {
		return p == "h2" || p == "h2c" || p == "h3" || strings.HasPrefix(p, "http/") || strings.HasPrefix(p, "spdy/")
	})
}

// tunnelTLS returns what the handshake with a client of a tcp site does. It
// agrees to the protocol that the client prefers, since some, such as
// PostgreSQL's, insist on an answer.
func (d *door) tunnelTLS(hello *tls.ClientHelloInfo) *tls.Config {
	offered := hello.SupportedProtos
	if len(offered) == 0 || speaksHTTP(offered) {
		return d.tls
	}
	c := d.tls.Clone() // tickets are sealed by d.tls all the same: see tlsOf
	c.NextProtos = offered[:1:1]
	return c
}

// tunnels reports whether c's handshake ended in a connection that is carried
// as it is.
func (c *conn) tunnels(state tls.ConnectionState) bool {
	d := c.g.table.Load().of(c)
	return d != nil && d.tcp() && !speaksHTTP([]string{state.NegotiatedProtocol})
}

// carry connects a client of a tcp site, who was let in, with what is behind
// it, until either is done or the connection is cut.
func (l *listener) carry(c *conn, t *tls.Conn) {
	defer t.Close()
	defer l.recover(c)
	g, start := l.g, l.g.now()
	d := g.table.Load().of(c)
	if d == nil || !d.tcp() {
		return
	}
	ctx := c.attach(context.Background())
	visit := Visit{Host: d.host, Address: c.RemoteAddr(), Local: c.LocalAddr(), TLS: t.ConnectionState()}
	if v := g.recognise(c, start); v.code == "" {
		visit.Client = v.client
		g.crowd.know(c)
	}
	behind, err := d.site.Tunnel.Dial(ctx, visit)
	if err != nil {
		if c.why() == nil {
			g.refuseHandshake(c, verdict{client: visit.Client, code: refusal.UpstreamDown, detail: err.Error()}, "")
		}
		return
	}
	defer behind.Close()
	defer context.AfterFunc(ctx, func() { breakOff(behind) })() // a cut reaches the other end at once
	s := splice{idle: g.limits.Idle}
	s.run(t, behind)
	g.metrics.carried(d.host, s.in.Load(), s.out.Load())
	l.tellCarried(c, s.in.Load(), s.out.Load(), g.now().Sub(start))
}

// tellCarried writes the line of the access log.
func (l *listener) tellCarried(c *conn, in, out int64, took time.Duration) {
	attrs := []slog.Attr{slog.String("site", c.host)}
	name, serial := c.spokeFor()
	if name != "" {
		attrs = append(attrs, slog.String("id", name), slog.String("serial", serial))
	}
	attrs = append(attrs, slog.String("address", address(c)), slog.Int64("received", in), slog.Int64("bytes", out), slog.Duration("took", took))
	if why := c.why(); why != nil && why != net.ErrClosed {
		attrs = append(attrs, slog.String("why", fmt.Sprint(why)))
	}
	l.g.log.LogAttrs(context.Background(), slog.LevelInfo, "connection served", attrs...)
}
