package permit

import "net/netip"

// apart are networks that a wide entry such as 0.0.0.0/0 does not mean: this
// machine, the link with its metadata services, groups, and the IPv6 forms of
// IPv4 addresses. Who wants them names them or a part of them.
var apart = [...]netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("224.0.0.0/3"), netip.MustParsePrefix("::/96"), netip.MustParsePrefix("::1/128"),
	netip.MustParsePrefix("::ffff:0:0/96"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("2001::/32"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("fe80::/10"),
	netip.MustParsePrefix("ff00::/8"),
}

// Networks are where a validation may connect to. An empty list is nowhere.
type Networks []netip.Prefix

// Allows reports whether an address may be dialled. An IPv4 address in IPv6
// form is judged as the IPv4 address it is.
func (n Networks) Allows(a netip.Addr) bool {
	if !a.IsValid() || a.Zone() != "" {
		return false
	}
	a = a.Unmap()
	least := 0 // bits that an entry has to have
	for _, p := range apart {
		if p.Contains(a) {
			least = max(least, p.Bits())
		}
	}
	for _, p := range n {
		if p.Contains(a) && p.Bits() >= least {
			return true
		}
	}
	return false
}
