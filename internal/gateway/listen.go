package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A listener is one Serve: the accept loop, the connections in handshake and
// the HTTP server that takes over finished ones.
type listener struct {
	g      *Gateway
	net    net.Listener
	public bool
	inner  *handover
	server *http.Server
	shakes sync.WaitGroup
	// greeting counts the connections that shakes waits for.
	greeting atomic.Int64
	tunnels  sync.WaitGroup // connections to tcp sites

	base    *tls.Config // chooses one of the doors' or of these:
	plain   *tls.Config // of the public side on a listener of its own
	nowhere *tls.Config

	parkings atomic.Int64 // ever

	attending atomic.Int64 // connections at a desk
	desks     sync.Pool    // of *desk
	doormen   doormen

	mu      sync.Mutex // guards waiting and closed
	waiting queue
	closed  bool
}

// Serve accepts connections to the sites, and to the public host, until ctx
// ends; it then lets requests finish for a while, closes everything that came
// in through ln, and returns nil. It closes ln. When the caller closes ln
// first, nothing more is accepted, and what came in through it lives on until
// it ends by itself or ctx does.
func (g *Gateway) Serve(ctx context.Context, ln net.Listener) error {
	return g.newListener(ln, false).run(ctx)
}

// ServePublic is Serve for the public side: it never asks for a certificate,
// and answers with Config.Public under the name of every site and of the
// public host.
func (g *Gateway) ServePublic(ctx context.Context, ln net.Listener) error {
	return g.newListener(ln, true).run(ctx)
}

func (g *Gateway) newListener(ln net.Listener, public bool) *listener {
	l := &listener{g: g, net: ln, public: public, inner: newHandover(ln.Addr()), waiting: newQueue(), doormen: newDoormen()}
	l.base = &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: l.doorFor, SessionTicketsDisabled: true, Time: g.now}
	l.plain, l.nowhere = g.plainTLS(), nowhereTLS()
	l.server = g.newServer()
	l.server.ConnState = l.follow
	l.server.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){"h2": l.serveH2}
	return l
}

// newServer returns the HTTP server that reads requests from connections
// whose handshake has ended.
func (g *Gateway) newServer() *http.Server {
	return &http.Server{
		Handler:           http.HandlerFunc(g.serve),
		ReadHeaderTimeout: g.limits.Header,
		IdleTimeout:       g.limits.Idle,
		MaxHeaderBytes:    g.limits.HeaderBytes,
		ErrorLog:          slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, nc net.Conn) context.Context {
			if t, ok := nc.(*tls.Conn); ok {
				if c, ok := t.NetConn().(*conn); ok {
					return c.attach(ctx)
				}
			}
			if s, ok := nc.(*seat); ok {
				return s.c.attach(context.WithValue(ctx, seatKey{}, s))
			}
			return ctx
		},
		DisableGeneralOptionsHandler: true, // OPTIONS * is judged like the rest
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          g.limits.Streams,
			MaxDecoderHeaderTableSize:     4 << 10,
			MaxReadFrameSize:              16 << 10,
			MaxReceiveBufferPerConnection: 1 << 20,
			MaxReceiveBufferPerStream:     256 << 10,
			SendPingTimeout:               g.limits.Stall,
			PingTimeout:                   15 * time.Second,
		},
	}
}

func (l *listener) run(ctx context.Context) error {
	defer l.net.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	running.Go(func() { l.server.Serve(l.inner) })
	running.Go(func() { l.g.sweep(ctx) })
	running.Go(func() { l.keepHouse(ctx) })
	stop := context.AfterFunc(ctx, func() { l.net.Close() })
	defer stop()

	l.accept(ctx)
	l.linger(ctx)
	grace := l.grace(ctx)
	l.awaitGreetings(grace / 4)
	l.dropWaiting()
	l.shakes.Wait()
	l.shut(grace)
	cancel()
	running.Wait()
	return nil
}

// lingerPoll is how often a listener that accepts no more looks whether its
// last connection has ended.
const lingerPoll = 500 * time.Millisecond

// linger waits until ctx or the last connection ends.
func (l *listener) linger(ctx context.Context) {
	tick := time.NewTicker(lingerPoll)
	defer tick.Stop()
	for l.greeting.Load() > 0 || len(l.g.index.of(l)) > 0 {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// ErrHandover is the cause of a context that ends because somebody else takes
// over: who comes meanwhile is waiting, so requests get less time to finish.
var ErrHandover = errors.New("another process takes over")

// handoverGrace is the most that requests get then.
const handoverGrace = 3 * time.Second

// grace returns how long what is under way may go on after the end of ctx.
func (l *listener) grace(ctx context.Context) time.Duration {
	if errors.Is(context.Cause(ctx), ErrHandover) {
		return min(l.g.limits.Grace, handoverGrace)
	}
	return l.g.limits.Grace
}

// awaitGreetings lets handshakes end that have begun, and first requests come,
// for a while: whoever was accepted gets an answer.
func (l *listener) awaitGreetings(limit time.Duration) {
	const poll = 5 * time.Millisecond
	fresh := func(c *conn) bool { return !c.asked.Load() }
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(poll) {
		if l.greeting.Load() == 0 && !slices.ContainsFunc(l.g.index.of(l), fresh) {
			return
		}
	}
}

// shut lets requests finish for the grace, then ends whatever is left,
// hijacked connections included.
func (l *listener) shut(limit time.Duration) {
	grace, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for _, c := range l.g.index.of(l) {
		c.ring()
	}
	l.inner.Close()
	l.unpark()
	l.server.Shutdown(grace)
	l.awaitDesks(grace)
	l.server.Close()
	l.awaitParked(grace)
	for _, c := range l.g.index.of(l) {
		c.cut(errClosing)
	}
	l.tunnels.Wait()
}

// awaitDesks waits until nobody is at a desk, or ctx ends.
func (l *listener) awaitDesks(ctx context.Context) {
	const poll = 2 * time.Millisecond
	for l.attending.Load() > 0 && ctx.Err() == nil {
		time.Sleep(poll)
	}
}

// awaitParked waits until connections that were parked have taken their leave.
func (l *listener) awaitParked(grace context.Context) {
	parked := func(c *conn) bool { return c.parked.Load() }
	for grace.Err() == nil && slices.ContainsFunc(l.g.index.of(l), parked) {
		time.Sleep(time.Millisecond)
	}
}

// accept takes connections until ctx ends or the listener is closed.
func (l *listener) accept(ctx context.Context) {
	var pause time.Duration
	for {
		nc, err := l.net.Accept()
		switch {
		case err == nil:
			pause = 0
			l.greeting.Add(1)
			l.shakes.Add(1)
			select {
			case l.doormen.calls <- nc:
			default:
				go l.attendDoor(nc)
			}
		case ctx.Err() != nil, errors.Is(err, net.ErrClosed):
			return
		default:
			// Out of file descriptors, or a client that was gone already.
			if pause == 0 {
				l.g.log.Warn("accept paused", "listen", l.net.Addr().String(), "err", err)
			}
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	}
}

// enter counts c among the connections in handshake. When there are too many,
// one of them goes.
func (l *listener) enter(c *conn) (leave func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, false
	}
	from := c.neighbourhood()
	if l.waiting.order.Len() >= l.g.limits.Handshakes {
		now := l.g.now()
		victim := l.waiting.victim(from, func(p netip.Prefix) bool { return l.g.neighbours.has(p, now) })
		victim.Value.(waiter).conn.cut(errCrowded)
		l.waiting.remove(victim)
	}
	at := l.waiting.add(c, from)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.waiting.remove(at)
	}, true
}

// dropWaiting ends every handshake, and the ones that begin from now on.
func (l *listener) dropWaiting() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for e := l.waiting.order.Front(); e != nil; e = e.Next() {
		e.Value.(waiter).conn.cut(errClosing)
	}
}
