package gateway

import (
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Bounds of DNS names, RFC 1035 section 2.3.4.
const (
	maxHost  = 253
	maxLabel = 63
)

// canonicalHost returns the one spelling of a host that is compared, whether
// it came from SNI, a Host header or the configuration, with a port or
// without: lower case, IDN as A-labels, no trailing dot, IP addresses as
// netip prints them and without brackets. It reports false for what is no
// host, which then belongs to no site. What it returns maps to itself.
func canonicalHost(hostport string) (string, bool) {
	if len(hostport) > 4*maxHost || !utf8.ValidString(hostport) {
		return "", false
	}
	if rest, ok := strings.CutPrefix(hostport, "["); ok {
		literal, port, ok := strings.Cut(rest, "]")
		if !ok || !portSuffix(port) || !strings.Contains(literal, ":") {
			return "", false
		}
		return canonicalIP(literal)
	}
	if strings.Count(hostport, ":") > 1 {
		return canonicalIP(hostport)
	}
	host := hostport
	if i := strings.IndexByte(hostport, ':'); i >= 0 {
		if !portSuffix(hostport[i:]) {
			return "", false
		}
		host = hostport[:i]
	}
	return canonicalName(host)
}

// portSuffix reports whether s is empty, ":" or ":PORT" (RFC 3986 section
// 3.2.3 allows the port to be empty).
func portSuffix(s string) bool {
	port, ok := strings.CutPrefix(s, ":")
	if !ok || port == "" {
		return s == "" || ok
	}
	for i := range len(port) {
		if port[i] < '0' || port[i] > '9' {
			return false
		}
	}
	_, err := strconv.ParseUint(port, 10, 16)
	return err == nil
}

// canonicalIP returns the address written as s. An address with a zone means
// something on one machine only, so it is no host.
func canonicalIP(s string) (string, bool) {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return "", false
	}
	return a.Unmap().String(), true
}

func canonicalName(host string) (string, bool) {
	name, special := lowerASCII(host)
	if special {
		mapped, err := idna.Lookup.ToASCII(name)
		if err != nil {
			return "", false
		}
		name = mapped
	}
	name = strings.TrimSuffix(name, ".")
	if len(name) > maxHost {
		return "", false
	}
	last := ""
	for label := range strings.SplitSeq(name, ".") {
		if !hostLabel(label) {
			return "", false
		}
		last = label
	}
	// A name whose last label is a number is read as an IPv4 address by
	// browsers, in spellings such as 127.1 and 0x7f000001: only the usual
	// one is a host here (WHATWG URL, "ends in a number").
	if '0' <= last[0] && last[0] <= '9' && endsInNumber(last) {
		return canonicalIP(name)
	}
	return name, true
}

// lowerASCII lowers the letters A-Z and reports whether s needs IDNA: it has
// bytes outside ASCII or an A-label, which may be a wrong one.
func lowerASCII(s string) (lower string, idn bool) {
	upper := false
	for i := range len(s) {
		upper = upper || 'A' <= s[i] && s[i] <= 'Z'
		idn = idn || s[i] >= utf8.RuneSelf
	}
	if upper {
		s = strings.ToLower(s)
	}
	return s, idn || strings.HasPrefix(s, "xn--") || strings.Contains(s, ".xn--")
}

// hostLabel reports whether s is one label. Underscores are no host names by
// RFC 1123 and common inside networks all the same.
func hostLabel(s string) bool {
	if s == "" || len(s) > maxLabel || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

func endsInNumber(label string) bool {
	digits, base := label, 10
	if rest, ok := strings.CutPrefix(label, "0x"); ok {
		digits, base = rest, 16
	}
	for i := range len(digits) {
		c := digits[i]
		if !('0' <= c && c <= '9' || base == 16 && 'a' <= c && c <= 'f') {
			return false
		}
	}
	return true
}
