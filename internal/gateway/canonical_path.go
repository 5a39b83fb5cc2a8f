package gateway

import (
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/postern-project/postern/internal/refusal"
)

// canonicalPath returns the one path, decoded, that rules are matched against
// and that is forwarded: the caller puts it into u.Path and clears u.RawPath,
// so that the upstream is asked for its plain encoding. A path that two
// programs may read differently (invariant I5) is refused: encoded slashes,
// dot segments in any encoding, empty segments, backslashes, ';', control
// characters, text that is not UTF-8, what is still encoded after decoding,
// and '#'. So is a query that could end the request line or is no UTF-8, and
// the absolute form of another scheme. raw is the request target as it was received.
func canonicalPath(u *url.URL, raw string) (string, refusal.Code) {
	path := u.Path
	if path == "" && u.Host != "" && u.Opaque == "" {
		path = "/" // RFC 9112 section 3.2.2: the absolute form of a site's root
	}
	switch {
	case u.Opaque != "" || path == "" || path[0] != '/', !httpForm(u), !visible(u.RawQuery):
		return "", refusal.BadRequest
	case strings.IndexByte(raw, '#') >= 0, ambiguousEncoding(u.RawPath), ambiguousPath(path):
		return "", refusal.AmbiguousPath
	}
	return path, ""
}

// CanonicalPath returns the path that rules are matched against for a request
// target such as /a%20b?c, or why no rule is asked.
func CanonicalPath(target string) (string, refusal.Code) {
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return "", refusal.BadRequest
	}
	return canonicalPath(u, target)
}

// httpForm reports whether u is a path, or absolute with scheme and host (RFC
// 9110 section 4.2).
func httpForm(u *url.URL) bool {
	if u.Scheme == "" {
		return u.Host == ""
	}
	return (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// visible reports whether a query is of the letters that a request line may
// hold (RFC 3986 section 3.4), or of letters beyond ASCII as people type them.
func visible(query string) bool {
	for i := range len(query) {
		if query[i] <= ' ' || query[i] == 0x7f {
			return false
		}
	}
	return utf8.ValidString(query)
}

// canonicalQuery returns a visible query in the letters that a request line
// may hold: those beyond ASCII encoded, as browsers do, and the rest as it is.
func canonicalQuery(query string) string {
	var out strings.Builder
	for i := range len(query) {
		if query[i] < 0x80 {
			out.WriteByte(query[i])
			continue
		}
		const hex = "0123456789ABCDEF"
		out.Write([]byte{'%', hex[query[i]>>4], hex[query[i]&15]})
	}
	return out.String()
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
