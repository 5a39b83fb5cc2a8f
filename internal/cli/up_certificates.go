package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/postern-project/postern/internal/config"
	"github.com/postern-project/postern/internal/staple"
)

// shown is a certificate that comes from elsewhere than our own authority.
type shown struct {
	from config.ServerCertificate
	ca   string // of a public one: which authority's
	get  func() *tls.Certificate
	// wrong, which may be nil, says what an operator has to mend about it.
	wrong func() string
	stop  func()
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
	answers := s.keepAnswers(f)
	return shown{from: from, get: answers.Get, wrong: answers.Wrong, stop: answers.stop}, nil
}

// stapleWait is how long a certificate that demands an OCSP answer waits for
// its first one before it is shown without.
const stapleWait = 5 * time.Second

// stapled keeps the OCSP answers about a certificate from files until it is
// stopped.
type stapled struct {
	*staple.Keeper
	stop func()
}

func (s *server) keepAnswers(f certFiles) stapled {
	k := staple.New(f.Get, staple.Options{Log: s.log, Now: s.app.Now, Count: func(result string) { s.answers.WithLabelValues(result).Inc() }})
	if k.Demands() {
		first, cancel := context.WithTimeout(s.alive, stapleWait)
		k.Look(first)
		cancel()
	}
	running, stop := context.WithCancel(s.alive)
	s.tasks.Go(func() { k.Run(running) })
	return stapled{k, func() { stop(); f.stop() }}
}

// complaints say what an operator has to mend about certificates from elsewhere.
func (n *sites) complaints() (all []string) {
	for _, host := range slices.Sorted(maps.Keys(n.shown)) {
		if wrong := n.shown[host].wrong; wrong != nil && wrong() != "" {
			all = append(all, host+": "+wrong())
		}
	}
	return all
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
