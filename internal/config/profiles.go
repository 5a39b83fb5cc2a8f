package config

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/postern-project/postern/internal/profile"
)

// profiles reads the kinds of certificates, which stand beside the built-in
// ones or in their place.
func (r *reader) profiles(n ast.Node) profile.Set {
	set, seen := profile.Builtins(), map[string]position{}
	for _, p := range r.pairs(n, "profiles") {
		if first, twice := seen[p.key]; twice {
			r.fail(p.at, "", "profile %s is on line %d already", p.key, first.line)
			continue
		}
		seen[p.key] = p.at
		spec, failed := profile.Spec{Name: p.key}, len(r.problems)
		known := map[string]func(ast.Node){}
		for _, key := range profile.Keys() {
			known[key] = func(n ast.Node) { r.profileKey(&spec, key, n) }
		}
		r.section(p.value, "profile "+p.key, known)
		if len(r.problems) > failed {
			continue
		}
		made, err := profile.New(spec)
		if err != nil {
			r.fail(p.at, "'postern check --print' shows profiles that are right", "%v", err)
			continue
		}
		set = set.With(made)
	}
	return set
}

func (r *reader) profileKey(spec *profile.Spec, key string, n ast.Node) {
	var values []string
	for _, it := range r.list(n, key) {
		values = append(values, it.text)
	}
	if err := spec.Set(key, values); err != nil {
		r.fail(at(n), "", "%s: %v", key, err)
	}
}

// parsePlainURL reads the address that stands in certificates. It is one
// without TLS, since whoever follows it is about to verify a certificate (RFC
// 5280 section 8).
func parsePlainURL(s string) (string, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "", err
	case u.Scheme != "http":
		return "", fmt.Errorf("%q does not begin with http://: whoever asks for revocations cannot verify a certificate first", s)
	case u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || len(s) > 200:
		return "", fmt.Errorf("%q is no address such as http://pki.example.com", s)
	}
	return strings.TrimSuffix(u.String(), "/"), nil
}
