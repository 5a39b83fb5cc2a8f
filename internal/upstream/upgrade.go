package upstream

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// wantsWebSocket reports whether the client may switch protocols. Only
// WebSocket is let through: within h2c, a client could send further requests
// that nobody judges (invariant I2). RFC 9110 section 7.8 lets a server ignore
// the wish.
func wantsWebSocket(r *http.Request) bool {
	wish := r.Header["Upgrade"]
	return len(wish) == 1 && r.ContentLength == 0 && strings.EqualFold(strings.TrimSpace(wish[0]), "websocket") && r.Method == http.MethodGet
}

// inspect refuses a switch of protocols that nobody asked for, before it
// reaches the client.
func (x *leanExchange) inspect(head *answerHead) error {
	to := head.all("Upgrade")
	if !x.upgrade || len(to) != 1 || !strings.EqualFold(to[0], "websocket") {
		return fmt.Errorf("the answer switches to protocol %q, which was not asked for", strings.Join(to, ", "))
	}
	return nil
}

// tunnel joins the client's connection and the application's after a switch
// of protocols, until either way ends badly or both have ended.
func (x *leanExchange) tunnel(l *link, head *answerHead) error {
	rc := http.NewResponseController(x.w)
	h := x.w.Header()
	head.copyTo(h)
	h["Connection"], h["Upgrade"] = []string{"Upgrade"}, head.all("Upgrade")
	if err := l.awaitUntil(time.Time{}, 0); err != nil {
		return err
	}
	client, rw, err := rc.Hijack()
	if err != nil {
		return fmt.Errorf("take over the client's connection: %w", err)
	}
	x.began = true
	defer client.Close()
	res := http.Response{StatusCode: head.status, ProtoMajor: 1, ProtoMinor: 1, Header: h}
	if err := errors.Join(res.Write(rw), rw.Flush()); err != nil {
		return &clientError{err}
	}
	ends := make(chan error, 2)
	go func() { ends <- carry(client, io.MultiReader(strings.NewReader(string(l.buffered(1<<30))), l.conn)) }()
	go func() { ends <- carry(l, &earlyConn{client, rw.Reader}) }()
	if err := <-ends; err == nil {
		<-ends
	}
	client.Close()
	l.close()
	return nil
}

// carry copies one way of a tunnel, and then says that no more will come.
func carry(to io.Writer, from io.Reader) error {
	if _, err := io.Copy(to, from); err != nil {
		return err
	}
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// CloseWrite says that no more will come.
func (l *link) CloseWrite() error {
	if half, ok := l.conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
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
