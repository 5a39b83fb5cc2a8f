package config

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
)

// parseTCP checks where the bytes of a tcp site go: HOST:PORT or unix:/PATH.
func parseTCP(spec string) (string, error) {
	if path, ok := strings.CutPrefix(spec, "unix:"); ok {
		path = strings.TrimPrefix(path, "//")
		if !filepath.IsAbs(path) {
			return "", fmt.Errorf("%q: a socket's path begins with /, as in unix:/run/app.sock", spec)
		}
		return "unix:" + filepath.Clean(path), nil
	}
	if strings.Contains(spec, "://") {
		return "", fmt.Errorf("%q is a URL: write HOST:PORT, or proxy: in place of tcp: for what speaks HTTP", spec)
	}
	a, err := ParseAddress(spec)
	switch {
	case err != nil:
		return "", fmt.Errorf("%q is no address to connect to: write HOST:PORT or unix:/PATH", spec)
	case a.Host == "" || a.Port == 0:
		return "", fmt.Errorf("%q is no address to connect to: it needs a host and a port from 1 to 65535", spec)
	}
	return net.JoinHostPort(a.Host, fmt.Sprint(a.Port)), nil
}

func parseStartTLS(s string) (string, error) {
	if s != "postgres" {
		return "", fmt.Errorf("%q is not spoken: postgres is, and with everything else TLS comes first", s)
	}
	return s, nil
}

// fitsTCP refuses what a tcp site, or only a tcp site, cannot have.
func (r *reader) fitsTCP(p pair, s Site, what string) {
	switch {
	case len(s.TCP) == 0 && s.StartTLS != "":
		r.fail(p.at, "drop starttls, or say tcp: HOST:PORT", "%s has starttls, which is for tcp sites", what)
	case len(s.TCP) > 0 && len(s.Routes) > 0:
		r.fail(p.at, "drop routes, or say proxy: in place of tcp:", "%s has routes, which are for HTTP", what)
	case len(s.TCP) > 0 && s.When.OfRequests():
		r.fail(p.at, "ask about identity, certificate, client or time only", "%s has a condition about requests, and on a tcp site there are none", what)
	case len(s.TCP) > 0 && s.List.AdmitsStrangers():
		r.fail(p.at, "drop strangers from allow", "%s lets strangers in, and a tcp site turns them away in the handshake", what)
	}
}
