package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"

	"github.com/postern-project/postern/internal/agent"
	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/config"
	"github.com/postern-project/postern/internal/gateway"
	"github.com/postern-project/postern/internal/upstream"
)

// upstreamFolder holds, inside the data folder, the certificates that the
// gateway shows to applications.
const upstreamFolder = "upstream"

// openProxy returns what forwards the requests of a site.
func (s *server) openProxy(ctx context.Context, site config.Site) (behind, error) {
	u := site.Upstream
	o := upstream.GroupOptions{
		Options: s.upstreamOptions(u), Balance: u.Balance, Retries: u.Retries, Health: u.Health,
		TLS: upstream.TLS{ServerName: u.ServerName}, Separate: u.Separate, MaxBody: u.MaxBody,
	}
	if len(u.CA) > 0 {
		o.TLS.Roots = x509.NewCertPool()
		for _, c := range u.CA {
			o.TLS.Roots.AddCert(c)
		}
	}
	certificate, stop, err := s.clientCertificate(ctx, site)
	if err != nil {
		return behind{}, err
	}
	o.TLS.Certificate = certificate
	group, err := upstream.NewGroup(site.Proxy, o)
	if err != nil {
		stop()
		return behind{}, err
	}
	return behind{handler: group.Handler(gateway.Refuse), close: func() { group.Close(); stop() }}, nil
}

func (s *server) upstreamOptions(u config.Upstream) upstream.Options {
	return upstream.Options{
		DialTimeout: u.Connect, ResponseHeaderTimeout: u.Answer, WriteTimeout: u.Write, IdleTimeout: u.Idle, Log: s.log,
	}
}

// clientCertificate returns what the gateway shows to a site's application,
// and what ends keeping it; nil for nothing.
func (s *server) clientCertificate(ctx context.Context, site config.Site) (get func() (*tls.Certificate, error), stop func(), err error) {
	switch c := site.Upstream.Certificate; {
	case c.IsZero():
		return nil, func() {}, nil
	case !c.Own:
		files, err := s.keepFiles(c.Cert, c.Key, nil)
		if err != nil {
			return nil, nil, err
		}
		return func() (*tls.Certificate, error) { return files.Get(), nil }, files.stop, nil
	}
	k, err := s.keepOwn(ctx, site.Host)
	if err != nil {
		return nil, nil, fmt.Errorf("certificate for its upstream: %w", err)
	}
	return func() (*tls.Certificate, error) {
		if c := k.Get(); c != nil {
			return c, nil
		}
		return nil, errors.New("there is no certificate yet")
	}, k.stop, nil
}

// keepOwn obtains the certificate by which the gateway is known to the
// application of a site, sites/HOST/upstream, and keeps it fresh.
func (s *server) keepOwn(ctx context.Context, host string) (keeper, error) {
	issue := func(ctx context.Context, spki []byte) ([][]byte, error) {
		issued, err := s.house.Authority.IssueUpstream(ctx, api.OwnRequest{Host: host, PublicKey: spki})
		return issued.Chain, err
	}
	dir := filepath.Join(s.house.Dir, upstreamFolder, strings.ReplaceAll(host, ":", "-"))
	k, err := agent.NewKeeper(dir, issue, agent.Options{Log: s.log, Now: s.app.Now, Fits: s.ours})
	if err != nil {
		return keeper{}, err
	}
	if err := k.Ensure(ctx); err != nil {
		return keeper{}, err
	}
	running, stop := context.WithCancel(s.alive)
	s.tasks.Go(func() { k.Run(running) })
	return keeper{k, stop}, nil
}

// tunnel is what the gateway sees of an upstream of bytes.
type tunnel struct {
	up     *upstream.TCP
	header bool // begin with a PROXY header
}

// Dial connects for a visitor.
func (t tunnel) Dial(ctx context.Context, v gateway.Visit) (net.Conn, error) {
	conn, err := t.up.Dial(ctx)
	if err != nil || !t.header {
		return conn, err
	}
	header, err := v.ProxyHeader()
	if err == nil {
		_, err = conn.Write(header)
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("send the PROXY header: %w", err)
	}
	return conn, nil
}

// openTCP returns what carries the bytes of a tcp site.
func (s *server) openTCP(site config.Site) (behind, error) {
	u := site.Upstream
	up, err := upstream.NewTCP(site.TCP, upstream.TCPOptions{Options: s.upstreamOptions(u), Balance: u.Balance, Health: u.Health})
	if err != nil {
		return behind{}, err
	}
	return behind{tunnel: tunnel{up, u.SendProxy}, close: up.Close}, nil
}

// siteAddress says how a site is reached: by a URL, or a tcp site by host and
// port.
func (s *server) siteAddress(site config.Site) string {
	url := s.siteURL(site.Host)
	if len(site.TCP) == 0 {
		return url + "/"
	}
	hostport := strings.TrimPrefix(url, "https://")
	if _, _, err := net.SplitHostPort(hostport); err != nil {
		hostport += ":443"
	}
	return hostport
}

// certFiles are a certificate and a key in files, watched until they are stopped.
type certFiles struct {
	*agent.Files
	stop context.CancelFunc
}

func (s *server) keepFiles(cert, key string, fits func(*x509.Certificate) error) (certFiles, error) {
	f, err := agent.OpenFiles(cert, key, agent.FilesOptions{Log: s.log, Now: s.app.Now, Fits: fits})
	if err != nil {
		return certFiles{}, err
	}
	running, stop := context.WithCancel(s.alive)
	s.tasks.Go(func() { f.Run(running) })
	return certFiles{f, stop}, nil
}
