package gateway

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/refusal"
)

// The results that handshakes are counted by. Browsers abandon two or three
// handshakes for each new host, so abandoned ones are counted and not logged.
const (
	shakeFull      = "full"
	shakeResumed   = "resumed"
	shakeRefused   = "refused"
	shakeUnknown   = "unknown-host"
	shakeAbandoned = "abandoned"
	shakeTimeout   = "timeout"
	shakeCrowded   = "crowded"
	shakeFailed    = "failed"
)

// greet takes one connection through its handshake and hands it over. When
// its requests are to be read here, it returns what attends to them instead.
func (l *listener) greet(nc net.Conn) (attend func()) {
	c := &conn{Conn: nc, g: l.g, listener: l}
	defer l.recover(c)
	l.g.metrics.connections.Inc()
	if !l.g.admit(c) {
		c.cut(errCrowded)
		return nil
	}
	leave, ok := l.enter(c)
	if !ok {
		c.cut(errClosing)
		return nil
	}
	defer leave()
	c.SetDeadline(time.Now().Add(l.g.limits.Hello))
	if err := l.foreword(c); err != nil {
		l.fail(c, err)
		return nil
	}
	c.takeTurns()
	t := tls.Server(c, l.base)
	if err := t.Handshake(); err != nil {
		c.endTurns()
		l.fail(c, err)
		return nil
	}
	if c.challenge { // answered by its certificate, and nothing follows
		c.endTurns()
		l.g.metrics.shakes[shakeFull].Inc()
		t.Close()
		return nil
	}
	c.SetDeadline(time.Time{})
	c.again = nil
	return l.welcome(c, t)
}

// welcome files a connection whose client has proved to hold its key, and
// hands it to the HTTP server.
func (l *listener) welcome(c *conn, t *tls.Conn) (attend func()) {
	state := t.ConnectionState()
	c.version, c.presented = state.Version, state.PeerCertificates
	result := shakeFull
	if state.DidResume {
		result = shakeResumed
	}
	l.g.metrics.shakes[result].Inc()
	l.g.index.add(c)
	l.g.crowd.rest(c, false) // until it has asked for something
	if !c.public && len(c.presented) > 0 {
		l.g.credentialOf(c, l.g.now())
	}
	c.endTurns()
	switch {
	case !l.g.mayEnter(c):
		t.Close()
	case c.tunnels(state):
		l.tunnels.Go(func() { l.carry(c, t) })
	case l.plainly(c, state):
		return func() { l.attend(c, t, &state) }
	case !l.inner.give(newSeat(c, t, state)):
		t.Close()
	}
	return nil
}

// mayEnter judges a connection to a stealthy site as a whole, once more and
// this time with consequences, before it can ask for anything.
func (g *Gateway) mayEnter(c *conn) bool {
	if d := g.table.Load().of(c); d == nil || d.public || !d.stealthy() {
		return true // a door that is gone is told in HTTP
	}
	c.entered.Store(true)
	c.asked.Store(true) // before the list is read: from here on changes cut c
	d := g.table.Load().of(c)
	if d == nil {
		return false
	}
	v := g.reach(c, d, g.now())
	if v.code != "" {
		g.refuseHandshake(c, v, "")
	}
	return v.code == ""
}

// fail writes down why a handshake did not end well, and lets the client read
// the alert.
func (l *listener) fail(c *conn, err error) {
	result := l.classify(c, err)
	if c.again != nil && result == shakeRefused {
		l.g.metrics.shakes[result].Inc()
		c.drain()
		c.Close()
		return
	}
	l.g.metrics.shakes[result].Inc()
	switch result {
	case shakeRefused:
		l.g.refuseHandshake(c, earlyVerdict(err), "the client had not yet proved to hold the key")
	case shakeFailed, shakeUnknown:
		l.tellFailed(c, result, err)
	}
	switch result {
	case shakeRefused, shakeUnknown, shakeFailed:
		c.drain()
	}
	c.Close()
}

func (l *listener) classify(c *conn, err error) string {
	if _, ok := errors.AsType[*earlyError](err); ok {
		return shakeRefused
	}
	_, alert := errors.AsType[tls.AlertError](err)
	_, broken := errors.AsType[*net.OpError](err)
	slow := errors.Is(err, os.ErrDeadlineExceeded)
	if c.wire() != nil {
		slow, alert, broken = quicEnd(err)
	}
	switch {
	case errors.Is(c.why(), errCrowded):
		return shakeCrowded
	case errors.Is(err, errInClear), errors.Is(err, errNoProxyHeader):
		return shakeFailed
	case slow:
		return shakeTimeout
	case alert, broken:
		return shakeAbandoned
	case c.wire() != nil: // whose errors all say that the connection is closed
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return shakeAbandoned
	}
	switch {
	case strings.HasSuffix(err.Error(), noCertificateText):
		return shakeRefused
	case strings.HasSuffix(err.Error(), noServerCertificateText):
		return shakeUnknown
	}
	return shakeFailed
}

// What the standard library says, without a type, when a certificate is
// required and none was sent, and when there is none to show. Tests hold it to
// these words; if they change, the handshake is counted as failed.
const (
	noCertificateText       = "client didn't provide a certificate"
	noServerCertificateText = "no certificates configured"
)

// earlyVerdict returns our code for what ended a stealthy site's handshake.
func earlyVerdict(err error) verdict {
	if early, ok := errors.AsType[*earlyError](err); ok {
		return early.verdict
	}
	return verdict{code: refusal.NoCertificate}
}

// drain reads on for a moment after an alert was sent. A connection that is
// closed with bytes unread is reset, and the client then shows that instead of
// the alert (browsers do so half of the time).
func (c *conn) drain() {
	c.SetReadDeadline(time.Now().Add(c.g.limits.Drain))
	io.CopyN(io.Discard, c.Conn, 1<<20)
}

// recover keeps one connection's panic from ending the process.
func (l *listener) recover(c *conn) {
	if p := recover(); p != nil {
		c.endTurns()
		l.g.log.Error("handshake panicked", "address", address(c), "panic", p, "stack", string(debug.Stack()))
		c.cut(errClosing)
	}
}

func address(c *conn) string { return c.RemoteAddr().String() }
