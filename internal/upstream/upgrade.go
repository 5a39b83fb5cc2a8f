package upstream

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"strings"
)

// upgrading decides whether the client may switch protocols, and returns the
// writer that does so. Only WebSocket is let through: within h2c, a client
// could send further requests that nobody judges (invariant I2). RFC 9110
// section 7.8 lets a server ignore the wish.
func (x *exchange) upgrading(w http.ResponseWriter) http.ResponseWriter {
	wish := x.in.Header["Upgrade"]
	x.upgrade = len(wish) == 1 && strings.EqualFold(strings.TrimSpace(wish[0]), "websocket") && x.in.Method == http.MethodGet
	if !x.upgrade {
		return w
	}
	return &upgradeWriter{w, x}
}

// An upgradeWriter hands over the client's connection with what the client
// already sent on it. ReverseProxy would lose that.
type upgradeWriter struct {
	http.ResponseWriter
	x *exchange
}

// Unwrap lets http.ResponseController find the server's writer.
func (w *upgradeWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Hijack implements http.Hijacker.
func (w *upgradeWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	w.x.hijacked = true
	if rw.Reader.Buffered() > 0 {
		conn = &earlyConn{conn, rw.Reader}
	}
	return conn, rw, nil
}

// An earlyConn reads what arrived early first. It is read by one goroutine.
type earlyConn struct {
	net.Conn
	early *bufio.Reader
}

// Read returns the early bytes, then those of the connection.
func (c *earlyConn) Read(p []byte) (int, error) {
	if n := c.early.Buffered(); n > 0 {
		return c.early.Read(p[:min(n, len(p))])
	}
	return c.Conn.Read(p)
}

// CloseWrite says that no more will come.
func (c *earlyConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
