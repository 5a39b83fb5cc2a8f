package cli

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"

	"github.com/postern-project/postern/internal/config"
)

// shown is a certificate that comes from elsewhere than our own authority.
type shown struct {
	from config.ServerCertificate
	get  func() *tls.Certificate
	stop func()
}

// fillShown prepares the certificates that do not come from our own authority,
// or takes them over.
func (s *server) fillShown(conf config.Config, next, old *sites) (err error) {
	for _, host := range hosts(conf) {
		from := conf.Certificate(host)
		if from.IsZero() {
			continue
		}
		if kept, ok := old.shown[host]; ok && kept.from == from {
			next.shown[host] = kept
			continue
		}
		if next.shown[host], err = s.show(host, from); err != nil {
			return fmt.Errorf("certificate of %s: %w", host, err)
		}
	}
	return nil
}

// show opens the files with the certificate of host.
func (s *server) show(host string, from config.ServerCertificate) (shown, error) {
	f, err := s.keepFiles(from.Cert, from.Key, func(leaf *x509.Certificate) error { return leaf.VerifyHostname(host) })
	if err != nil {
		return shown{}, err
	}
	return shown{from: from, get: f.Get, stop: f.stop}, nil
}

// certificate returns the certificate that a canonical host shows.
func (s *server) certificate(host string) (*tls.Certificate, error) {
	if now := s.sites.Load(); now != nil {
		if f, ok := now.shown[host]; ok {
			return f.get(), nil
		}
	}
	return s.ownCertificate(host)
}
