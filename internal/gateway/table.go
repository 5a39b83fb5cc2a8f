package gateway

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A table holds the doors by canonical host name. It never changes; another
// one takes its place.
type table struct {
	doors   map[string]*door
	publics map[string]*door // on a listener of the public side's own
	joinURL string
	askURL  string
	// renewExpired is for how long after its end a certificate can be renewed.
	renewExpired time.Duration
	zone         *time.Location
	// postgres is set when a site's clients may begin as PostgreSQL's do.
	postgres bool
	// proxies are where connections begin with a PROXY header.
	proxies []netip.Prefix
	// standardReader is Config.StandardReader.
	standardReader bool
}

// A door is one host name as it is served under one trust: a site, or the
// public side on the sites' listener.
type door struct {
	host   string // canonical
	site   Site
	public bool
	trust  *trust
	ways
	tls  *tls.Config
	quic *tls.Config // nil where there is no HTTP/3
	// served counts requests by the hundreds of their status.
	served [6]prometheus.Counter
}

// version is the oldest TLS that the door opens to.
func (d *door) version() uint16 {
	if d.site.MinVersion == 0 {
		return tls.VersionTLS13
	}
	return d.site.MinVersion
}

// of returns the door that c came through as it is now, or nil when it is
// gone or has become another kind of door. One that another server asks about
// came through no listener of ours.
func (t *table) of(c *conn) *door {
	if c.listener != nil && c.listener.public {
		return t.publics[c.host]
	}
	if d := t.doors[c.host]; d != nil && d.public == c.public && d.tcp() == c.tcp && (c.wire() == nil || d.quic != nil) {
		return d
	}
	return nil
}

// newTable returns the table of c under t. TLS configurations, and with them
// the keys of session tickets, are taken over from old where neither the
// trust generation nor what the handshake does has changed.
func (g *Gateway) newTable(c Config, t *trust, old *table) (*table, error) {
	next := &table{doors: make(map[string]*door, len(c.Sites)+1), publics: make(map[string]*door), joinURL: c.JoinURL, askURL: c.AskURL, renewExpired: c.RenewExpired, proxies: c.Proxies, standardReader: c.StandardReader, zone: cmp.Or(c.Zone, time.UTC)}
	for _, s := range c.Sites {
		if err := g.enter(next, &door{site: s, trust: t}, s.Host, old); err != nil {
			return nil, err
		}
	}
	if c.PublicHost != "" {
		if c.Public == nil {
			return nil, fmt.Errorf("public host %q has nothing to answer with: set Config.Public", c.PublicHost)
		}
		d := &door{public: true, trust: t, site: Site{MinVersion: tls.VersionTLS12, Handler: c.Public}}
		if err := g.enter(next, d, c.PublicHost, old); err != nil {
			return nil, err
		}
	}
	served := g.metrics.requestsOf("public")
	for host := range next.doors {
		next.publics[host] = &door{host: host, public: true, trust: t, site: Site{Handler: c.Public}, served: served}
	}
	return next, nil
}

func (g *Gateway) enter(next *table, d *door, host string, old *table) error {
	canonical, ok := canonicalHost(host)
	if !ok {
		return fmt.Errorf("site %q: not a host name or an IP address, write it without scheme and path", host)
	}
	if _, twice := next.doors[canonical]; twice {
		return fmt.Errorf("site %q: there are two of that name, and case, trailing dot and port make no difference", host)
	}
	if d.version() < tls.VersionTLS12 || d.version() > tls.VersionTLS13 {
		return errors.New("site " + canonical + ": the oldest TLS may be 1.2 or 1.3")
	}
	if d.site.Tunnel != nil && d.site.Handler != nil {
		return errors.New("site " + canonical + ": it is either of HTTP or of TCP")
	}
	next.postgres = next.postgres || d.site.StartTLS == StartTLSPostgres
	d.host = canonical
	var err error
	if d.ways, err = newWays(d.site); err != nil {
		return err
	}
	if !d.public {
		var before *door
		if old != nil {
			before = old.doors[canonical]
		}
		d.limit(d.site, before)
	}
	d.served = g.metrics.requestsOf(canonical)
	d.tls = g.inherit(d, old)
	if d.tls == nil {
		d.tls = g.tlsOf(d)
	}
	d.quic = g.quicTLS(d)
	next.doors[canonical] = d
	return nil
}

// inherit returns the TLS configuration of the door that d replaces if it can
// go on being used, else nil.
func (g *Gateway) inherit(d *door, old *table) *tls.Config {
	if old == nil {
		return nil
	}
	o := old.doors[d.host]
	if o == nil || o.public != d.public || o.stealthy() != d.stealthy() || o.site.NeverAsks != d.site.NeverAsks || o.version() != d.version() ||
		o.trust != d.trust || !slices.Equal(o.site.Partners, d.site.Partners) {
		return nil
	}
	return o.tls
}
