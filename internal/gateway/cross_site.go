package gateway

import (
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// CrossSite says which other origins' pages may make a visitor's browser send
// something that changes things. The browser shows the certificate to whoever
// makes it ask, so without a word here a page on the internet could press the
// buttons of every application behind the door. The zero CrossSite lets no
// other origin do so.
type CrossSite struct {
	// Any lets all of them: the application sees to it by itself.
	Any bool
	// Origins are serialized origins that may, compared byte by byte.
	Origins []string
}

// forgedBy says why a request is taken for another origin's doing, or "". What
// a stranger may do anywhere, no page gains by having somebody's browser do it;
// a certificate, and the place in a network that opens a door, are shown to
// whoever makes a browser ask.
func (w *way) forgedBy(c Client, method string, h http.Header, host string) string {
	if c.IsZero() && c.Partner.Name.IsZero() && w.strangers {
		return ""
	}
	return w.CrossSite.fault(method, h, host, w.CORS)
}

// fault says why a request is taken for another origin's doing, or "". host is
// the request's, with its port. Browsers say where a request comes from in
// Sec-Fetch-Site, which pages cannot write (Fetch Metadata), and older ones in
// Origin, as all do for WebSockets (RFC 6455 section 4.1). Programs send neither.
func (p CrossSite) fault(method string, h http.Header, host string, cors *CORS) string {
	if p.Any || harmless(method, h) {
		return ""
	}
	origins, sites := h["Origin"], h["Sec-Fetch-Site"]
	origin := "an origin that it does not name"
	if len(origins) > 0 {
		origin = clip(strings.Join(origins, ", "))
	}
	switch {
	case len(origins) > 1 || len(sites) > 1:
		return "Origin or Sec-Fetch-Site came twice: " + origin
	case len(origins) == 1 && (slices.Contains(p.Origins, origins[0]) || cors.names(origins[0])):
		return ""
	case len(sites) == 1 && (sites[0] == "same-origin" || sites[0] == "none"):
		return ""
	case len(sites) == 0 && len(origins) == 0:
		return ""
	case len(sites) == 0 && strings.EqualFold(origins[0], "https://"+strings.TrimSuffix(host, ":443")):
		return ""
	}
	return "a page of " + origin + " had this device send it"
}

// harmless reports whether a request is not meant to change anything (RFC 9110
// section 9.2.1). A WebSocket begins as a GET, and no policy of sharing keeps
// another origin's page from it. A server that asks by forward auth keeps
// Connection to itself, and passes on the key (RFC 6455 section 4.1).
func harmless(method string, h http.Header) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return len(h["Sec-Websocket-Key"]) == 0 && !httpguts.HeaderValuesContainsToken(h["Connection"], "upgrade")
	}
	return false
}

// names reports whether a policy lets the pages of origin come with a
// certificate. With "*" they come without.
func (c *CORS) names(origin string) bool { return c != nil && c.allows(origin) == origin }
