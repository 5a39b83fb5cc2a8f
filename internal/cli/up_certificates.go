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
	ca   string // of a public one: which authority's
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
		if kept, ok := old.shown[host]; ok && kept.from == from && (!from.Public || kept.ca == conf.PublicCA.Key()) {
			next.shown[host] = kept
			continue
		}
		if next.shown[host], err = s.show(conf, host, from); err != nil {
			return fmt.Errorf("certificate of %s: %w", host, err)
		}
	}
	return nil
}

// show prepares the certificate of host that comes from elsewhere.
func (s *server) show(conf config.Config, host string, from config.ServerCertificate) (shown, error) {
	if from.Public {
		public, err := s.showPublic(conf, host)
		public.from, public.ca = from, conf.PublicCA.Key()
		return public, err
	}
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
			if c := f.get(); c != nil {
				return c, nil
			}
		}
	}
	return s.ownCertificate(host)
}
