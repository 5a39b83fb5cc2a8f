package gateway

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/postern-project/postern/internal/refusal"
)

// inClear is what a client gets that speaks HTTP without TLS.
const inClear = "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\nThis port speaks HTTPS: write https:// in the address.\n"

// failed returns our code for a handshake that ended for a reason of its own,
// before anybody was judged. A client that does not hold its certificate's key
// counts as abandoned: anybody can show somebody else's certificate. What this rests on of the standard library's words
// is held to them by tests; if they change, the handshake counts as abandoned.
func failed(c *conn, result string, err error) verdict {
	if result == shakeUnknown {
		return verdict{code: refusal.UnknownHost, detail: "the client asked for " + c.sought()}
	}
	if plain, ok := errors.AsType[tls.RecordHeaderError](err); ok && plain.Conn != nil && looksLikeHTTP(plain.RecordHeader) {
		return verdict{code: refusal.PlainHTTP, detail: fmt.Sprintf("it begins %q", plain.RecordHeader[:])}
	}
	for text, code := range map[string]refusal.Code{
		"client offered only unsupported versions":     refusal.OldTLS,
		"failed to parse client certificate":           refusal.BadCertificate,
		"client's certificate contains an unsupported": refusal.BadCertificate,
		"client certificate contains an unsupported":   refusal.BadCertificate,
	} {
		if strings.Contains(err.Error(), text) {
			return verdict{code: code, detail: strings.TrimPrefix(err.Error(), "tls: ")}
		}
	}
	return verdict{code: refusal.HandshakeAbandoned, detail: err.Error()}
}

// looksLikeHTTP reports whether the first bytes of a connection are the method
// of a request.
func looksLikeHTTP(begin [5]byte) bool {
	switch string(begin[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH", "CONNE":
		return true
	}
	return false
}

// sought returns the name that the client asked for, as it was written.
func (c *conn) sought() string {
	if c.sni == "" {
		return "no name, at " + c.LocalAddr().String()
	}
	return clip(c.sni)
}

// tellFailed writes down a handshake that ended for a reason of its own. One
// that was merely abandoned is no refusal, and for the curious only.
func (l *listener) tellFailed(c *conn, result string, err error) {
	v := failed(c, result, err)
	if v.code == refusal.HandshakeAbandoned {
		l.g.log.Debug("handshake failed", "site", c.host, "address", address(c), "code", string(v.code), "err", slog.StringValue(clipTo(v.detail, maxDetail)))
		return
	}
	l.g.refuseHandshake(c, v, "")
	if plain, ok := errors.AsType[tls.RecordHeaderError](err); ok && plain.Conn != nil {
		io.WriteString(plain.Conn, inClear)
	}
}
