package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/postern-project/postern/internal/agent"
	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/config"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/publish"
	"github.com/postern-project/postern/internal/roster"
	"github.com/postern-project/postern/internal/scep"
)

// respondersFolder holds, inside the data folder, the certificates that answer
// in OCSP, with their keys.
const respondersFolder = "responders"

// publishedPaths are what the public side and the plain one have in common.
var publishedPaths = []string{"/crl/", authority.OCSPPath, authority.OCSPPath + "/", "/issuers/", "/root/"}

// published answers who asks about revocation and issuers.
func (s *server) published() http.Handler {
	return publish.Handler(publish.Options{
		Authority: s.house.Authority, Issuers: s.house.Roster.Issuers, Log: s.log,
		Roots: func() []ledger.Root { return s.house.Roster.Anchors().Roots },
	})
}

// plainSide is what is served without TLS: what is signed anyway, and SCEP,
// which encrypts. Everybody else is sent to the same address with TLS.
func (s *server) plainSide() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", s.published())
	mux.Handle(scep.Path, s.scep)
	return s.challengedInClear(publish.Redirecting(mux, func(host string) string {
		conf := s.inUse.Load()
		if conf == nil {
			return ""
		}
		if site, ok := conf.Site(host); ok && !site.Stealth {
			return s.siteURL(site.Host)
		}
		if host == conf.Public.Host {
			return s.publicURL(*conf)
		}
		return ""
	}, append([]string{scep.Path}, publishedPaths...)...))
}

// responders keep the certificates with which OCSP is answered, one for each
// issuer.
type responders struct {
	mu       sync.Mutex // guards byIssuer
	byIssuer map[string]keeper
}

func (r *responders) get(issuer string) *tls.Certificate {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k, ok := r.byIssuer[issuer]; ok {
		return k.Get()
	}
	return nil
}

// respond makes sure that every issuer has a responder once certificates say
// where to ask. An issuer that cannot have one now is only not answered for.
// s.mu is held. It reports whether every issuer has one.
func (s *server) respond(ctx context.Context, conf config.Config) bool {
	if policyOf(conf).PublicURL == "" {
		return true
	}
	all := true
	s.house.Authority.Respond(s.responders.get)
	for _, i := range s.house.Roster.Issuers() {
		if i.Distrusted || i.Retired {
			s.responders.drop(i.Name)
			continue
		}
		if s.responders.has(i.Name) {
			continue
		}
		k, err := s.newResponder(i.Name)
		if err == nil {
			err = k.Ensure(ctx)
		}
		if err != nil {
			s.log.Warn("no OCSP for this issuer, it is tried again", "issuer", i.Name, "err", err)
			all = false
			continue
		}
		running, stop := context.WithCancel(s.alive)
		s.responders.put(i.Name, keeper{k, stop})
		s.tasks.Go(func() { k.Run(running) })
	}
	return all
}

// respondAgain is when an issuer without a responder is tried again: the
// authority may not hold the key of a new one yet when the roster tells of it.
const respondAgain = 10 * time.Second

// followIssuers gives new issuers a responder, and ends those of distrusted
// ones, until ctx ends.
func (s *server) followIssuers(ctx context.Context) error {
	changed := make(chan struct{}, 1)
	defer s.house.Roster.Watch(func(c roster.Change) {
		if c.Trust {
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	})()
	again := time.NewTimer(respondAgain) // for those that had none at the start
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-again.C:
		}
		s.mu.Lock()
		all := s.respond(ctx, *s.inUse.Load())
		s.mu.Unlock()
		if !all {
			again.Reset(respondAgain)
		}
	}
}

func (s *server) newResponder(issuer string) (*agent.Keeper, error) {
	issue := func(ctx context.Context, spki []byte) ([][]byte, error) {
		issued, err := s.house.Authority.IssueResponder(ctx, issuer, spki)
		return issued.Chain, err
	}
	return agent.NewKeeper(filepath.Join(s.house.Dir, respondersFolder, issuer), issue, agent.Options{
		Log: s.log, Now: s.app.Now, Fits: func(leaf *x509.Certificate) bool { return s.ours(leaf) },
	})
}

func (r *responders) has(issuer string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.byIssuer[issuer]
	return ok
}

func (r *responders) put(issuer string, k keeper) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byIssuer == nil {
		r.byIssuer = map[string]keeper{}
	}
	r.byIssuer[issuer] = k
}

func (r *responders) drop(issuer string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k, ok := r.byIssuer[issuer]; ok {
		k.stop()
		delete(r.byIssuer, issuer)
	}
}
