package config

import (
	"fmt"
	"slices"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/postern-project/postern/internal/gateway"
	"github.com/postern-project/postern/internal/profile"
)

// maxRenewExpired bounds for how long a key may prove who held it: whoever
// finds an old device in a drawer must not come in with it for ever.
const maxRenewExpired = 90 * 24 * time.Hour

// parseRenewExpired reads for how long after its end a certificate can still
// be renewed.
func parseRenewExpired(s string) (time.Duration, error) {
	d, err := profile.ParseLifetime(s)
	if err != nil {
		return 0, err
	}
	if d < 0 || d > maxRenewExpired {
		return 0, fmt.Errorf("%s: between 0s and 90d", s)
	}
	return d, nil
}

// renewUnproven reads which certificates a browser can renew. That a profile is
// there is looked at once all of them are read.
func (r *reader) renewUnproven(n ast.Node) []string {
	names := []string{}
	for _, it := range r.list(n, "renew_unproven") {
		names = append(names, it.text)
		r.unproven = append(r.unproven, it)
	}
	return names
}

// fitsUnproven refuses profiles that nobody has declared.
func (r *reader) fitsUnproven(c Config) {
	for _, it := range r.unproven {
		if !slices.Contains(c.Profiles.Names(), it.text) {
			r.fail(it.at, "the built-in ones are device, service, server and admin; others stand under 'profiles:'", "renew_unproven: there is no profile %q", it.text)
		}
	}
}

// fitsAsking sees to it that there is a page on which access can be asked for.
func (r *reader) fitsAsking(p pair, s Site, what string) {
	switch {
	case !s.AccessRequests:
	case s.Stealth || len(s.TCP) > 0:
		r.fail(p.at, "drop one of the two", "%s has access_requests, and shows strangers no page", what)
	case s.Elsewhere || s.NeverAsks:
		r.fail(p.at, "drop access_requests", "%s has access_requests, and asks nobody for a certificate", what)
	}
}

// appTokens reads the ways in which a site takes tokens of apps.
func (r *reader) appTokens(n ast.Node) (t gateway.AppTokens) {
	for _, it := range r.list(n, "app_tokens") {
		switch it.text {
		case "header":
			t.Header = true
		case "path":
			t.Path = true
		default:
			r.fail(it.at, "write [header], [path] or both", "app_tokens: %q is no way to send a token", it.text)
		}
	}
	return t
}

// fitsTokens sees to it that somebody without a certificate is listened to.
func (r *reader) fitsTokens(p pair, s Site, what string) {
	switch {
	case s.AppTokens == gateway.AppTokens{}:
	case s.Stealth || len(s.TCP) > 0:
		r.fail(p.at, "drop one of the two", "%s has app_tokens, and lets nobody ask without a certificate", what)
	case s.Elsewhere || s.NeverAsks:
		r.fail(p.at, "drop app_tokens", "%s has app_tokens, and asks nobody who they are", what)
	}
}
