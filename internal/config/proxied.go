package config

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/goccy/go-yaml/ast"

	"github.com/postern-project/postern/internal/rule"
)

// proxies reads the addresses of load balancers that send PROXY headers.
func (r *reader) proxies(n ast.Node) []netip.Prefix {
	var all []netip.Prefix
	items := r.list(n, "proxy_protocol")
	if len(items) == 0 {
		r.fail(at(n), "write the load balancer's addresses, such as [10.0.0.5], or leave proxy_protocol out", "proxy_protocol: no address")
	}
	for _, it := range items {
		prefix, err := rule.ParsePrefix(it.text)
		switch {
		case err != nil:
			r.fail(it.at, "", "proxy_protocol: %v", err)
		case prefix.Bits() == 0:
			r.fail(it.at, "name the load balancer's addresses", "proxy_protocol: %s is everybody, who could then choose an address for themselves", prefix)
		case slices.Contains(all, prefix):
			r.fail(it.at, "", "proxy_protocol: %s stands here twice", prefix)
		default:
			all = append(all, prefix)
		}
	}
	return all
}

func parseProxyVersion(s string) (bool, error) {
	if s != "v2" {
		return false, fmt.Errorf("%q is not sent: write v2", s)
	}
	return true, nil
}
