package cli

import (
	"net/http"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/publish"
	"github.com/postern-project/postern/internal/scep"
)

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
