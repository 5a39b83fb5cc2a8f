package gateway

import (
	"crypto/tls"
	"net"
	"net/http"

	"github.com/postern-project/postern/internal/refusal"
)

// The HTTP server answers some requests by itself, before anybody here sees
// them: what is no HTTP/1.1, and a header that is too large. The client is told
// in the server's words; this file finds out for the record.

// unread says how far the next HTTP/1.1 request of a connection has come.
type unread int32

const (
	nothingRead unread = iota
	headRead           // something was read, and nobody has been asked yet
	answered           // by the HTTP server alone
)

// follow is http.Server.ConnState.
func (l *listener) follow(nc net.Conn, state http.ConnState) {
	seated(nc, state)
	if state != http.StateActive {
		return
	}
	if c := below(nc); c != nil && c.bell.Load() == nil {
		c.unread.Store(int32(headRead))
	}
}

// below returns the connection below what the HTTP server was given, or nil.
func below(nc net.Conn) *conn {
	switch nc := nc.(type) {
	case *seat:
		return nc.c
	case *tls.Conn:
		c, _ := nc.NetConn().(*conn)
		return c
	}
	return nil
}

// taken notes that a request has reached the gateway.
func (c *conn) taken() { c.unread.Store(int32(nothingRead)) }

// leastAnswer is more than any alert or key update takes, and less than any
// answer: bytes on the wire.
const leastAnswer = 64

// overhear notes what the HTTP server writes by itself: n bytes on the wire.
func (c *conn) overhear(n int) {
	if n < leastAnswer || !c.unread.CompareAndSwap(int32(headRead), int32(answered)) {
		return
	}
	code, detail := refusal.BadRequest, "it cannot be read as HTTP/1.1; the client was told in plain text"
	if c.isTooLarge(n) {
		code, detail = refusal.HeaderTooLarge, "the client was told in plain text"
	}
	c.g.refuseConn(c, "request refused", verdict{code: code, detail: detail}, "")
}

// isTooLarge reports whether n bytes on the wire are the server's answer to a
// header that is too large.
func (c *conn) isTooLarge(n int) bool {
	const text = "HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n431 Request Header Fields Too Large"
	overhead := 5 + 1 + 16 // RFC 8446 section 5.2: header, type, tag
	if c.version == tls.VersionTLS12 {
		overhead = 5 + 8 + 16 // RFC 5288 section 3; ChaCha20 has no explicit nonce
	}
	return n == len(text)+overhead || c.version == tls.VersionTLS12 && n == len(text)+5+16
}
