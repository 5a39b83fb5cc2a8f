package upstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// TCPOptions tune a TCP. The zero value means the defaults.
type TCPOptions struct {
	Options // DialTimeout, WriteTimeout and Log
	Balance Balance
	// Health, with Every, connects to every member again and again. Its Path
	// and Host mean nothing here.
	Health Health
}

// A TCP is what stands behind a tcp site. It is safe for concurrent use.
type TCP struct {
	circle  circle
	dialers []dialer
	health  Health
	log     *slog.Logger
	stop    func()
}

// NewTCP returns what is reached at one of specs: HOST:PORT or unix:/PATH. It
// dials nothing yet, unless health is to be checked. Close ends it.
func NewTCP(specs []string, o TCPOptions) (*TCP, error) {
	if len(specs) == 0 {
		return nil, errors.New("no upstream: name at least one")
	}
	t := &TCP{circle: circle{balance: o.Balance}, health: o.Health, log: cmp.Or(o.Log, slog.New(slog.DiscardHandler)), stop: func() {}}
	for _, spec := range specs {
		d := dialer{
			net:     net.Dialer{Timeout: cmp.Or(o.DialTimeout, 5*time.Second)},
			network: "tcp", address: spec, write: cmp.Or(o.WriteTimeout, time.Minute),
		}
		if path, ok := strings.CutPrefix(spec, "unix:"); ok {
			if !filepath.IsAbs(path) {
				return nil, fmt.Errorf("upstream %q: a socket needs its whole path, as in unix:/run/app.sock", spec)
			}
			d.network, d.address = "unix", path
		} else if host, port, err := net.SplitHostPort(spec); err != nil || host == "" || !isPort(port) {
			return nil, fmt.Errorf("upstream %q: write HOST:PORT or unix:/PATH", spec)
		}
		t.dialers = append(t.dialers, d)
		t.circle.members = append(t.circle.members, &member{spec: spec})
	}
	if o.Health.Every > 0 {
		t.stop = t.watch()
	}
	return t, nil
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// Close ends the health checks. Connections are not touched.
func (t *TCP) Close() { t.stop() }

// Dial connects to the member whose turn it is, or to another one where that
// is down; the caller closes the connection.
func (t *TCP) Dial(ctx context.Context) (net.Conn, error) {
	var tried []int
	var last error
	for range t.dialers {
		i := t.circle.next(tried, time.Now())
		tried = append(tried, i)
		m := t.circle.members[i]
		m.active.Add(1)
		conn, err := t.dialers[i].dial(ctx, "", "")
		if err == nil {
			m.worked(true, time.Now())
			return &countedConn{Conn: conn, member: m}, nil
		}
		m.active.Add(-1)
		last = err
		if ctx.Err() != nil {
			break
		}
		if m.worked(false, time.Now()) && len(t.dialers) > 1 {
			t.log.Warn("upstream paused: it failed again and again", "upstream", m.spec, "pause", pause, "err", err)
		}
	}
	if n := len(tried); n > 1 {
		last = fmt.Errorf("%w (the last of %d that were tried)", last, n)
	}
	return nil, last
}

// A countedConn counts among its member's work until it is closed.
type countedConn struct {
	net.Conn
	member *member
	closed atomic.Bool
}

// Close may be called more than once.
func (c *countedConn) Close() error {
	if c.closed.CompareAndSwap(false, true) {
		c.member.active.Add(-1)
	}
	return c.Conn.Close()
}

// SetLinger is that of the connection below: with 0 Close resets it.
func (c *countedConn) SetLinger(seconds int) error { return setLinger(c.Conn, seconds) }

// CloseWrite says that no more will come.
func (c *countedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// watch connects to every member again and again until the function that it
// returns is called.
func (t *TCP) watch() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for i := range t.dialers {
		running.Go(func() {
			watchMember(ctx, t.circle.members[i], t.health.Every, t.log, func(ctx context.Context) error {
				conn, err := t.dialers[i].dial(ctx, "", "")
				if err == nil {
					conn.Close()
				}
				return err
			})
		})
	}
	return func() { cancel(); running.Wait() }
}
