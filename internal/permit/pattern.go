// Package permit says which host names and addresses an ACME requester may be
// certified for. A decision names the rule that gave it. It does no I/O.
package permit

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/postern-project/postern/internal/profile"
)

// A Pattern stands for host names or addresses. The zero Pattern stands for
// none.
type Pattern struct {
	host   string // a name, or of below the name above all of them
	below  bool
	prefix netip.Prefix
}

// ParsePattern reads a host name such as db.internal, which stands for itself;
// "*.web.internal", which stands for every name below web.internal at any
// depth; or an address or a network such as 10.0.0.0/8.
func ParsePattern(s string) (Pattern, error) {
	if strings.ContainsAny(s, " \t\n,") || s == "" {
		return Pattern{}, fmt.Errorf("%q is no host name, network or address", s)
	}
	if p, err := ParsePrefix(s); err == nil {
		return Pattern{prefix: p}, nil
	} else if strings.Contains(s, "/") {
		return Pattern{}, err
	}
	rest, below := strings.CutPrefix(s, "*.")
	h, err := profile.ParseHosts([]string{rest}, nil)
	if err != nil {
		return Pattern{}, err
	}
	if strings.HasPrefix(h.DNSNames[0], "*.") {
		return Pattern{}, fmt.Errorf("%q: one '*.' at the beginning is enough, it stands for every depth", s)
	}
	return Pattern{host: h.DNSNames[0], below: below}, nil
}

// ParsePrefix reads a network such as 10.0.0.0/8 or a single address.
func ParsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		if a.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q: an address without a zone is wanted", s)
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return netip.Prefix{}, fmt.Errorf("%q is no network such as 10.0.0.0/8 or fd00::/8", s)
	case p.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("%q: write the IPv4 network itself", s)
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("%q has bits set behind its length: write %s", s, p.Masked())
	}
	return p, nil
}

// String returns the pattern as it is written.
func (p Pattern) String() string {
	switch {
	case p.prefix.IsValid() && p.prefix.IsSingleIP():
		return p.prefix.Addr().String()
	case p.prefix.IsValid():
		return p.prefix.String()
	case p.below:
		return "*." + p.host
	}
	return p.host
}

// matches reports whether the pattern stands for h. A wildcard is covered when
// every name that it stands for is.
func (p Pattern) matches(h Host) bool {
	if h.IP.IsValid() {
		return p.prefix.IsValid() && p.prefix.Contains(h.IP)
	}
	if p.host == "" {
		return false
	}
	base, wild := strings.CutPrefix(h.DNS, "*.")
	switch {
	case !p.below:
		return !wild && base == p.host
	case base == p.host:
		return wild
	}
	return strings.HasSuffix(base, "."+p.host)
}

// A Host is a host name, maybe a wildcard, or an address. One is set.
type Host struct {
	DNS string
	IP  netip.Addr
}

// ParseHost returns the host of an identifier (RFC 8555 section 9.7.7 and RFC
// 8738) in canonical form. What it accepts is written in that form already,
// but for capitals.
func ParseHost(kind, value string) (Host, error) {
	switch kind {
	case "dns":
		h, err := profile.ParseHosts([]string{strings.ToLower(value)}, nil)
		if err != nil {
			return Host{}, err
		}
		if h.DNSNames[0] != strings.ToLower(value) {
			return Host{}, fmt.Errorf("host name %q: write it in ASCII, as %s", value, h.DNSNames[0])
		}
		return Host{DNS: h.DNSNames[0]}, nil
	case "ip":
		a, err := netip.ParseAddr(value)
		if err != nil {
			return Host{}, fmt.Errorf("%q is no address", value)
		}
		if a.Is4In6() || a.String() != value { // RFC 8738 section 3: the form of RFC 5952
			return Host{}, fmt.Errorf("address %q: write it as %s", value, a.Unmap())
		}
		h, err := profile.ParseHosts(nil, []netip.Addr{a})
		if err != nil {
			return Host{}, err
		}
		return Host{IP: h.IPs[0]}, nil
	}
	return Host{}, errors.New("an identifier is of type dns or ip")
}

// String returns the host as an identifier's value.
func (h Host) String() string {
	if h.IP.IsValid() {
		return h.IP.String()
	}
	return h.DNS
}

// Wildcard reports whether the host is a wildcard.
func (h Host) Wildcard() bool { return strings.HasPrefix(h.DNS, "*.") }

// Base returns the host without its wildcard.
func (h Host) Base() Host { return Host{DNS: strings.TrimPrefix(h.DNS, "*."), IP: h.IP} }
