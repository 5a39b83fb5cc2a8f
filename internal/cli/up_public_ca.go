package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/postern-project/postern/internal/config"
)

// publicFolder holds, inside the data folder, what a public authority issued,
// with its keys and the account.
const publicFolder = "public"

// A publicCA obtains and renews certificates from a public authority by ACME,
// and staples its OCSP answers where it has a responder.
type publicCA struct {
	conf   config.PublicCA
	cache  *certmagic.Cache
	config *certmagic.Config
	issuer *certmagic.ACMEIssuer
}

// publicCA returns the one that conf describes: the one in use where that is
// the same. s.mu is held.
func (s *server) usePublicCA(conf config.Config) (*publicCA, error) {
	if p := s.publicCA.Load(); p != nil && p.conf.Key() == conf.PublicCA.Key() {
		return p, nil
	}
	p, err := s.newPublicCA(conf)
	if err != nil {
		return nil, err
	}
	if old := s.publicCA.Swap(p); old != nil {
		old.cache.Stop()
	}
	return p, nil
}

func (s *server) newPublicCA(conf config.Config) (*publicCA, error) {
	p := &publicCA{conf: conf.PublicCA}
	p.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return p.config, nil },
		Logger:           zap.NewNop(), // what matters comes as an event
	})
	p.config = certmagic.New(p.cache, certmagic.Config{
		Storage: &certmagic.FileStorage{Path: filepath.Join(s.house.Dir, publicFolder)},
		OnEvent: s.toldByCA, Logger: zap.NewNop(),
	})
	directory := conf.PublicCA.Directory
	if directory == "" {
		directory = certmagic.LetsEncryptProductionCA
	}
	template := certmagic.ACMEIssuer{
		CA: directory, TestCA: directory, Email: conf.PublicCA.Email, Agreed: true, Logger: zap.NewNop(),
		// We answer on our own doors, which are open already.
		ListenHost: conf.Listen[0].Host, AltTLSALPNPort: int(conf.Listen[0].Port),
		AltHTTPPort: int(conf.Public.HTTP.Port), DisableHTTPChallenge: conf.Public.HTTP.IsZero(),
	}
	if len(conf.PublicCA.Roots) > 0 {
		template.TrustedRoots = x509.NewCertPool()
		for _, c := range conf.PublicCA.Roots {
			template.TrustedRoots.AddCert(c)
		}
	}
	p.issuer = certmagic.NewACMEIssuer(p.config, template)
	p.config.Issuers = []certmagic.Issuer{p.issuer}
	return p, nil
}

// toldByCA writes down what became of a certificate.
func (s *server) toldByCA(_ context.Context, event string, data map[string]any) error {
	host := slog.Any("host", data["identifier"])
	switch event {
	case "cert_obtained":
		s.log.Info("public certificate obtained", host, "renewal", data["renewal"])
	case "cert_failed":
		s.log.Error("public certificate not obtained, it is tried again", host, "err", fmt.Sprint(data["error"]))
	case "cert_ocsp_revoked":
		s.log.Error("public certificate revoked by its authority, another one is obtained", slog.Any("hosts", data["subjects"]))
	}
	return nil
}

// certificate returns what the authority issued for host, nil while there is
// nothing.
func (p *publicCA) certificate(host string) *tls.Certificate {
	var newest *tls.Certificate
	for _, c := range p.cache.AllMatchingCertificates(host) {
		if c.Leaf != nil && (newest == nil || c.Leaf.NotAfter.After(newest.Leaf.NotAfter)) {
			newest = &c.Certificate
		}
	}
	return newest
}

// showPublic has a public authority certify host. Until it has, the site shows
// the certificate of our own.
func (s *server) showPublic(conf config.Config, host string) (shown, error) {
	if net.ParseIP(host) != nil || !strings.Contains(host, ".") {
		return shown{}, withHint(errors.New("no public authority certifies such a name"), "use certificate: postern, or a name that is in public DNS")
	}
	p, err := s.usePublicCA(conf)
	if err != nil {
		return shown{}, err
	}
	ctx, stop := context.WithCancel(s.alive)
	if err := p.config.ManageAsync(ctx, []string{host}); err != nil {
		stop()
		return shown{}, err
	}
	return shown{get: func() *tls.Certificate { return p.certificate(host) }, stop: func() {
		stop()
		p.cache.RemoveManaged([]certmagic.SubjectIssuer{{Subject: host}})
	}}, nil
}

// challenge answers a public authority that asks whether a host is ours (RFC
// 8737).
func (s *server) challenge(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	p := s.publicCA.Load()
	if p == nil {
		return nil, errors.New("no public authority was asked for anything")
	}
	return p.config.GetCertificate(hello)
}

// challengedInClear answers the same question without TLS (RFC 8555 section
// 8.3), and leaves everything else to next.
func (s *server) challengedInClear(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := s.publicCA.Load(); p != nil && p.issuer.HandleHTTPChallenge(w, r) {
			return
		}
		next.ServeHTTP(w, r)
	})
}
