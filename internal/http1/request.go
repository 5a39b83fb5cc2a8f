// Package http1 reads the plainest of HTTP/1.1 requests, and writes the answers
// to them. What it accepts is a strict subset of what the standard library
// accepts, read the same way; of everything else it decides nothing, so that
// whoever calls it hands that to the standard library, which then answers or
// refuses it.
package http1

import (
	"bytes"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
)

// Bounds of a plain request.
const (
	// MaxHead is the size of its head in bytes.
	MaxHead = 4 << 10
	// maxFields is the number of its header fields.
	maxFields = 64
)

const (
	opening = "GET /"
	version = " HTTP/1.1"
)

// Parse reads a request from the beginning of b, and returns it with the length
// of its head, behind which the next request begins. ok is false for what is
// not plain: anything but a whole head of a GET without a body, in letters of
// which no two programs have different opinions (RFC 9112 sections 2 to 6):
//
//   - the request line is "GET /path HTTP/1.1", each line ends in CRLF, no line
//     goes on with the one before;
//   - there is one Host, and nothing about the body, the connection or what is
//     expected of it;
//   - names are of letters, digits and dashes, values of printable ASCII.
//
// The request has no context and no RemoteAddr yet. It keeps nothing of b.
func Parse(b []byte) (r *http.Request, n int, ok bool) {
	if len(b) < len(opening) || string(b[:len(opening)]) != opening {
		return nil, 0, false
	}
	n = bytes.Index(b[:min(len(b), MaxHead)], []byte("\r\n\r\n"))
	if n < 0 {
		return nil, 0, false
	}
	n += len("\r\n\r\n")
	text := string(b[:n]) // all names and values are parts of it
	line, rest, _ := strings.Cut(text, "\r\n")
	target, plain := strings.CutSuffix(line[len(opening)-1:], version)
	if !plain {
		return nil, 0, false
	}
	u, plain := parseTarget(target)
	if !plain {
		return nil, 0, false
	}
	h, host, plain := parseFields(rest[:len(rest)-len("\r\n")])
	if !plain {
		return nil, 0, false
	}
	return &http.Request{
		Method: http.MethodGet, URL: u, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Body: http.NoBody, Host: host, RequestURI: target,
	}, n, true
}

// parseTarget reads a path with a query, in its origin form (RFC 9112 section
// 3.2.1). One that begins with two slashes looks like another form.
func parseTarget(s string) (*url.URL, bool) {
	if strings.HasPrefix(s, "//") {
		return nil, false
	}
	simple := true
	for i := range len(s) {
		switch kinds[s[i]] & (inPath | inQuery) {
		case 0:
			return nil, false
		case inQuery:
			simple = false
		}
	}
	path, query, asks := strings.Cut(s, "?")
	if simple && (!asks || query != "") {
		return &url.URL{Path: path, RawQuery: query}, true
	}
	u, err := url.ParseRequestURI(s)
	return u, err == nil
}

// parseFields reads header lines, each with its CRLF.
func parseFields(s string) (h http.Header, host string, ok bool) {
	lines := strings.Count(s, "\n")
	if lines > maxFields {
		return nil, "", false
	}
	h = make(http.Header, lines)
	values := make([]string, 0, lines) // one allocation for all
	for s != "" {
		var name, value string
		if name, value, s, ok = cutField(s); !ok {
			return nil, "", false
		}
		switch plain, isHost := plainField(name); {
		case !plain:
			return nil, "", false
		case isHost:
			if host != "" || !isPlainHost(value) {
				return nil, "", false
			}
			host = value
			continue
		}
		values = append(values, value)
		n := len(values)
		if before, twice := h[name]; twice {
			h[name] = append(before, value)
		} else {
			h[name] = values[n-1 : n : n]
		}
	}
	return h, host, host != ""
}

// cutField reads "Name: value" and a CRLF (RFC 9112 section 5).
func cutField(s string) (name, value, rest string, ok bool) {
	i, upper, canonical := 0, true, true
	for ; i < len(s) && kinds[s[i]]&inName != 0; i++ {
		c := s[i]
		if upper && 'a' <= c && c <= 'z' || !upper && 'A' <= c && c <= 'Z' {
			canonical = false
		}
		upper = c == '-'
	}
	if i == 0 || i == len(s) || s[i] != ':' {
		return "", "", "", false
	}
	name = s[:i]
	if !canonical {
		name = textproto.CanonicalMIMEHeaderKey(name)
	}
	from := i + 1
	for i = from; i < len(s) && kinds[s[i]]&inValue != 0; i++ {
	}
	if i+1 >= len(s) || s[i] != '\r' || s[i+1] != '\n' {
		return "", "", "", false
	}
	return name, textproto.TrimString(s[from:i]), s[i+2:], true
}

// plainField reports whether a field of that canonical name may be in a plain
// request, and whether it is Host. Those that may not say how the body is
// framed, or are about the connection (RFC 9110 sections 7.6.1 and 10.1); the
// standard library makes another field of Pragma.
func plainField(name string) (plain, host bool) {
	switch name {
	case "Host":
		return true, true
	case "Connection", "Content-Length", "Expect", "Http2-Settings", "Keep-Alive", "Pragma", "Proxy-Connection", "Te", "Trailer",
		"Transfer-Encoding", "Upgrade":
		return false, false
	}
	return true, false
}

func isPlainHost(s string) bool {
	for i := range len(s) {
		if kinds[s[i]]&inHost == 0 {
			return false
		}
	}
	return s != ""
}

// What a letter may stand in.
const (
	inName  = 1 << iota
	inValue // of a field
	inHost
	inPath  // of which every letter stands for itself; a query may follow
	inQuery // or in a path that needs a closer look
)

var kinds = func() (kinds [256]byte) {
	for c := range kinds {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9'
		if letter || c == '-' {
			kinds[c] |= inName
		}
		if ' ' <= c && c <= '~' || c == '\t' {
			kinds[c] |= inValue
		}
		if letter || strings.IndexByte("-._:[]", byte(c)) >= 0 {
			kinds[c] |= inHost
		}
		switch {
		case letter || strings.IndexByte("/-._~?=&+,@:", byte(c)) >= 0:
			kinds[c] |= inPath
		case '!' <= c && c <= '~' && c != '#':
			kinds[c] |= inQuery
		}
	}
	return kinds
}()
