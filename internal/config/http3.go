package config

import (
	"fmt"
	"slices"
)

// parseHTTP3 reads whether a site is served over HTTP/3 as well.
func parseHTTP3(s string) (bool, error) {
	switch s {
	case "experimental":
		return true, nil
	case "off":
		return false, nil
	}
	return false, fmt.Errorf("%q is not served: write experimental, or off (the default)", s)
}

// fitsHTTP3 refuses what cannot be served over HTTP/3.
func (r *reader) fitsHTTP3(p pair, s Site, what string) {
	switch {
	case s.HTTP3 && len(s.TCP) > 0:
		r.fail(p.at, "drop http3", "%s has http3, and a tcp site speaks no HTTP", what)
	case s.HTTP3 && s.Elsewhere:
		r.fail(p.at, "drop http3", "%s has http3, and is served by another server", what)
	}
}

// HTTP3 reports whether any site is served over HTTP/3.
func (c Config) HTTP3() bool {
	return slices.ContainsFunc(c.Sites, func(s Site) bool { return s.HTTP3 })
}

// http3Warnings says what of HTTP/3 hardly anybody will see.
func (s Site) http3Warnings(all *problems, c Config) {
	if !s.HTTP3 {
		return
	}
	if s.Certificate.IsZero() {
		all.add(c.File, c.lines, s.at, fmt.Sprintf("site %s has http3 and a certificate of our own authority: browsers use HTTP/3 only with one of a public authority", s.Host), "write certificate: public, or drop http3")
	}
	if len(c.Proxies) > 0 {
		all.add(c.File, c.lines, s.at, fmt.Sprintf("site %s has http3, and load balancers pass on no UDP that says whose it is: over QUIC nothing is taken from the addresses of proxy_protocol", s.Host), "let UDP come to this machine directly, or drop http3")
	}
}
