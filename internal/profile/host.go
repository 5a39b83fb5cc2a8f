package profile

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/idna"
)

// Hosts are the host names and addresses of a server's certificate in their
// one canonical form.
type Hosts struct {
	DNSNames []string
	IPs      []netip.Addr
}

// ParseHosts brings host names and addresses into canonical form: names in
// lower-case ASCII (IDNA) without a final dot, each once, in the given order.
// A name may begin with "*." for all names one level below the rest.
func ParseHosts(names []string, ips []netip.Addr) (Hosts, error) {
	if n := len(names) + len(ips); n > MaxNames {
		return Hosts{}, fmt.Errorf("%d host names and addresses: at most %d fit a certificate, issue several", n, MaxNames)
	}
	var h Hosts
	for _, name := range names {
		dns, err := parseHost(name)
		if err != nil {
			return Hosts{}, err
		}
		if !slices.Contains(h.DNSNames, dns) {
			h.DNSNames = append(h.DNSNames, dns)
		}
	}
	for _, ip := range ips {
		ip = ip.Unmap()
		if !ip.IsValid() || ip.Zone() != "" || ip.IsUnspecified() || ip.IsMulticast() {
			return Hosts{}, fmt.Errorf("address %s: a server has one plain address, without a zone", ip)
		}
		if !slices.Contains(h.IPs, ip) {
			h.IPs = append(h.IPs, ip)
		}
	}
	return h, nil
}

func parseHost(s string) (string, error) {
	rest, wild := strings.CutPrefix(strings.TrimSuffix(s, "."), "*.")
	if _, err := netip.ParseAddr(strings.Trim(rest, "[]")); err == nil {
		return "", fmt.Errorf("host name %q is an address: give it as one, with --ip", s)
	}
	ascii, err := idna.Lookup.ToASCII(rest)
	if err == nil {
		// Some input, such as what is no UTF-8, only fails the second time.
		var again string
		if again, err = idna.Lookup.ToASCII(ascii); err == nil && again != ascii {
			err = errors.New("it has no form that stays the same: write it in ASCII")
		}
	}
	switch {
	case err != nil:
		return "", fmt.Errorf("host name %q: %w", s, err)
	case ascii == "" || len(ascii) > 253-len("*."):
		return "", fmt.Errorf("host name %q: a name has 1 to 251 characters", s)
	case slices.ContainsFunc(strings.Split(ascii, "."), func(label string) bool { return label == "" || len(label) > 63 }):
		return "", fmt.Errorf("host name %q: every part between the dots has 1 to 63 characters", s)
	case numericTop(ascii):
		return "", fmt.Errorf("host name %q: a name does not end in a number", s)
	case wild && !strings.Contains(ascii, "."):
		return "", fmt.Errorf("host name %q: '*.' needs at least two labels after it", s)
	}
	if wild {
		return "*." + ascii, nil
	}
	return ascii, nil
}

// numericTop reports whether a name's last label is a number, so that programs
// may take the name for an IPv4 address.
func numericTop(name string) bool {
	top := name[strings.LastIndexByte(name, '.')+1:]
	return strings.Trim(top, "0123456789") == "" || strings.HasPrefix(top, "0x")
}
