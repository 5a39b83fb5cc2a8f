package profile

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

type pkixExtension = pkix.Extension

// privateZones are the names that nobody can own on the internet (RFC 6761,
// RFC 6762, RFC 8375, ICANN's .internal) and the ones home routers use.
var privateZones = []string{"localhost", "internal", "local", "home.arpa", "lan", "test"}

// nowhere is a zone in which no host can be (RFC 2606 section 2).
const nowhere = "invalid"

// privateNetworks are the addresses that nobody can own on the internet.
var privateNetworks = []string{
	"127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10",
	"::1/128", "fc00::/7", "fe80::/10",
}

// everyIPNet is every address there is.
func everyIPNet() []*net.IPNet {
	return []*net.IPNet{
		{IP: make(net.IP, 4), Mask: net.CIDRMask(0, 32)},
		{IP: make(net.IP, 16), Mask: net.CIDRMask(0, 128)},
	}
}

// withinConstraints refuses what a client would refuse later: a name or an
// address outside of what the issuer may certify.
func withinConstraints(c, issuer *x509.Certificate) error {
	for _, name := range c.DNSNames {
		if len(issuer.PermittedDNSDomains) > 0 && !slices.ContainsFunc(issuer.PermittedDNSDomains, func(zone string) bool {
			return inZone(strings.TrimPrefix(name, "*."), zone)
		}) {
			return fmt.Errorf("the issuer %q may not certify %s, only names below %s: choose a name there",
				issuer.Subject.CommonName, name, strings.Join(issuer.PermittedDNSDomains, ", "))
		}
	}
	for _, ip := range c.IPAddresses {
		if len(issuer.PermittedIPRanges) > 0 && !slices.ContainsFunc(issuer.PermittedIPRanges, func(n *net.IPNet) bool {
			return n.Contains(ip)
		}) {
			return fmt.Errorf("the issuer %q may not certify %s, only private addresses: use a host name", issuer.Subject.CommonName, ip)
		}
	}
	return nil
}

func inZone(name, zone string) bool {
	return name == zone || strings.HasSuffix(name, "."+zone)
}

// realDomain reports whether a trust domain is a name that somebody owns on
// the internet.
func realDomain(domain string) bool {
	if !strings.Contains(domain, ".") || strings.Contains(domain, "_") || numericTop(domain) {
		return false
	}
	return !slices.ContainsFunc(privateZones, func(zone string) bool { return inZone(domain, zone) })
}

// uriHost reports whether a trust domain can stand in a name constraint on URIs
// (RFC 5280 section 4.2.1.10), which knows host names only.
func uriHost(domain string) bool {
	return strings.Contains(domain, ".") && !strings.Contains(domain, "_") && !numericTop(domain)
}

func privateIPNets() []*net.IPNet {
	var nets []*net.IPNet
	for _, s := range privateNetworks {
		p := netip.MustParsePrefix(s)
		nets = append(nets, &net.IPNet{
			IP:   p.Addr().AsSlice(),
			Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()),
		})
	}
	return nets
}
