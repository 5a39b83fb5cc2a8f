package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"sync"
	"syscall"

	"github.com/postern-project/postern/internal/config"
	"github.com/postern-project/postern/internal/publish"
	"github.com/postern-project/postern/internal/telemetry"
)

// The sides on which connections are accepted, as messages name them.
const (
	sideSites   = "sites"
	sidePublic  = "public side"
	sideMetrics = "metrics"
	sidePlain   = "plain HTTP"
	sideHTTP3   = "HTTP/3"
)

// A door is one listening socket.
type door struct {
	net.Listener
	packets *net.UDPConn // of HTTP/3, in place of connections
	side    string
	address config.Address  // as it is configured
	given   bool            // opened by the service manager: the configuration has no say
	served  bool            // somebody serves it
	retired <-chan struct{} // closed when the configuration no longer has it
	retire  func()          // closes the socket and retired; it may be called more than once
}

func newDoor(l net.Listener, side string, a config.Address) *door {
	retired := make(chan struct{})
	return &door{Listener: l, side: side, address: a, retired: retired, retire: sync.OnceFunc(func() {
		close(retired)
		l.Close()
	})}
}

// newPacketDoor returns a door of HTTP/3. Its connections live in the socket,
// so whoever serves it closes that once it is retired; nobody else may.
func newPacketDoor(c *net.UDPConn, a config.Address) *door {
	retired := make(chan struct{})
	d := &door{Listener: datagrams{c}, packets: c, side: sideHTTP3, address: a, retired: retired}
	d.retire = sync.OnceFunc(func() {
		close(retired)
		if !d.served {
			c.Close()
		}
	})
	return d
}

// datagrams is a socket in the shape of a listener.
type datagrams struct{ *net.UDPConn }

func (datagrams) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (d datagrams) Addr() net.Addr          { return d.LocalAddr() }

// doors are all the listening sockets of one configuration, opened before
// anything is written: a port that is taken leaves no trace. They never
// change; others take their place.
type doors struct {
	sites   []*door // in the order of the configuration
	public  *door   // nil when the public side has a host name only
	metrics *door   // nil for none
	plain   *door   // nil for none
	http3   []*door // beside sites, where a site has HTTP/3
}

func (d *doors) all() []*door {
	all := slices.Concat(d.sites, d.http3)
	for _, one := range []*door{d.public, d.metrics, d.plain} {
		if one != nil {
			all = append(all, one)
		}
	}
	return all
}

// reopen returns the doors that c asks for: those of d that are among them,
// and new ones. On an error the new ones are closed again.
func (d *doors) reopen(c config.Config) (next *doors, err error) {
	next = &doors{}
	defer func() {
		if err != nil {
			next.closeUnless(d)
			next = nil
		}
	}()
	if next.sites = d.given(sideSites); len(next.sites) > 0 {
		c.Listen = nil
	}
	for _, a := range c.Listen {
		one, err := d.open(sideSites, a, "--listen, or 'listen:' in postern.yaml, names another address")
		if err != nil {
			return next, err
		}
		next.sites = append(next.sites, one)
	}
	if c.HTTP3() {
		if next.http3, err = d.openHTTP3(next.sites); err != nil {
			return next, err
		}
	}
	if given := d.given(sidePublic); len(given) > 0 {
		next.public = given[0]
	} else if !c.Public.Listen.IsZero() {
		if next.public, err = d.open(sidePublic, c.Public.Listen, "the public side takes the port after the sites'; 'public: {listen: …}' in postern.yaml names another"); err != nil {
			return next, err
		}
	}
	if given := d.given(sideMetrics); len(given) > 0 {
		next.metrics = given[0]
	} else if !c.Metrics.IsZero() {
		if next.metrics, err = d.open(sideMetrics, c.Metrics, "'metrics: {listen: …}' in postern.yaml names the address"); err != nil {
			return next, err
		}
	}
	if !c.Public.HTTP.IsZero() {
		if next.plain, err = d.open(sidePlain, c.Public.HTTP, "'public: {http: …}' in postern.yaml names the address"); err != nil {
			return next, err
		}
	}
	return next, nil
}

// openHTTP3 returns the doors for HTTP/3 beside those of the sites: the same
// addresses and ports, over UDP.
func (d *doors) openHTTP3(sites []*door) (all []*door, err error) {
	if given := d.given(sideHTTP3); len(given) > 0 {
		return given, nil
	}
	for _, site := range sites {
		a := config.Address{Host: site.address.Host, Port: portOf(site)}
		if site.given {
			a.Host, _, _ = net.SplitHostPort(site.Addr().String())
		}
		one, err := d.open(sideHTTP3, a, "HTTP/3 takes the sites' port over UDP: drop 'http3:' from the sites in postern.yaml, or let 'listen:' name another address")
		if err != nil {
			return all, err
		}
		all = append(all, one)
	}
	return all, nil
}

// open returns the door of d at that address, or a new one.
func (d *doors) open(side string, a config.Address, hint string) (*door, error) {
	for _, one := range d.all() {
		if one.side == side && one.address == a {
			return one, nil
		}
	}
	l, err := listenFor(side, a, hint)
	if errors.Is(err, syscall.EADDRINUSE) && d.hasPort(a.Port) {
		err = fmt.Errorf("%s overlaps with an address that this server still listens on: restart postern to use it", a)
	}
	if err != nil {
		return nil, err
	}
	if u, ok := l.(datagrams); ok {
		return newPacketDoor(u.UDPConn, a), nil
	}
	return newDoor(l, side, a), nil
}

// given returns the doors of one side that the service manager has opened.
func (d *doors) given(side string) (given []*door) {
	for _, one := range d.all() {
		if one.given && one.side == side {
			given = append(given, one)
		}
	}
	return given
}

func (d *doors) hasPort(port uint16) bool {
	return slices.ContainsFunc(d.all(), func(one *door) bool { return portOf(one) == port })
}

func listenFor(side string, a config.Address, hint string) (net.Listener, error) {
	if side == sideMetrics {
		l, err := telemetry.ListenMetrics(a.String(), false)
		if err != nil {
			return nil, withHint(err, hint)
		}
		return l, nil
	}
	l, err := listenAt(side, a.String())
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, withHint(&inUseError{a, err}, hint)
	case errors.Is(err, fs.ErrPermission):
		return nil, withHint(fmt.Errorf("this user may not listen on %s", a), "ports below 1024 need a capability: see 'Port 443 without root' in the README")
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, withHint(fmt.Errorf("%s is no address of this machine", a), hint)
	case err != nil:
		return nil, fmt.Errorf("listen on %s: %w", a, err)
	}
	return l, nil
}

func listenAt(side, address string) (net.Listener, error) {
	if side != sideHTTP3 {
		return net.Listen("tcp", address)
	}
	c, err := net.ListenPacket("udp", address)
	if err != nil {
		return nil, err
	}
	return datagrams{c.(*net.UDPConn)}, nil
}

// An inUseError says that somebody else listens on an address.
type inUseError struct {
	address config.Address
	err     error
}

func (e *inUseError) Error() string { return fmt.Sprintf("%s is in use by another program", e.address) }
func (e *inUseError) Unwrap() error { return e.err }

func (d *doors) close() { d.closeUnless(&doors{}) }

// closeUnless closes what kept does not hold, and ends the metrics there.
// Connections that came in through the sites or the public side live on.
func (d *doors) closeUnless(kept *doors) {
	still := kept.all()
	for _, one := range d.all() {
		if slices.Contains(still, one) {
			continue
		}
		one.retire()
	}
}

// serve runs what stands behind a door until the server ends or the door is
// retired and the last connection that came in through it has ended.
func (s *server) serve(one *door) {
	one.served = true
	s.part(one.side, func(ctx context.Context) error {
		switch one.side {
		case sideSites:
			return s.gateway.Serve(ctx, one)
		case sidePublic:
			return s.gateway.ServePublic(ctx, one)
		case sideHTTP3:
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			go func() {
				select {
				case <-one.retired:
					cancel()
				case <-ctx.Done():
				}
			}()
			return s.gateway.ServeHTTP3(ctx, one.packets)
		}
		var err error
		if one.side == sidePlain {
			err = publish.Serve(ctx, one, s.plainSide(), s.log)
		} else {
			err = telemetry.ServeMetrics(ctx, one, s.metrics)
		}
		select {
		case <-one.retired:
			return nil
		default:
			return err
		}
	})
}
