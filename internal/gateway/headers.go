package gateway

import (
	"net"
	"net/http"
	"net/textproto"
	"strings"
)

// The header fields that the gateway writes for an upstream. What arrives
// from outside under any spelling of them is dropped (invariant I6).
const (
	headerIdentity       = "X-Postern-Identity"
	headerSerial         = "X-Postern-Serial"
	headerForwardedFor   = "X-Forwarded-For"
	headerForwardedHost  = "X-Forwarded-Host"
	headerForwardedProto = "X-Forwarded-Proto"
)

// reservedNames and reservedPrefixes are the fields, in lower case, by which
// some proxy tells some application who the client is, where it comes from or
// what it really asked for. Here nobody but the gateway may say that.
var (
	reservedNames = [...]string{
		"forwarded", "x-forwarded", "x-real-ip", "x-original-url", "x-rewrite-url",
		"x-http-method-override", "x-http-method", "x-method-override",
		"client-cert", "client-cert-chain", // RFC 9440
		"remote-user", "x-real-user", "client-ip", "true-client-ip",
		"x-cluster-client-ip", "x-host", "x-arr-clientcert", "x-arr-ssl",
		"http2-settings", // only means something beside an upgrade to h2c, which is never forwarded
		"proxy",          // CGI turns it into HTTP_PROXY
	}
	reservedPrefixes = [...]string{
		"x-postern-", "x-forwarded-", "x-original-", "x-rewrite-", "x-client-", "x-ssl-", "ssl-",
		"x-tls-", "x-remote-", "x-auth-", "x-webauth-", "x-authenticated-", "x-authentik-",
		"remote-", "client-cert-", "x-amzn-mtls-", "x-envoy-", "x-spiffe-", "tailscale-user-",
		"auth-", "cf-", "fastly-", "x-email", "x-goog-", "x-ms-client-", "x-pomerium-", "x-token-", "x-user",
	}
)

// reservedInitials are the letters that reserved fields begin with.
const reservedInitials = "acfhprstx"

// tokenName is the one field that begins like a reserved one and says nothing
// of its own: APIs look up the secret in it.
const tokenName = "x-auth-token"

// stripRequest removes from r, in place, every field that only the gateway
// may send to an upstream, also where nobody is authenticated. It drops
// fields whose name holds anything but letters, digits and dashes as well:
// applications fold '_' and '.' into '-', so that is another spelling. What
// Connection names is removed as RFC 9110 section 7.6.1 asks, here and now, so
// that it cannot remove what setIdentity writes afterwards; an upgrade is all
// that is left of Connection. Announced trailers are treated alike.
func stripRequest(r *http.Request) {
	stripConnection(r.Header)
	for name := range r.Header {
		if reserved(name) {
			delete(r.Header, name)
		}
	}
	for name := range r.Trailer {
		if reserved(name) {
			delete(r.Trailer, name)
		}
	}
}

// reserved reports whether a field of that name from outside is dropped.
func reserved(name string) bool {
	for i := range len(name) {
		c := name[i]
		if !('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '-') {
			return true
		}
	}
	if name == "" {
		return true
	}
	first := name[0] | 0x20
	if strings.IndexByte(reservedInitials, first) < 0 {
		return false // nearly all fields of nearly all requests end here
	}
	for _, known := range reservedNames {
		if known[0] == first && strings.EqualFold(name, known) {
			return true
		}
	}
	for _, prefix := range reservedPrefixes {
		if prefix[0] == first && len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix) {
			return !strings.EqualFold(name, tokenName)
		}
	}
	return false
}

// stripConnection removes the fields that Connection names, and then leaves
// of it only the wish to upgrade.
func stripConnection(h http.Header) {
	values, ok := h["Connection"]
	if !ok {
		return
	}
	upgrade := false
	for _, value := range values {
		for option := range strings.SplitSeq(value, ",") {
			option = textproto.TrimString(option)
			switch {
			case strings.EqualFold(option, "upgrade"):
				upgrade = true
			case endToEnd(option):
			default:
				h.Del(option)
			}
		}
	}
	if upgrade {
		h["Connection"] = []string{"Upgrade"}
	} else {
		delete(h, "Connection")
	}
}

// endToEnd reports whether the named field is for the last recipient, so that
// naming it in Connection is an attempt to lose it on the way (RFC 9110
// section 7.6.1 forbids a sender to do so). TE is hop by hop and handled by
// who forwards.
func endToEnd(name string) bool {
	switch strings.ToLower(name) {
	case "", "close", "te", "host", "content-length", "content-type", "content-encoding", "authorization",
		"cookie", "origin", "referer", "range", "if-range", "if-match", "if-none-match", "if-modified-since",
		"if-unmodified-since", "cache-control", "expect", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest":
		return true
	}
	return false
}

// setIdentity writes the gateway's own fields into h, which stripRequest has
// cleaned: who is asking (name and serial, empty for a stranger), from which
// address (with or without a port), for which host.
func setIdentity(h http.Header, name, serial, address, host string) {
	if ip, _, err := net.SplitHostPort(address); err == nil {
		address = ip
	}
	values := [...]string{address, host, "https", name, serial}
	h[headerForwardedFor] = values[0:1:1]
	h[headerForwardedHost] = values[1:2:2]
	h[headerForwardedProto] = values[2:3:3]
	delete(h, headerIdentity)
	delete(h, headerSerial)
	if name != "" {
		h[headerIdentity] = values[3:4:4]
		h[headerSerial] = values[4:5:5]
	}
}
