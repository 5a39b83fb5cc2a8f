package rule

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// A Network is the name of a set of addresses, such as lan. Networks compare
// with ==. No address is in the zero Network.
type Network struct{ name string }

// ParseNetwork returns the network named s: lower-case letters, digits, '-'
// and '_', at most 64 of them.
func ParseNetwork(s string) (Network, error) {
	if s == "" {
		return Network{}, errors.New("empty network name")
	}
	if len(s) > 64 {
		return Network{}, errors.New("a network's name has at most 64 characters")
	}
	for _, r := range s {
		if !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-' || r == '_') {
			return Network{}, fmt.Errorf("network name %q: %q is not allowed, use a-z, 0-9, '-' and '_'", s, r)
		}
	}
	return Network{s}, nil
}

// String returns the name.
func (n Network) String() string { return n.name }

// Networks are the named networks of a configuration. The zero Networks has
// none.
type Networks []Range

// A Range is one named network with its addresses.
type Range struct {
	Name     Network
	Prefixes []netip.Prefix
}

// Of returns the networks that hold a, in the order in which they were
// named. The zero Addr is in none.
func (n Networks) Of(a netip.Addr) []Network {
	if !a.IsValid() {
		return nil
	}
	a = a.Unmap().WithZone("")
	var in []Network
	for _, r := range n {
		if slices.ContainsFunc(r.Prefixes, func(p netip.Prefix) bool { return p.Contains(a) }) {
			in = append(in, r.Name)
		}
	}
	return in
}

// Has reports whether a network of that name is known.
func (n Networks) Has(name Network) bool {
	return slices.ContainsFunc(n, func(r Range) bool { return r.Name == name })
}

// ParsePrefix returns the addresses written as s: 192.168.1.0/24, or a single
// address. Bits beyond the prefix, an IPv4 address in IPv6 and a zone are
// errors, for such a prefix holds other addresses than it seems to.
func ParsePrefix(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return netip.Prefix{}, fmt.Errorf("%q is not an address: write 192.168.1.0/24 or fd00:1::/64", s)
		}
		s = fmt.Sprintf("%s/%d", s, a.BitLen())
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return netip.Prefix{}, fmt.Errorf("%q is not a network: write 192.168.1.0/24 or fd00:1::/64", s)
	case p.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("%s is IPv4 written as IPv6: write it as IPv4", s)
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("%s has bits beyond its prefix: write %s", s, p.Masked())
	}
	return p, nil
}
