package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/agent"
	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/config"
	"github.com/postern-project/postern/internal/gateway"
	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/roster"
)

// servedFolder holds, inside the data folder, the sites' own certificates.
const servedFolder = "served"

// sites are the handlers and certificates of one configuration. What did not
// change is taken over from the one before.
type sites struct {
	behind  map[string]behind // by the site's key
	keepers map[string]keeper // by host
	forward *forwardSocket    // nil for none
	shown   map[string]shown  // by host: in place of our own, to those who do not verify by our root
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
	next := &sites{behind: map[string]behind{}, keepers: map[string]keeper{}, shown: map[string]shown{}, partners: map[string]partnerKeeper{}}
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
	for _, host := range hosts(conf) {
		if kept, ok := old.keepers[host]; ok {
			next.keepers[host] = kept
			continue
		}
		if next.keepers[host], err = s.keep(ctx, host); err != nil {
			return fmt.Errorf("server certificate for %s: %w", host, err)
		}
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
	for host, k := range n.keepers {
		if _, ok := kept.keepers[host]; !ok && k.stop != nil {
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

// keep obtains the certificate of host, or takes the one from the last run,
// and renews it until the keeper is stopped.
func (s *server) keep(ctx context.Context, host string) (keeper, error) {
	name, err := serverName(host)
	if err != nil {
		return keeper{}, err
	}
	request := authority.IssueRequest{Name: name, Profile: "server", Via: "self"}
	if ip, err := netip.ParseAddr(host); err == nil {
		request.IPs = []netip.Addr{ip}
	} else {
		request.DNSNames = []string{host}
	}
	issue := func(ctx context.Context, spki []byte) ([][]byte, error) {
		r := request
		r.PublicKey = spki
		issued, err := s.house.Authority.Issue(ctx, r)
		return issued.Chain, err
	}
	dir := filepath.Join(s.house.Dir, servedFolder, strings.ReplaceAll(host, ":", "-"))
	fits := func(leaf *x509.Certificate) bool { return leaf.VerifyHostname(host) == nil && s.ours(leaf) }
	k, err := agent.NewKeeper(dir, issue, agent.Options{Log: s.log, Now: s.app.Now, Fits: fits})
	if err != nil {
		return keeper{}, err
	}
	if err := k.Ensure(ctx); err != nil {
		return keeper{}, err
	}
	running, stop := context.WithCancel(s.alive)
	s.tasks.Go(func() { k.Run(running) })
	return keeper{k, stop}, nil
}

// ours reports whether the roster still calls the certificate good, so that one
// from a data folder that was put back is not shown again.
func (s *server) ours(leaf *x509.Certificate) bool {
	for _, issuer := range s.house.Roster.Issuers() {
		if leaf.CheckSignatureFrom(issuer.Certificate) != nil {
			continue
		}
		ref, err := roster.RefOf(leaf, issuer.Certificate)
		return err == nil && s.house.Roster.Check(ref, leaf.NotBefore).Code == ""
	}
	return false
}

// serverName is the identity that a site's own certificate carries.
func serverName(host string) (identity.Name, error) {
	return identity.ParseName(authority.SitesName + "/" + strings.ReplaceAll(host, ":", "-"))
}

// ownCertificate returns our own authority's certificate of a canonical host.
func (s *server) ownCertificate(host string) (*tls.Certificate, error) {
	now := s.sites.Load()
	if now == nil {
		return nil, errors.New("no site is open yet")
	}
	k, ok := now.keepers[host]
	if !ok {
		return nil, fmt.Errorf("no certificate for %s", host)
	}
	return s.shown(k.Get()), nil
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
			Frankness: site.RefusalDetail, AccessRequests: site.AccessRequests,
		})
	}
	return c
}
