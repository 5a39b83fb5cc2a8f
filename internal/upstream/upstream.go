// Package upstream is the gateway's client side: it forwards judged requests
// to the application behind a site, over pooled connections, and says in
// refusal codes why it could not. Whoever calls it has already removed from
// the request what strangers must not say.
package upstream

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// Options tunes an Upstream. The zero value means the defaults.
type Options struct {
	// DialTimeout bounds connecting, with TLS; 5 s by default.
	DialTimeout time.Duration
	// ResponseHeaderTimeout bounds the wait for an answer to begin once the
	// request is sent; 60 s by default.
	ResponseHeaderTimeout time.Duration
	// WriteTimeout bounds how long the application may take nothing of what
	// is sent; 60 s by default. Over HTTP/2 it is how long it may take for
	// 16 KiB of a body.
	WriteTimeout time.Duration
	// IdleTimeout ends pooled connections that nobody used; 30 s by default.
	IdleTimeout time.Duration
	// MaxIdle is how many connections wait in the pool; 256 by default.
	MaxIdle int
	// Roots verify an https upstream; nil means the system's.
	Roots *x509.CertPool
	// Log is told, at debug level, of answers that broke off.
	Log *slog.Logger
}

// An Upstream is one application with a pool of connections to it. It is safe
// for concurrent use.
type Upstream struct {
	spec    string
	scheme  string // of the requests: http or https
	host    string // of the requests' URLs: what the pool is keyed by
	dialer  dialer
	buffers *buffers
	log     *slog.Logger

	// For HTTP/1.1:
	pool          pool
	heads         sync.Pool // of *[]byte, room for the heads of requests
	headerTimeout time.Duration

	transport *http.Transport // for HTTP/2 (h2c), else nil
}

// New returns the upstream written as spec: http://HOST[:PORT],
// https://HOST[:PORT], h2c://HOST[:PORT] (HTTP/2 without TLS, for gRPC) or
// unix:/PATH. It dials nothing yet.
func New(spec string, o Options) (*Upstream, error) {
	u := &Upstream{spec: spec, buffers: newBuffers(), log: cmp.Or(o.Log, slog.New(slog.DiscardHandler))}
	u.dialer = dialer{
		net:   net.Dialer{Timeout: cmp.Or(o.DialTimeout, 5*time.Second)},
		write: cmp.Or(o.WriteTimeout, time.Minute),
	}
	u.headerTimeout = cmp.Or(o.ResponseHeaderTimeout, time.Minute)
	u.pool = pool{dial: u.dialLink, idle: cmp.Or(o.IdleTimeout, 30*time.Second), most: cmp.Or(o.MaxIdle, 256)}
	u.heads.New = func() any { return new(make([]byte, 0, 1<<10)) }
	if path, ok := strings.CutPrefix(spec, "unix:"); ok {
		return u, u.useUnix(path)
	}
	return u, u.useTCP(spec, o.Roots)
}

// newTransport returns the client for HTTP/2, or for HTTP/1.1 as the standard
// library has it.
func (u *Upstream) newTransport(h2 bool) (*http.Transport, error) {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!h2)
	protocols.SetUnencryptedHTTP2(h2)
	t := &http.Transport{
		Proxy:                  nil, // never from the environment
		DialContext:            u.dialer.dial,
		Protocols:              protocols,
		DisableCompression:     true,
		MaxIdleConns:           u.pool.most,
		MaxIdleConnsPerHost:    u.pool.most,
		IdleConnTimeout:        u.pool.idle,
		ResponseHeaderTimeout:  u.headerTimeout,
		ExpectContinueTimeout:  expectTimeout,
		MaxResponseHeaderBytes: maxAnswerHeader,
	}
	if !h2 {
		return t, nil
	}
	// Requests share a connection, so one that has died in silence would be
	// given to everybody who comes. It is asked whether it lives, and ends within
	// the time that an answer may take.
	t.HTTP2 = &http.HTTP2Config{SendPingTimeout: u.headerTimeout / 2, PingTimeout: u.headerTimeout / 2}
	// Go 1.26 has an HTTP/2 client of its own, which locks itself up for good
	// when an application lets the window of a stream overflow.
	_, err := http2.ConfigureTransports(t) //lint:ignore SA1019 there is no other way to the mended one
	return t, err
}

func (u *Upstream) useUnix(path string) error {
	if rest, ok := strings.CutPrefix(path, "//"); ok {
		path = rest // unix:///run/app.sock
	}
	if !filepath.IsAbs(path) {
		return fmt.Errorf("upstream %s: a socket needs its whole path, as in unix:/run/app.sock", shown(u.spec))
	}
	u.scheme, u.host = "http", "unix"
	u.dialer.network, u.dialer.address = "unix", path
	return nil
}

func (u *Upstream) useTCP(spec string, roots *x509.CertPool) error {
	parsed, err := url.Parse(spec)
	if err != nil {
		return fmt.Errorf("upstream %s is no URL: write http://HOST:PORT", shown(spec))
	}
	port := "80"
	switch parsed.Scheme {
	case "http":
	case "h2c":
		if u.transport, err = u.newTransport(true); err != nil {
			return err
		}
	case "https":
		port = "443"
		u.dialer.tls = &tls.Config{
			ServerName: parsed.Hostname(), RootCAs: roots, MinVersion: tls.VersionTLS12,
			NextProtos: []string{"http/1.1"}, ClientSessionCache: tls.NewLRUClientSessionCache(64),
		}
	default:
		return fmt.Errorf("upstream %s: write http://HOST:PORT, https://HOST:PORT, h2c://HOST:PORT or unix:/PATH", shown(spec))
	}
	if err := plain(parsed); err != nil {
		return fmt.Errorf("upstream %s: %w", shown(spec), err)
	}
	u.scheme = "http"
	if u.dialer.tls != nil {
		u.scheme = "https"
	}
	u.host = net.JoinHostPort(parsed.Hostname(), cmp.Or(parsed.Port(), port))
	u.dialer.network, u.dialer.address = "tcp", u.host
	return nil
}

// shown returns spec for an error, without what may be a password.
func shown(spec string) string {
	if at := strings.LastIndexByte(spec, '@'); at >= 0 {
		scheme, _, _ := strings.Cut(spec[:at], ":")
		spec = scheme + ":…" + spec[at:]
	}
	return strconv.Quote(spec)
}

// plain checks that u is a scheme with a host and no more.
func plain(u *url.URL) error {
	switch port, err := strconv.ParseUint(cmp.Or(u.Port(), "1"), 10, 16); {
	case u.Hostname() == "":
		return fmt.Errorf("the host is missing: write %s://HOST:PORT", u.Scheme)
	case u.User != nil:
		return fmt.Errorf("a user or password has no place here: leave out what stands before '@'")
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("requests keep their own path: leave out what follows the port")
	case err != nil || port == 0:
		return fmt.Errorf("port %s: a port is a number from 1 to 65535", u.Port())
	}
	return nil
}

// String returns the upstream as it was written.
func (u *Upstream) String() string { return u.spec }

// CloseIdle closes the connections that wait in the pool. Requests under way
// are not touched, and new ones dial again.
func (u *Upstream) CloseIdle() {
	u.pool.clear()
	if u.transport != nil {
		u.transport.CloseIdleConnections()
	}
}
