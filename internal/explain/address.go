package explain

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/idna"

	"github.com/postern-project/postern/internal/chain"
)

// An Address is a host and port to dial. It comes from ParseAddress.
type Address struct {
	// Host is a name in its ASCII form, or an IP address without brackets.
	Host string
	Port uint16
}

// String returns the address as it is dialled, IPv6 literals in brackets.
func (a Address) String() string { return net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port))) }

// IP returns the address's host as an IP address, if it is one.
func (a Address) IP() (netip.Addr, bool) {
	ip, err := netip.ParseAddr(a.Host)
	return ip, err == nil
}

const defaultPort = 443

// ParseAddress reads HOST[:PORT] as people write it: a name, an IPv4 address,
// an IPv6 address with or without brackets, or an https URL. Without a port it
// is 443.
func ParseAddress(s string) (Address, error) {
	host, port := s, ""
	if rest, ok := strings.CutPrefix(s, "https://"); ok {
		u, err := url.Parse("https://" + rest)
		if err != nil {
			return Address{}, fmt.Errorf("address %s: not a URL", chain.Quote(s))
		}
		host, port = u.Hostname(), u.Port()
	} else if ip, err := netip.ParseAddr(s); err == nil && ip.Is6() {
		return Address{s, defaultPort}, nil
	} else if h, p, err := net.SplitHostPort(s); err == nil {
		host, port = h, p
	}
	return newAddress(s, strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"), port)
}

func newAddress(s, host, port string) (Address, error) {
	a := Address{Port: defaultPort}
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return Address{}, fmt.Errorf("address %s: %s is no port: one is a number from 1 to 65535", chain.Quote(s), chain.Quote(port))
		}
		a.Port = uint16(n)
	}
	if _, err := netip.ParseAddr(host); err == nil {
		a.Host = host
		return a, nil
	}
	name, err := idna.Lookup.ToASCII(strings.TrimSuffix(host, "."))
	if err != nil || name == "" || len(name) > 253 || strings.ContainsAny(name, ":/@ ") {
		return Address{}, fmt.Errorf("address %s: write it as HOST, HOST:PORT or [IPV6]:PORT", chain.Quote(s))
	}
	a.Host = name
	return a, nil
}
