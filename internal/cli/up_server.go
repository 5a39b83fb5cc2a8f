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
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postern-project/postern/internal/acme"
	"github.com/postern-project/postern/internal/assertion"
	"github.com/postern-project/postern/internal/config"
	"github.com/postern-project/postern/internal/enroll"
	"github.com/postern-project/postern/internal/gateway"
	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/rule"
	"github.com/postern-project/postern/internal/scep"
	"github.com/postern-project/postern/internal/telemetry"
)

// A server is the gateway with all that stands behind its doors: the sites,
// the public side and the protocols by which keys get to devices.
type server struct {
	app     *app
	house   gatehouse
	flags   upFlags
	log     *slog.Logger
	level   *slog.LevelVar
	reloads *prometheus.CounterVec
	answers *prometheus.CounterVec // of OCSP responders
	follows bool                   // takes the place of another server
	box     *sandbox

	alive      context.Context // ends when the server stops, with the cause
	end        context.CancelCauseFunc
	tasks      sync.WaitGroup // everything that alive keeps running
	gateway    *gateway.Gateway
	journal    *gateway.Journal
	metrics    *prometheus.Registry
	public     http.Handler
	course     enroll.Course     // of invitations
	access     enroll.Access     // of those who have no invitation
	downloads  *enroll.Downloads // for the page of an invitation
	acme       *acme.Server
	attempts   *enroll.Attempts // to use invitations
	scep       http.Handler
	assertions *assertion.Signer
	publicCA   atomic.Pointer[publicCA] // nil until a host's certificate is to be public

	registration registration

	mu    sync.Mutex // held while a configuration is put in force; guards open
	open  bool       // the doors are being served
	doors atomic.Pointer[doors]
	inUse atomic.Pointer[config.Config]
	sites atomic.Pointer[sites]
	// forward is the socket of forward_auth until it is first in use.
	forward net.Listener
	// refilled has an element when sites has new hosts.
	refilled chan struct{}
}

// An opening is what a server begins with.
type opening struct {
	flags   upFlags
	conf    config.Config
	follows bool
	log     *slog.Logger
	level   *slog.LevelVar
	doors   *doors
}

func (a *app) newServer(ctx context.Context, house gatehouse, t opening) (*server, error) {
	log := t.log
	s := &server{app: a, house: house, flags: t.flags, log: log, level: t.level, follows: t.follows, box: &sandbox{}, metrics: telemetry.Metrics(), refilled: make(chan struct{}, 1)}
	s.alive, s.end = context.WithCancelCause(ctx)
	err := s.openForward(t.conf)
	if err != nil {
		return nil, err
	}
	// What lies in the folders that the gateway writes to may be the work of one
	// that was taken over: no link there may lead anywhere.
	if err = s.confine(t.conf); err != nil {
		return nil, err
	}
	if s.journal, err = gateway.OpenJournal(filepath.Join(house.Dir, refusalsFile), gateway.JournalOptions{}); err != nil {
		return nil, err
	}
	if s.acme, err = acme.New(ctx, acme.Options{Authority: house.Authority, Log: log, Now: a.Now}); err != nil {
		return nil, err
	}
	if s.assertions, err = assertion.Open(filepath.Join(house.Dir, assertionsFolder), "spiffe://"+house.Roster.TrustDomain().String(), a.Now); err != nil {
		return nil, err
	}
	if s.downloads, err = enroll.OpenDownloads(filepath.Join(house.Dir, downloadsFolder)); err != nil {
		return nil, fmt.Errorf("programs to offer: %w", err)
	}
	if s.public, err = s.publicSide(); err != nil {
		return nil, err
	}
	renew := enroll.RenewHandler(enroll.RenewOptions{
		Authority: house.Authority, TrustDomain: house.Roster.TrustDomain(), Client: clientRef, Certificate: clientCertificate, Now: a.Now, RenewURLs: s.renewURLs, Log: log,
	})
	s.gateway, err = gateway.New(gateway.Options{
		Roster: house.Roster, Certificate: s.certificate, Own: s.ownCertificate, Challenge: s.challenge, Renew: renew, Assert: s.assert, Visited: s.visited, Log: log, Metrics: s.metrics, Journal: s.journal, Now: a.Now,
	})
	if err != nil {
		return nil, err
	}
	ending := &radar{due: house.Authority.Due, now: a.Now}
	s.reloads = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "postern_reloads_total", Help: "Configurations that were read again, by what became of them: in-force or refused.",
	}, []string{"result"})
	s.answers = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "postern_ocsp_answers_total", Help: "Questions to OCSP responders about certificates from files, by what became of them: good, revoked or failed.",
	}, []string{"result"})
	for _, c := range []prometheus.Collector{ending.gauge(), s.reloads, s.answers} {
		if err := s.metrics.Register(c); err != nil {
			return nil, err
		}
	}
	s.sites.Store(&sites{})
	s.doors.Store(t.doors)
	if err := s.enforce(s.alive, t.conf); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// downloadsFolder, in the data folder, holds programs that the page of an
// invitation offers.
const downloadsFolder = "downloads"

// clientRef returns the certificate that the gateway found good.
func clientRef(r *http.Request) (ledger.Ref, bool) {
	c, ok := gateway.ClientOf(r)
	return c.Ref, ok
}

// clientCertificate returns the same certificate itself.
func clientCertificate(r *http.Request) (*x509.Certificate, bool) {
	c, ok := gateway.ClientOf(r)
	return c.Certificate, ok
}

// publicSide is what strangers may ask: the invitation's page and exchange,
// the issuers' certificates and the newest checkpoint.
func (s *server) publicSide() (http.Handler, error) {
	if err := s.openSCEP(); err != nil {
		return nil, err
	}
	join, err := enroll.Handler(enroll.Options{
		Authority: s.house.Authority, TrustDomain: s.house.Roster.TrustDomain(), Roots: func() []*x509.Certificate { return s.house.Roster.Anchors().Trusted() },
		RenewURLs: s.renewURLs, Sites: s.siteURLs, Course: &s.course, Access: &s.access, AccessSites: s.accessSites, Downloads: s.downloads, Attempts: s.attempts, Log: s.log, Now: s.app.Now,
		PublicCertificate: s.publicCertificate, PublicURL: s.ownURL, SCEPPath: scep.Path, NeedsRoot: s.needsRoot,
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/", join)
	mux.Handle("/acme/", s.acme)
	mux.Handle(scep.Path, s.scep)
	published := s.published()
	for _, path := range publishedPaths {
		mux.Handle(path, published)
	}
	mux.Handle("GET /jwks.json", s.assertions)
	mux.HandleFunc("GET /ledger/checkpoint", s.serveCheckpoint)
	return mux, nil
}

func (s *server) serveCheckpoint(w http.ResponseWriter, r *http.Request) {
	head, err := s.house.Authority.Head(r.Context())
	if err != nil {
		s.log.Error("checkpoint not served", "err", err)
		http.Error(w, "the checkpoint cannot be read now", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(head.Note)
}

// renewURLs returns where a device can renew now.
func (s *server) renewURLs() []string {
	conf := s.inUse.Load()
	if conf == nil {
		return nil
	}
	var urls []string
	for _, site := range conf.Sites {
		urls = append(urls, s.siteURL(site.Host)+"/.postern/renew")
	}
	return urls
}

// publicCertificate returns what the public side shows when that is no
// certificate of our own.
func (s *server) publicCertificate() *tls.Certificate {
	conf, now := s.inUse.Load(), s.sites.Load()
	if conf == nil || now == nil {
		return nil
	}
	if shown, ok := now.shown[conf.PublicName()]; ok {
		return shown.get()
	}
	return nil
}

func (s *server) ownURL() string { return s.publicURL(*s.inUse.Load()) }

// needsRoot reports whether a name may open a site that shows a certificate of
// our own.
func (s *server) needsRoot(name identity.Name) bool {
	shown := s.sites.Load().shown
	who := rule.Subject{Name: name, Groups: s.house.Roster.Groups(name)}
	for _, site := range s.inUse.Load().Sites {
		if f, ok := shown[site.Host]; site.List.Decide(who).Allow && (!ok || f.get() == nil) {
			return true
		}
	}
	return false
}

// siteURLs returns the sites that name may open now.
func (s *server) siteURLs(name identity.Name) []string {
	conf := s.inUse.Load()
	if conf == nil {
		return nil
	}
	who := rule.Subject{Name: name, Groups: s.house.Roster.Groups(name)}
	var urls []string
	for _, site := range conf.Sites {
		if site.List.Decide(who).Allow {
			urls = append(urls, s.siteURL(site.Host)+"/")
		}
	}
	return urls
}

// run serves until the server is ended or a part of it cannot go on, and then
// closes it.
func (s *server) run() {
	defer s.close()
	s.part("acme", s.acme.Run)
	s.part("certificates", s.keepFresh)
	<-s.alive.Done()
	if why := context.Cause(s.alive); !errors.Is(why, errStopping) && !errors.Is(why, gateway.ErrHandover) {
		s.log.Error("the gateway stops", "err", why)
	}
}

// openDoors begins to serve, and has every later configuration do so.
func (s *server) openDoors() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = true
	for _, one := range s.doors.Load().all() {
		s.serve(one)
	}
}

// part runs one part of the server; when it fails, the server ends.
func (s *server) part(name string, run func(context.Context) error) {
	s.tasks.Go(func() {
		if err := run(s.alive); err != nil {
			s.end(fmt.Errorf("%s: %w", name, err))
		}
	})
}

// close ends every part and waits for it.
func (s *server) close() error {
	s.end(nil)
	s.tasks.Wait() // requests get their grace
	s.acme.Close()
	s.gateway.Close()
	s.sites.Swap(&sites{}).dropUnless(&sites{})
	if p := s.publicCA.Swap(nil); p != nil {
		p.cache.Stop()
	}
	return errors.Join(s.downloads.Close(), s.journal.Close())
}

// siteURL returns the address of a site.
func (s *server) siteURL(host string) string { return s.doors.Load().siteURL(host) }

// publicURL returns the beginning of every link to the public side.
func (s *server) publicURL(conf config.Config) string { return s.doors.Load().publicURL(conf) }

func (d *doors) siteURL(host string) string {
	return config.BaseURL(host, portOf(d.sites[0]))
}

func (d *doors) publicURL(conf config.Config) string {
	if d.public == nil {
		return d.siteURL(conf.PublicName())
	}
	return config.BaseURL(conf.PublicName(), portOf(d.public))
}

// portOf returns the port that a listener really has.
func portOf(l net.Listener) uint16 {
	_, port, _ := net.SplitHostPort(l.Addr().String())
	n, _ := strconv.ParseUint(port, 10, 16)
	return uint16(n)
}
