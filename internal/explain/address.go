package explain

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

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
	if strings.HasPrefix(s, "[") && !strings.Contains(s, "]") {
		return Address{}, fmt.Errorf("address %s: the closing bracket ] is missing: write it as [IPV6] or [IPV6]:PORT", chain.Quote(s))
	}
	if rest, ok := strings.CutPrefix(s, "https://"); ok {
		u, err := url.Parse("https://" + rest)
		if err != nil {
			return Address{}, fmt.Errorf("address %s: not a URL", chain.Quote(s))
		}
		host, port = u.Hostname(), u.Port()
	} else if _, err := netip.ParseAddr(s); err == nil {
		host = s
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
	if ip, err := netip.ParseAddr(host); err == nil && !strings.ContainsFunc(ip.Zone(), notZone) {
		a.Host = ip.Unmap().String()
		return a, nil
	}
	name, ok := hostName(host)
	if !ok {
		return Address{}, fmt.Errorf("address %s: write it as HOST, HOST:PORT or [IPV6]:PORT", chain.Quote(s))
	}
	a.Host = name
	return a, nil
}

// hostName returns a host's name in the form that DNS and certificates hold.
func hostName(host string) (string, bool) {
	name, err := idna.Lookup.ToASCII(strings.TrimSuffix(host, "."))
	if err != nil || name == "" || len(name) > 253 || strings.HasSuffix(name, ".") || !utf8.ValidString(host) || strings.ContainsAny(name, ":/@ ") {
		return "", false
	}
	again, err := idna.Lookup.ToASCII(name)
	return name, err == nil && again == name
}

// notZone holds for what occurs in no name of a network interface.
func notZone(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-", r)
}
