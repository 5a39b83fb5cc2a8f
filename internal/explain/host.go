package explain

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/chain"
)

const (
	defaultTimeout = 5 * time.Second
	maxAddresses   = 4 // of one name that are tried
)

// Host dials a server and tells each phase: its address, the connection, the
// handshake, the server's chain, what client certificate it asks for, which of
// the given ones would fit, and what it answers. An error means that addr
// cannot be read; whatever the server does is in the report.
func Host(ctx context.Context, addr string, o HostOptions) (Report, error) {
	a, err := ParseAddress(addr)
	if err != nil {
		return Report{}, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Timeout = cmp.Or(o.Timeout, defaultTimeout)
	p := &probe{address: a, o: o, serverName: cmp.Or(o.ServerName, withoutZone(a.Host))}
	p.run(ctx)
	return report(a.String(), p.steps), nil
}

// withoutZone takes the zone off an IPv6 address: it is of this machine only.
func withoutZone(host string) string {
	bare, _, _ := strings.Cut(host, "%")
	return bare
}

// A probe is one look at a live host.
type probe struct {
	address    Address
	o          HostOptions
	serverName string
	peer       netip.AddrPort // that was reached
	steps      []chain.Step
}

func (p *probe) say(s chain.Step) { p.steps = append(p.steps, s) }

// took returns how long a phase took, for the end of a detail.
func (p *probe) took(start time.Time) string {
	return fmt.Sprintf(", %d ms", p.o.Now().Sub(start).Milliseconds())
}

func (p *probe) run(ctx context.Context) {
	ips, ok := p.resolve(ctx)
	if !ok {
		return
	}
	conn, ok := p.connect(ctx, ips)
	if !ok {
		return
	}
	first := p.shake(ctx, conn, nil)
	defer first.close()
	p.say(first.step)
	if len(first.state.PeerCertificates) > 0 {
		p.say(p.serverChain(first.state))
	}
	if first.request == nil {
		if first.err == nil {
			p.say(note("client certificate", "the server asks for none when a connection begins"))
			p.say(p.get(ctx, first, "answer"))
		}
		return
	}
	p.clientCertificate(ctx, first)
}

// resolve turns the name into addresses.
func (p *probe) resolve(ctx context.Context) ([]netip.Addr, bool) {
	if ip, ok := p.address.IP(); ok {
		return []netip.Addr{ip}, true
	}
	start := p.o.Now()
	ctx, cancel := context.WithTimeout(ctx, p.o.Timeout)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", p.address.Host)
	if err != nil {
		p.say(bad("name", fmt.Sprintf("%s has no address: %s%s", chain.Quote(p.address.Host), netWords(err), p.took(start)),
			"Check the name for a typing error; add an A or AAAA record, or a line in /etc/hosts."))
		return nil, false
	}
	var words []string
	for i, ip := range ips {
		ips[i] = ip.Unmap()
		words = append(words, ips[i].String())
	}
	p.say(good("name", fmt.Sprintf("%s is %s%s", chain.Quote(p.address.Host), strings.Join(words[:min(len(words), maxAddresses)], ", "), p.took(start))))
	return ips[:min(len(ips), maxAddresses)], true
}

// connect opens a TCP connection to the first address that takes one.
func (p *probe) connect(ctx context.Context, ips []netip.Addr) (net.Conn, bool) {
	var tries []chain.Step
	for _, ip := range ips {
		peer := netip.AddrPortFrom(ip, p.address.Port)
		start := p.o.Now()
		conn, err := p.dial(ctx, peer)
		if err == nil {
			p.peer = peer
			s := good("connection", "to "+peer.String()+p.took(start))
			s.Warning, s.Children = len(tries) > 0, asNotes(tries)
			p.say(s)
			return conn, true
		}
		tries = append(tries, bad(peer.String(), netWords(err)+p.took(start), connectRemedy(err)))
	}
	s := group("connection", "nobody answers on port "+strconv.Itoa(int(p.address.Port)), tries...)
	p.say(s)
	return nil, false
}

// asNotes returns steps whose failures are worth knowing and decide nothing.
func asNotes(steps []chain.Step) []chain.Step {
	steps = slices.Clone(steps)
	for i := range steps {
		steps[i].Warning = steps[i].Warning || !steps[i].OK
		steps[i].OK = true
	}
	return steps
}

func (p *probe) dial(ctx context.Context, peer netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, p.o.Timeout)
	defer cancel()
	return new(net.Dialer).DialContext(ctx, "tcp", peer.String())
}

// serverChain explains the certificates that the server showed.
func (p *probe) serverChain(state tls.ConnectionState) chain.Step {
	steps := chain.Explain(state.PeerCertificates, chain.Anchors{Roots: p.o.Roots, System: systemRoots(p.o.System)},
		chain.Server, p.serverName, p.o.Now())
	n := len(state.PeerCertificates)
	return group("server's chain", fmt.Sprintf("%d %s", n, map[bool]string{true: "certificate", false: "certificates"}[n == 1]), steps...)
}

// netWords says a network error in words that do not depend on the system.
func netWords(err error) string {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return "no such name"
	case isTimeout(err):
		return "no answer in time"
	case strings.Contains(err.Error(), "connection refused"):
		return "the connection is refused"
	case isReset(err):
		return "the connection is cut"
	case strings.Contains(err.Error(), "unreachable"):
		return "the address cannot be reached from here"
	default:
		return chain.Printable(err.Error())
	}
}

func isReset(err error) bool {
	text := err.Error()
	return strings.Contains(text, "connection reset") || strings.Contains(text, "broken pipe")
}

func isTimeout(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout() || errors.Is(err, context.DeadlineExceeded)
}

func connectRemedy(err error) string {
	switch {
	case isTimeout(err):
		return "A firewall drops the packets, or the address is another machine's: open the port, or correct the DNS record."
	case strings.Contains(err.Error(), "connection refused"):
		return "The machine is there and nothing listens on that port: start the server, or correct the port."
	default:
		return "Check the network between here and there."
	}
}
