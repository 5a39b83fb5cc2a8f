package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/identity"
)

// An Address is where to listen: a host or IP literal, "" for all of them,
// and a port, 0 for one that the system picks. The zero Address is nowhere
// only where that is said.
type Address struct {
	Host string
	Port uint16
}

// String returns the address as net.Listen reads it; an IPv6 literal stands
// in brackets.
func (a Address) String() string { return net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port))) }

// IsZero reports whether a was left out.
func (a Address) IsZero() bool { return a == Address{} }

// Loopback reports whether only this machine reaches the address.
func (a Address) Loopback() bool {
	ip, err := netip.ParseAddr(a.Host)
	return a.Host == "localhost" || err == nil && ip.IsLoopback()
}

// next returns the address one port further, where the public side goes.
func (a Address) next() Address {
	if a.Port == 0 {
		return a
	}
	return Address{a.Host, a.Port + 1}
}

// ParseAddress returns the address written as s: HOST:PORT, :PORT or
// [IPV6]:PORT.
func ParseAddress(s string) (Address, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return Address{}, fmt.Errorf("%q is not an address: %s", s, addressHint(s))
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return Address{}, fmt.Errorf("%q is not an address: %q is no port between 0 and 65535", s, port)
	}
	if host != "" {
		if host, err = ParseHost(host); err != nil {
			return Address{}, err
		}
	}
	return Address{host, uint16(n)}, nil
}

func addressHint(s string) string {
	if _, err := strconv.ParseUint(s, 10, 16); err == nil {
		return fmt.Sprintf("write \":%s\"", s)
	}
	if ip, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return fmt.Sprintf("add the port, as in %q", net.JoinHostPort(ip.String(), "8443"))
	}
	if strings.Count(s, ":") > 1 {
		return `an IPv6 address stands in brackets, as in "[2001:db8::1]:8443"`
	}
	return fmt.Sprintf("add the port, as in %q", s+":8443")
}

// ParseHost returns the canonical form of a host name or IP literal: lower
// case, no trailing dot, an international name in its ASCII form, an IPv6
// literal without brackets and in its shortest form. Two spellings of one host
// have the same form.
func ParseHost(s string) (string, error) {
	if s == "" {
		return "", errors.New("empty host name")
	}
	if len(s) > 1024 {
		return "", fmt.Errorf("host name of %d bytes: at most 253 are allowed", len(s))
	}
	if strings.HasPrefix(s, "[") || strings.Count(s, ":") > 1 {
		return parseIPv6(s)
	}
	if ip, err := netip.ParseAddr(s); err == nil {
		return ip.String(), nil
	}
	if strings.Contains(s, "://") {
		return "", fmt.Errorf("host %q: a host name alone is wanted, without https:// and path", s)
	}
	if name, _, ok := strings.Cut(s, ":"); ok {
		return "", fmt.Errorf("host %q has a port: write %q, the port belongs to listen", s, name)
	}
	if strings.Contains(s, "*") {
		return "", fmt.Errorf("host %q: wildcards are not served, name each host", s)
	}
	if strings.ContainsAny(s, "/@") {
		return "", fmt.Errorf("host %q: a host name alone is wanted, without https:// and path", s)
	}
	return parseName(s)
}

func parseIPv6(s string) (string, error) {
	inner := s
	if rest, ok := strings.CutPrefix(s, "["); ok {
		if inner, ok = strings.CutSuffix(rest, "]"); !ok {
			return "", fmt.Errorf("host %q: a bracket without its partner", s)
		}
	}
	ip, err := netip.ParseAddr(inner)
	if err != nil {
		return "", fmt.Errorf("host %q is not an IPv6 address", s)
	}
	if ip.Zone() != "" {
		return "", fmt.Errorf("host %q: an address with a zone means something on one machine only", s)
	}
	return ip.Unmap().String(), nil
}

// maxHost is what fits into the name that a site's own certificate has, in
// bytes; DNS would allow four more.
const maxHost = identity.MaxName - len(authority.SitesName+"/")

func parseName(s string) (string, error) {
	if !utf8.ValidString(s) {
		return "", fmt.Errorf("host %q is not a host name: it is no UTF-8", s)
	}
	ascii, err := idna.Lookup.ToASCII(strings.TrimSuffix(s, "."))
	if err != nil {
		return "", fmt.Errorf("host %q is not a host name: %s", s, strings.TrimPrefix(err.Error(), "idna: "))
	}
	if ascii == "" || len(ascii) > maxHost {
		return "", fmt.Errorf("host %q is not served: it has %d bytes, 1 to %d are allowed", s, len(ascii), maxHost)
	}
	for label := range strings.SplitSeq(ascii, ".") {
		if label == "" || len(label) > 63 {
			return "", fmt.Errorf("host %q is not a host name: a part between dots has 1 to 63 letters", s)
		}
	}
	if ip, err := netip.ParseAddr(ascii); err == nil {
		return ip.String(), nil
	}
	return ascii, nil
}
