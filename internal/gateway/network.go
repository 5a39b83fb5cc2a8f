package gateway

import (
	"maps"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/postern-project/postern/internal/rule"
)

// A sight tells in which networks an address is. It never changes.
type sight struct {
	networks rule.Networks
	// apart are addresses that are in no network, because what comes from
	// them may come from anywhere: this machine's own, behind which a local
	// proxy may stand, and its next router's, which may be a container's
	// bridge or translate addresses.
	apart map[netip.Addr]bool
}

// of returns the networks that hold a client's address.
func (s *sight) of(a netip.Addr) []rule.Network {
	a = a.Unmap().WithZone("")
	if !a.IsValid() || a.IsLoopback() || a.IsUnspecified() || s.apart[a] {
		return nil
	}
	return s.networks.Of(a)
}

// A place in the network is remembered for a connection under one sight.
type whereabouts struct {
	sight    *sight
	networks []rule.Network
}

// networksOf returns the networks that c comes from.
func (g *Gateway) networksOf(c *conn) []rule.Network {
	s := g.sight.Load()
	if w := c.where.Load(); w != nil && w.sight == s {
		return w.networks
	}
	w := &whereabouts{sight: s, networks: s.of(c.client())}
	c.where.Store(w)
	return w.networks
}

// client returns the address that the connection comes from, as far as it was
// verified: what a forwarding field says is never asked. It is the zero Addr
// for an address that is no IP address.
func (c *conn) client() netip.Addr { return addrOf(c.RemoteAddr()) }

func addrOf(a net.Addr) netip.Addr {
	switch a := a.(type) {
	case *net.TCPAddr:
		return a.AddrPort().Addr().Unmap()
	case *net.UDPAddr:
		return a.AddrPort().Addr().Unmap()
	}
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

// lookAround notices that the machine's addresses changed, and judges live
// connections by where they are now.
func (g *Gateway) lookAround() {
	old := g.sight.Load()
	if len(old.networks) == 0 {
		return
	}
	apart := ownAddresses()
	if maps.Equal(apart, old.apart) || !g.sight.CompareAndSwap(old, &sight{old.networks, apart}) {
		return
	}
	g.log.Info("addresses of this machine changed", "addresses", len(apart))
	g.reconsider(g.index.every(), "the addresses of this machine changed")
}

// ownAddresses returns this machine's addresses and its next routers'.
func ownAddresses() map[netip.Addr]bool {
	apart := map[netip.Addr]bool{}
	for _, a := range nextRouters() {
		apart[a] = true
	}
	interfaces, err := net.InterfaceAddrs()
	if err != nil {
		return apart // with loopback apart in any case
	}
	for _, i := range interfaces {
		if p, err := netip.ParsePrefix(i.String()); err == nil {
			apart[p.Addr().Unmap().WithZone("")] = true
		}
	}
	return apart
}

// A minute lets one of several callers do what is done once a minute.
type minute struct{ last atomic.Int64 }

// begins reports whether now is the first call in a minute of the clock.
func (m *minute) begins(now time.Time) bool {
	this, last := now.Unix()/60, m.last.Load()
	return this != last && m.last.CompareAndSwap(last, this)
}
