package config

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/rule"
)

// WithSite returns c with the site that a flag names: HOST=FOLDER or
// HOST=http://ADDRESS:PORT (or https, or unix:/PATH). Everybody enrolled may
// enter it.
func (c Config) WithSite(spec string) (Config, error) {
	name, target, ok := strings.Cut(spec, "=")
	if !ok || name == "" || target == "" {
		return Config{}, &Error{Msg: fmt.Sprintf("--site %q is not a site", spec), Hint: "write --site HOST=FOLDER or --site HOST=http://ADDRESS:PORT"}
	}
	host, err := ParseHost(name)
	if err != nil {
		return Config{}, &Error{Msg: "--site: " + err.Error()}
	}
	if s, taken := c.Site(host); taken {
		return Config{}, &Error{Msg: "--site: " + host + " is " + s.place(c.File) + " already", Hint: "drop one of the two"}
	}
	s := Site{Host: host, MinVersion: tls.VersionTLS13, order: len(c.Sites)}
	if strings.HasPrefix(target, "unix:") || strings.Contains(target, "://") {
		var proxy string
		proxy, err = parseProxy(target)
		s.Proxy = []string{proxy}
	} else {
		s.Static, err = parseStatic(target, ".")
	}
	if err != nil {
		return Config{}, &Error{Msg: "--site: " + err.Error()}
	}
	if s.List, err = rule.Parse([]string{"enrolled"}, nil); err != nil {
		return Config{}, err
	}
	c.Sites = append(slices.Clone(c.Sites), s)
	slices.SortFunc(c.Sites, func(a, b Site) int { return compareHost(a, b.Host) })
	return c, nil
}

func (s Site) place(file string) string {
	if s.at.line == 0 {
		return "named by another --site"
	}
	return fmt.Sprintf("in %s, line %d,", file, s.at.line)
}

// WithTrustDomain returns c for the trust domain that a flag names; "" names
// none. A file that names another one is an error.
func (c Config) WithTrustDomain(s string) (Config, error) {
	if s == "" {
		return c, nil
	}
	d, err := identity.ParseTrustDomain(s)
	if err != nil {
		return Config{}, &Error{Msg: "--trust-domain: " + err.Error(), Hint: "a trust domain looks like example.com"}
	}
	if c.TrustDomain != (identity.TrustDomain{}) && c.TrustDomain != d {
		return Config{}, &Error{Msg: fmt.Sprintf("--trust-domain says %s and %s says %s", d, c.File, c.TrustDomain), Hint: "drop one of the two"}
	}
	c.TrustDomain = d
	return c, nil
}

// WithListen returns c listening on the addresses that flags name, in place of
// what the file says.
func (c Config) WithListen(addresses []string) (Config, error) {
	if len(addresses) == 0 {
		return c, nil
	}
	derived := c.PublicFollows()
	c.Listen = nil
	for _, s := range addresses {
		a, err := ParseAddress(s)
		if err != nil {
			return Config{}, &Error{Msg: "--listen: " + err.Error()}
		}
		if a.Port != 0 && slices.Contains(c.Listen, a) {
			return Config{}, &Error{Msg: fmt.Sprintf("--listen: %s is given twice", a)}
		}
		c.Listen = append(c.Listen, a)
	}
	if derived {
		c.Public.Listen = c.Listen[0].next()
	}
	return c, nil
}

// PublicFollows reports whether the public side is where nobody put it: on the
// port after the sites'.
func (c Config) PublicFollows() bool {
	return c.Public.Host == "" && c.Public.Listen == c.Listen[0].next()
}

// PublicName returns the host under which the public side is reached: its own,
// else the first site's, else the address it listens on.
func (c Config) PublicName() string {
	switch {
	case c.Public.Host != "":
		return c.Public.Host
	case len(c.Sites) > 0:
		return slices.MinFunc(c.Sites, func(a, b Site) int { return a.order - b.order }).Host
	}
	if ip, err := netip.ParseAddr(c.Public.Listen.Host); err == nil && !ip.IsUnspecified() {
		return ip.String()
	}
	return "localhost"
}

// PublicURL returns the beginning of every link to the public side, such as
// https://join.example.com or https://localhost:8444, without a slash at the
// end. A port of zero stands for itself: only the listener knows better.
func (c Config) PublicURL() string {
	port := c.Listen[0].Port
	if !c.Public.Listen.IsZero() {
		port = c.Public.Listen.Port
	}
	return BaseURL(c.PublicName(), port)
}

// BaseURL returns https://HOST:PORT, without the port when it is 443.
func BaseURL(host string, port uint16) string {
	if port == 443 {
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		return "https://" + host
	}
	return "https://" + net.JoinHostPort(host, strconv.Itoa(int(port)))
}
