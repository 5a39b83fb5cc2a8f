package acme

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/permit"
)

// A served is a Profile at work.
type served struct {
	Profile
	orders *limiter
	dns    *resolver
}

func (s *Server) newServed(p Profile, old *served) *served {
	perHour := cmp.Or(p.OrdersPerHour, 1000)
	next := &served{Profile: p, dns: newResolver(p.Resolver)}
	if old != nil && old.OrdersPerHour == p.OrdersPerHour {
		next.orders = old.orders
	} else {
		next.orders = newLimiter(perHour, time.Hour/time.Duration(perHour), s.now)
	}
	return next
}

// offers returns the challenges that are offered for a host.
func (p *served) offers(h permit.Host) []string {
	all := authority.ACMEChallenges(h)
	if len(p.Challenges) == 0 {
		return all
	}
	return slices.DeleteFunc(all, func(kind string) bool { return !slices.Contains(p.Challenges, kind) })
}

func (p *served) httpPort() uint16 { return cmp.Or(p.HTTPPort, 80) }
func (p *served) tlsPort() uint16  { return cmp.Or(p.TLSPort, 443) }

// zero reports whether the machine's own resolver is asked.
func zero(a netip.AddrPort) bool { return a == netip.AddrPort{} }
