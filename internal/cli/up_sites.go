package cli

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/agent"
	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/config"
	"github.com/postern-project/postern/internal/gateway"
	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/invite"
)

// servedFolder holds, inside the data folder, the sites' own certificates.
const servedFolder = "served"

// sites are the handlers and certificates of one configuration. What did not
// change is taken over from the one before.
type sites struct {
	behind  map[string]behind        // by the site's key
	keepers map[string]*agent.Keeper // by host
	forward *forwardSocket           // nil for none
	shown   map[string]shown         // by host: in place of our own, to those who do not verify by our root
	// partners are the foreign authorities, by host and name.
	partners map[string]partnerKeeper
}

// behind is what stands behind a site.
type behind struct {
	handler http.Handler   // one of handler
	tunnel  gateway.Tunnel // and tunnel
	close   func()
}

// keeper keeps the certificate of one host fresh until it is stopped.
type keeper struct {
	*agent.Keeper
	stop context.CancelFunc
}

// newSites prepares everything that conf names. On an error it leaves no
// trace, and old stays as it is.
func (s *server) newSites(ctx context.Context, conf config.Config, old *sites) (*sites, error) {
	next := &sites{behind: map[string]behind{}, keepers: map[string]*agent.Keeper{}, shown: map[string]shown{}, partners: map[string]partnerKeeper{}}
	if err := s.fill(ctx, conf, next, old); err != nil {
		next.dropUnless(old)
		return nil, err
	}
	return next, nil
}

func (s *server) fill(ctx context.Context, conf config.Config, next, old *sites) (err error) {
	for _, site := range conf.Sites {
		target := site.Key()
		if _, ok := next.behind[target]; ok {
			continue // of another site, too
		}
		if kept, ok := old.behind[target]; ok {
			next.behind[target] = kept
			continue
		}
		if next.behind[target], err = s.openBehind(ctx, site); err != nil {
			return fmt.Errorf("site %s: %w", site.Host, err)
		}
	}
	s.befriend(ctx, conf, next, old)
	if err := s.fillKeepers(ctx, conf, next, old); err != nil {
		return err
	}
	if err := s.fillForward(conf, next, old); err != nil {
		return err
	}
	return s.fillShown(conf, next, old)
}

// dropUnless closes what kept does not hold.
func (n *sites) dropUnless(kept *sites) {
	for target, b := range n.behind {
		if _, ok := kept.behind[target]; !ok && b.close != nil {
			b.close()
		}
	}
	if n.forward != kept.forward && n.forward != nil {
		n.forward.stop()
	}
	for host, c := range n.shown {
		if c.stop != nil && (kept.shown[host].from != c.from || kept.shown[host].ca != c.ca) {
			c.stop()
		}
	}
	for key, k := range n.partners {
		if now, ok := kept.partners[key]; !ok || now.Keeper != k.Keeper {
			k.stop()
		}
	}
}

func (s *server) openBehind(ctx context.Context, site config.Site) (behind, error) {
	switch {
	case site.Static != "":
		static, err := gateway.NewStatic(site.Static)
		if err != nil {
			return behind{}, err
		}
		return behind{handler: static.Handler(gateway.Refuse), close: func() { static.Close() }}, nil
	case site.Elsewhere:
		return behind{}, nil
	case len(site.TCP) > 0:
		return s.openTCP(site)
	}
	return s.openProxy(ctx, site)
}

// hosts returns the names that need a server certificate.
func hosts(conf config.Config) []string {
	all := []string{conf.PublicName()}
	for _, site := range conf.Sites {
		all = append(all, site.Host)
	}
	if conf.ForwardAuth.Host != "" {
		all = append(all, conf.ForwardAuth.Host)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// serverName is the identity that a site's own certificate carries.
func serverName(host string) (identity.Name, error) {
	return identity.ParseName(authority.SitesName + "/" + strings.ReplaceAll(host, ":", "-"))
}

// certificateUntil returns when the first of the sites' certificates ends.
func (n *sites) certificateUntil() time.Time {
	var first time.Time
	for _, k := range n.keepers {
		if c := k.Get(); c != nil && c.Leaf != nil && (first.IsZero() || c.Leaf.NotAfter.Before(first)) {
			first = c.Leaf.NotAfter
		}
	}
	for _, f := range n.shown {
		if c := f.get(); c != nil && c.Leaf != nil && (first.IsZero() || c.Leaf.NotAfter.Before(first)) {
			first = c.Leaf.NotAfter
		}
	}
	return first
}

// gatewayConfig says conf in the gateway's words.
func (s *server) gatewayConfig(conf config.Config, now *sites, d *doors) gateway.Config {
	c := gateway.Config{Networks: conf.Networks, Zone: conf.Zone, Public: s.public, PublicHost: conf.Public.Host, Proxies: conf.Proxies, StandardReader: conf.StandardReader, JoinURL: d.publicURL(conf) + invite.Path, AskURL: d.publicURL(conf) + invite.AskPath, RenewExpired: conf.RenewExpired}
	if f := conf.ForwardAuth; f.Host != "" {
		c.Sites = append(c.Sites, gateway.Site{Host: f.Host, Stealth: true, List: f.List, ForwardHeader: f.Header})
	}
	for _, site := range conf.Sites {
		c.Sites = append(c.Sites, gateway.Site{
			Host: site.Host, Stealth: site.Stealth, NeverAsks: site.NeverAsks, HTTP3: site.HTTP3, MinVersion: site.MinVersion, List: site.List, Routes: gatewayRoutes(site), Policy: site.Policy, Partners: now.partnersOf(site),
			Handler: now.behind[site.Key()].handler, Tunnel: now.behind[site.Key()].tunnel, StartTLS: site.StartTLS, Identity: site.Identity,
			Frankness: site.RefusalDetail, AccessRequests: site.AccessRequests, AppTokens: site.AppTokens,
		})
	}
	return c
}
