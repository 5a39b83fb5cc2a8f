package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/postern-project/postern/internal/refusal"
)

// A wire is the QUIC connection below a conn, in the shape of a net.Conn. What
// is read and written goes through HTTP/3 and never through it.
type wire struct {
	remote net.Addr // as it was when the client proved to be there
	quic   atomic.Pointer[quic.Conn]
	http   atomic.Pointer[http3.Server] // of this connection alone
	refuse context.CancelCauseFunc      // ends a handshake of which quic is not known yet
}

func (w *wire) Read([]byte) (int, error)         { return 0, net.ErrClosed }
func (w *wire) Write([]byte) (int, error)        { return 0, net.ErrClosed }
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }
func (w *wire) RemoteAddr() net.Addr             { return w.remote }

// LocalAddr returns the address that the client has connected to.
func (w *wire) LocalAddr() net.Addr {
	if q := w.quic.Load(); q != nil {
		return q.LocalAddr()
	}
	return &net.UDPAddr{}
}

// SetReadDeadline ends the connection when t is over, as the HTTP server does
// with one that rests.
func (w *wire) SetReadDeadline(t time.Time) error {
	if !t.IsZero() && time.Now().After(t) {
		w.leave(0)
	}
	return nil
}

// Close ends the connection at once. The client is told, and every answer that
// is under way breaks off.
func (w *wire) Close() error {
	w.refuse(net.ErrClosed)
	if q := w.quic.Load(); q != nil {
		return q.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
	}
	return nil
}

// leave ends the connection in good order (GOAWAY, RFC 9114 section 5.2) once
// its requests are answered, or after limit.
func (w *wire) leave(limit time.Duration) {
	s := w.http.Load()
	if s == nil {
		go w.Close()
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		s.Shutdown(ctx)
	}()
}

// moved reports whether the client now sends from another address than the one
// it was judged by. Another port is what its router may choose at any time.
func (w *wire) moved() bool {
	q := w.quic.Load()
	return q != nil && addrOf(q.RemoteAddr()) != addrOf(w.remote)
}

// wire returns what is below c when that is QUIC, else nil.
func (c *conn) wire() *wire {
	w, _ := c.Conn.(*wire)
	return w
}

// quicTLS returns what a QUIC handshake at d does: the same as over TCP, but
// that nothing is resumed. It is nil where the site does not say http3.
func (g *Gateway) quicTLS(d *door) *tls.Config {
	if !d.site.HTTP3 || d.public || d.tcp() || d.site.ForwardHeader != "" {
		return nil
	}
	c := d.tls.Clone()
	c.MinVersion, c.NextProtos = tls.VersionTLS13, []string{http3.NextProtoH3}
	c.SessionTicketsDisabled, c.WrapSession, c.UnwrapSession = true, nil, nil
	c.GetCertificate = func(hello *tls.ClientHelloInfo) (_ *tls.Certificate, err error) {
		defer g.contain(&err)
		return g.serverCertificate(hello)
	}
	if verify := c.VerifyConnection; verify != nil {
		c.VerifyConnection = func(cs tls.ConnectionState) (err error) {
			defer g.contain(&err)
			return verify(cs)
		}
	}
	return c
}

// contain makes a panic an error. A QUIC handshake has a goroutine of its own,
// in which one would end the process.
func (g *Gateway) contain(err *error) {
	if p := recover(); p != nil {
		g.log.Error("handshake panicked", "panic", p, "stack", string(debug.Stack()))
		*err = errors.New("panic in the handshake")
	}
}

// connIn returns the connection that a handshake is for.
func connIn(hello *tls.ClientHelloInfo) *conn {
	if c, ok := hello.Conn.(*conn); ok {
		return c
	}
	return connOf(hello.Context())
}

// Every stream of a connection may hold half a header, before anybody knows whose
// it is: together no more than the 1 MiB that a connection of HTTP/2 may hold.
const (
	maxStreamsHTTP3 = 64
	maxHeaderHTTP3  = 16 << 10 // bytes
)

// errMoved is why a connection is cut that comes from another address now.
var errMoved = &cutError{"it moved to another address"}

// ServeHTTP3 is Serve for the sites that say HTTP3, over the packets of pc. It
// ends by ctx alone: connections live no longer than the socket that their
// packets come through. It closes pc.
func (g *Gateway) ServeHTTP3(ctx context.Context, pc net.PacketConn) error {
	defer pc.Close()
	l := &listener{g: g, net: packets{pc}, inner: newHandover(pc.LocalAddr()), waiting: newQueue(), nowhere: nowhereTLS()}
	transport := &quic.Transport{
		Conn:        pc,
		ConnContext: l.arrive,
		// An address that nobody has proved to be at costs us nothing but an answer.
		VerifySourceAddress: func(net.Addr) bool { return true },
	}
	defer transport.Close()
	// 0-RTT is what replays are made of, and stays off: nothing is resumed at all.
	ln, err := transport.ListenEarly(&tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{http3.NextProtoH3}, GetConfigForClient: l.doorForQUIC, SessionTicketsDisabled: true, Time: g.now,
	}, &quic.Config{
		HandshakeIdleTimeout:           g.limits.Handshake / 2, // and twice that for all of it
		MaxIdleTimeout:                 g.limits.Idle,
		MaxIncomingStreams:             int64(min(g.limits.Streams, maxStreamsHTTP3)),
		MaxIncomingUniStreams:          8, // three are for HTTP/3
		InitialStreamReceiveWindow:     64 << 10,
		MaxStreamReceiveWindow:         256 << 10,
		InitialConnectionReceiveWindow: 256 << 10,
		MaxConnectionReceiveWindow:     1 << 20,
	})
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	tasks.Go(func() { g.sweep(running) })
	tasks.Go(func() { l.cutMoved(running) })
	for {
		q, err := ln.Accept(ctx)
		if err != nil {
			break // ctx, or the socket is gone
		}
		l.shakes.Go(func() { l.greetQUIC(q) })
	}
	ln.Close()
	l.dropWaiting()
	l.leave(l.grace(ctx))
	stop()
	tasks.Wait()
	return nil
}

// delivery is how long an answer may take to reach its client once it is written:
// nobody tells when it has.
const delivery = 500 * time.Millisecond

// leave lets requests end for a while, and then ends whatever is left. Clients
// that are told, and have no request left, end their connections by themselves.
func (l *listener) leave(grace time.Duration) {
	for _, c := range l.g.index.of(l) {
		c.wire().leave(grace)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	begin, busy := time.Now(), time.Now()
	for now := begin; len(l.g.index.of(l)) > 0 && now.Sub(begin) < grace && now.Sub(busy) < delivery; now = <-tick.C {
		if l.requests() > 0 {
			busy = now
		}
	}
	for _, c := range l.g.index.of(l) {
		c.cut(errClosing)
	}
	l.shakes.Wait()
}

// requests counts the requests in hand.
func (l *listener) requests() (n int) {
	for _, c := range l.g.index.of(l) {
		n += len(c.inHand())
	}
	return n
}

// cutMoved cuts connections whose clients come from another address than the
// one they were judged by, until ctx ends.
func (l *listener) cutMoved(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			for _, c := range l.g.index.of(l) {
				if c.wire().moved() {
					c.cut(errMoved)
				}
			}
		}
	}
}

// packets is a socket in the shape of a listener that nobody accepts from.
type packets struct{ net.PacketConn }

func (packets) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (p packets) Addr() net.Addr          { return p.LocalAddr() }

// quicEnd says how a QUIC handshake ended that did not end well: in silence, by
// the client's word, or by its end.
func quicEnd(err error) (slow, said, gone bool) {
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return true, false, false
	}
	transport, ok := errors.AsType[*quic.TransportError](err)
	_, application := errors.AsType[*quic.ApplicationError](err)
	return false, ok && transport.Remote, application
}

// errNotOverQUIC refuses load balancers: there is no PROXY header over UDP, so
// nobody knows whose packets they are.
var errNotOverQUIC = errors.New("a load balancer's address")

// arrive counts a connection whose client has proved to be at its address,
// before its handshake. ctx ends with the connection.
func (l *listener) arrive(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
	l.g.metrics.quicConnections.Inc()
	for _, p := range l.g.table.Load().proxies {
		if p.Contains(addrOf(info.RemoteAddr)) {
			return nil, errNotOverQUIC
		}
	}
	ctx, refuse := context.WithCancelCause(ctx)
	c := &conn{Conn: &wire{remote: info.RemoteAddr, refuse: refuse}, g: l.g, listener: l}
	if !l.g.admit(c) {
		c.cut(errCrowded)
		return nil, errCrowded
	}
	leave, ok := l.enter(c)
	if !ok {
		c.cut(errClosing)
		return nil, errClosing
	}
	context.AfterFunc(ctx, func() {
		leave()
		if !c.shaken.Load() {
			l.fail(c, context.Cause(ctx))
		}
		c.Close()
	})
	c.greeted3 = leave
	return context.WithValue(ctx, connKey{}, c), nil
}

// doorForQUIC chooses the TLS configuration by the name in the ClientHello, from
// the same table and by the same rules as over TCP.
func (l *listener) doorForQUIC(hello *tls.ClientHelloInfo) (_ *tls.Config, err error) {
	defer l.g.contain(&err)
	c := connOf(hello.Context())
	if c == nil {
		return l.nowhere, nil
	}
	c.sni = hello.ServerName
	l.g.trusted() // so that the table is as new as the roster
	d := l.g.table.Load().doors[wanted(hello)]
	if d == nil || d.quic == nil {
		return l.nowhere, nil
	}
	c.host = d.host
	return d.quic, nil
}

// greetQUIC takes one connection through the rest of its handshake, and
// answers its requests.
func (l *listener) greetQUIC(q *quic.Conn) {
	c := connOf(q.Context())
	if c == nil {
		q.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeInternalError), "")
		return
	}
	defer l.recover(c)
	defer c.Close()
	c.wire().quic.Store(q)
	if c.why() != nil { // cut before anybody knew of q
		c.wire().Close()
		return
	}
	select {
	case <-q.HandshakeComplete():
	case <-q.Context().Done():
		return
	}
	state := q.ConnectionState()
	if state.Used0RTT || state.TLS.DidResume || state.TLS.Version != tls.VersionTLS13 {
		return // never offered
	}
	c.shaken.Store(true)
	c.greeted3()
	c.version, c.presented = state.TLS.Version, state.TLS.PeerCertificates
	l.g.metrics.shakes[shakeFull].Inc()
	l.g.index.add(c)
	l.g.crowd.rest(c, false) // until it has asked for something
	if len(c.presented) > 0 {
		l.g.credentialOf(c, l.g.now())
	}
	if !l.g.mayEnter(c) {
		return
	}
	s := l.serverHTTP3(c)
	c.wire().http.Store(s)
	s.ServeQUICConn(q)
}

// serverHTTP3 returns the server of one connection, which can take leave of it
// alone.
func (l *listener) serverHTTP3(c *conn) *http3.Server {
	return &http3.Server{
		MaxHeaderBytes: min(l.g.limits.HeaderBytes, maxHeaderHTTP3),
		IdleTimeout:    l.g.limits.Idle,
		ConnContext:    func(ctx context.Context, _ *quic.Conn) context.Context { return c.attach(ctx) },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if c.wire().moved() {
				c.cut(errMoved)
				panic(http.ErrAbortHandler)
			}
			r.RemoteAddr = c.RemoteAddr().String()
			a := &answerHTTP3{ResponseWriter: w, control: http.NewResponseController(w), stall: l.g.limits.Stall}
			a.settleBody(r, l.g.limits.Header)
			l.g.answer(r.Context(), c, a, r)
			a.tidy()
			if a.last {
				c.wire().leave(l.g.limits.Drain)
			}
		}),
	}
}

// An answerHTTP3 is an answer over HTTP/3. It bounds how long the client may
// take nothing of it, and keeps out what is of HTTP/1.1 only.
type answerHTTP3 struct {
	http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration
	armed   time.Time // the write deadline in force
	last    bool      // the connection ends with it
}

// settleBody finds out whether a request of a kind that has no body has none:
// HTTP/3 says so by the end of the stream only, and upstreams want to know.
func (a *answerHTTP3) settleBody(r *http.Request, limit time.Duration) {
	if r.ContentLength >= 0 || r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodOptions && r.Method != http.MethodDelete {
		if r.ContentLength == 0 {
			r.Body = http.NoBody
		}
		return
	}
	a.control.SetReadDeadline(time.Now().Add(limit))
	var first [1]byte
	n, err := r.Body.Read(first[:])
	a.control.SetReadDeadline(time.Time{})
	switch {
	case n > 0:
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(first[:n]), r.Body), r.Body}
	case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
		r.Body, r.ContentLength = http.NoBody, 0
	}
}

// WriteHeader writes the header.
func (a *answerHTTP3) WriteHeader(status int) {
	a.tidy()
	a.roll()
	a.ResponseWriter.WriteHeader(status)
}

// tidy takes out of the header what HTTP/3 must not have (RFC 9114 section 4.2).
func (a *answerHTTP3) tidy() {
	h := a.Header()
	a.last = a.last || h.Get("Connection") == "close"
	for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade"} {
		h.Del(name)
	}
}

// Write writes with a deadline that is at least half a stall away.
func (a *answerHTTP3) Write(b []byte) (int, error) {
	a.tidy()
	a.roll()
	return a.ResponseWriter.Write(b)
}

// FlushError is Flush for http.ResponseController.
func (a *answerHTTP3) FlushError() error {
	a.tidy()
	a.roll()
	return a.control.Flush()
}

// Flush sends what was written so far.
func (a *answerHTTP3) Flush() { a.FlushError() }

// Unwrap is for http.ResponseController.
func (a *answerHTTP3) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answerHTTP3) roll() {
	if now := time.Now(); a.armed.Sub(now) < a.stall/2 {
		a.armed = now.Add(a.stall)
		a.control.SetWriteDeadline(a.armed)
	}
}

// tellHTTP3 writes what an answer says of HTTP/3: that a visitor who was let in
// with a certificate may come by it, on the port that they know. Strangers are
// not told, since not every browser shows a certificate over QUIC. What an
// application says about its own ways in is not for our visitors.
func (x *exchange) tellHTTP3() {
	h := x.Header()
	if len(h["Alt-Svc"]) > 0 {
		h.Del("Alt-Svc")
	}
	switch {
	case x.conn.wire() != nil:
		if x.code == refusal.NoCertificate {
			h["Alt-Svc"] = []string{"clear"}
		}
	case x.door == nil || x.door.quic == nil || x.code != "":
	case x.client.IsZero() && x.client.Partner.Name.IsZero() && !x.door.site.NeverAsks:
	default:
		port := "443"
		if _, p, err := net.SplitHostPort(x.request.Host); err == nil && p != "" {
			port = p
		}
		h["Alt-Svc"] = []string{`h3=":` + port + `"; ma=3600`}
	}
}

// wantsTCP reports whether a refusal is for the lack of a certificate over
// QUIC, where some browsers have none to show: they are to come again over TCP,
// which the status 421 makes them do (RFC 9110 section 15.5.20).
func (x *exchange) wantsTCP(code refusal.Code) bool {
	return code == refusal.NoCertificate && x.conn.wire() != nil
}
