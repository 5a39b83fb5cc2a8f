package cli

import (
	"context"
	"reflect"
	"time"

	"github.com/postern-project/postern/internal/config"
	"github.com/postern-project/postern/internal/partner"
)

// firstLook is how long a start waits for revocation lists. Where one cannot
// be had by then, members of that authority are turned away until it is.
const firstLook = 5 * time.Second

// partnerKeeper keeps the revocation lists of one foreign authority of one
// site fresh until it is stopped.
type partnerKeeper struct {
	*partner.Keeper
	trust partner.Trust
	stop  context.CancelFunc
}

// befriend prepares the foreign authorities of every site.
func (s *server) befriend(ctx context.Context, conf config.Config, next, old *sites) {
	ctx, cancel := context.WithTimeout(ctx, firstLook)
	defer cancel()
	for _, site := range conf.Sites {
		for _, t := range site.Trust {
			key := site.Host + " " + t.Name.String()
			if kept, ok := old.partners[key]; ok && reflect.DeepEqual(kept.trust, t) {
				next.partners[key] = kept
				continue
			}
			k := partner.NewKeeper(t, s.log, s.app.Now)
			k.Look(ctx)
			running, stop := context.WithCancel(s.alive)
			next.partners[key] = partnerKeeper{k, t, stop}
			s.tasks.Go(func() { k.Run(running, s.reconfigure) })
		}
	}
}

// partners returns what judges the members of a site's foreign authorities.
func (n *sites) partnersOf(site config.Site) []*partner.Checker {
	var all []*partner.Checker
	for _, t := range site.Trust {
		all = append(all, n.partners[site.Host+" "+t.Name.String()].Checker())
	}
	return all
}

// reconfigure puts the configuration that is in force in force again, with the
// revocation lists that there are now.
func (s *server) reconfigure() {
	s.mu.Lock()
	defer s.mu.Unlock()
	conf := s.inUse.Load()
	if conf == nil {
		return
	}
	if err := s.gateway.Configure(s.gatewayConfig(*conf, s.sites.Load(), s.doors.Load())); err != nil {
		s.log.Error("revocation lists not put in force", "err", err)
	}
}
