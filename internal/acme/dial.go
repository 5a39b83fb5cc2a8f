package acme

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Bounds on finding and reaching a host.
const (
	maxAddresses = 8
	dialTime     = 4 * time.Second
	dnsTime      = 5 * time.Second
)

// A resolver asks DNS.
type resolver struct{ net *net.Resolver }

// newResolver returns a resolver that asks at, or whom the machine asks.
func newResolver(at netip.AddrPort) *resolver {
	r := &net.Resolver{PreferGo: true}
	if !zero(at) {
		r.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, at.String())
		}
	}
	return &resolver{r}
}

// addresses returns the addresses of a host, which are asked for once: what is
// dialled is what was judged.
func (r *resolver) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return []netip.Addr{a}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, dnsTime)
	defer cancel()
	all, err := r.net.LookupNetIP(ctx, "ip", host+".")
	if len(all) > maxAddresses {
		all = all[:maxAddresses]
	}
	return all, err
}

// reach connects to a host at a port: to those of its addresses that lie in the
// profile's networks, one after the other, and to no other.
func (p *served) reach(ctx context.Context, t *trace, host string, port uint16) (net.Conn, *problemError) {
	all, err := p.dns.addresses(ctx, host)
	if err != nil {
		t.say("asked DNS for the addresses of %s: %s", host, dnsWords(err))
		return nil, problem(dnsProblem, "the addresses of %s cannot be found: %s", host, dnsWords(err))
	}
	var last error
	dialled := 0
	for _, a := range all {
		a = a.Unmap()
		if !p.Networks.Allows(a) {
			t.say("%s has the address %s, which lies in none of the networks that validations may connect to", host, a)
			continue
		}
		dialled++
		conn, err := dial(ctx, a, port)
		if err == nil {
			t.say("connected to %s at %s", host, conn.RemoteAddr())
			return conn, nil
		}
		last = err
		t.say("%s has the address %s: connecting to port %d: %s", host, a, port, netWords(err))
	}
	switch {
	case len(all) == 0:
		t.say("%s has no address", host)
		return nil, problem(dnsProblem, "%s has no address", host)
	case dialled == 0:
		return nil, problem(connection, "no address of %s lies in the networks that this server may connect to ('networks:' under 'acme:' in postern.yaml)", host)
	}
	return nil, problem(connection, "%s cannot be reached at port %d: %s", host, port, netWords(last))
}

// dial connects to one address, and looks once more at where the connection
// goes before it is made.
func dial(ctx context.Context, a netip.Addr, port uint16) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTime, Control: func(_, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err != nil || ap.Addr().Unmap() != a {
			return fmt.Errorf("%s is not the address that was judged", address)
		}
		return nil
	}}
	return d.DialContext(ctx, "tcp", net.JoinHostPort(a.String(), strconv.Itoa(int(port))))
}

func dnsWords(err error) string {
	if d, ok := errors.AsType[*net.DNSError](err); ok {
		switch {
		case d.IsNotFound:
			return "there is no such name or no such record"
		case d.IsTimeout:
			return "the DNS server did not answer in time"
		}
		return d.Err
	}
	return err.Error()
}

func netWords(err error) string {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	}
	if n, ok := errors.AsType[net.Error](err); ok && n.Timeout() {
		return "no answer in time"
	}
	if o, ok := errors.AsType[*net.OpError](err); ok {
		return o.Err.Error()
	}
	return err.Error()
}
