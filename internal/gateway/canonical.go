package gateway

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/postern-project/postern/internal/refusal"
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

// canonicalPath returns the one path, decoded, that rules are matched against
// and that is forwarded: the caller puts it into u.Path and clears u.RawPath,
// so that the upstream is asked for its plain encoding. A path that two
// programs may read differently (invariant I5) is refused: encoded slashes,
// dot segments in any encoding, empty segments, backslashes, ';', control
// characters, text that is not UTF-8, what is still encoded after decoding,
// and '#'. raw is the request target as it was received.
func canonicalPath(u *url.URL, raw string) (string, refusal.Code) {
	path := u.Path
	if path == "" && u.Host != "" && u.Opaque == "" {
		path = "/" // RFC 9112 section 3.2.2: the absolute form of a site's root
	}
	switch {
	case u.Opaque != "" || path == "" || path[0] != '/':
		return "", refusal.BadRequest
	case strings.IndexByte(raw, '#') >= 0, ambiguousEncoding(u.RawPath), ambiguousPath(path):
		return "", refusal.AmbiguousPath
	}
	return path, ""
}

// ambiguousEncoding reports whether raw hides a separator from who compares
// paths before decoding them.
func ambiguousEncoding(raw string) bool {
	for i := 0; i+2 < len(raw); i++ {
		if raw[i] != '%' {
			continue
		}
		if c, ok := unhex(raw[i+1], raw[i+2]); ok && (c == '/' || c == '\\' || c == ';') {
			return true
		}
	}
	return false
}

// ambiguousPath reports whether a decoded path, which begins with a slash,
// could be read in a second way.
func ambiguousPath(path string) bool {
	start, ascii := 1, true // start of the current segment
	for i := 1; i <= len(path); i++ {
		if i == len(path) || path[i] == '/' {
			segment := path[start:i]
			if segment == "." || segment == ".." || segment == "" && i < len(path) {
				return true
			}
			start = i + 1
			continue
		}
		switch c := path[i]; {
		case c < 0x20, c == 0x7f, c == '\\', c == ';':
			return true
		case c == '%' && i+2 < len(path):
			if _, ok := unhex(path[i+1], path[i+2]); ok {
				return true // encoded twice: who decodes twice sees another path
			}
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return !ascii && ambiguousText(path)
}

// ambiguousText reports whether s is not UTF-8 or holds C1 control characters.
func ambiguousText(s string) bool {
	if !utf8.ValidString(s) {
		return true
	}
	for _, r := range s {
		if 0x80 <= r && r < 0xa0 {
			return true
		}
	}
	return false
}

func unhex(hi, lo byte) (byte, bool) {
	h, ok1 := nibble(hi)
	l, ok2 := nibble(lo)
	return h<<4 | l, ok1 && ok2
}

func nibble(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}
