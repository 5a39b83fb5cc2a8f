package config

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"golang.org/x/net/http/httpguts"

	"github.com/postern-project/postern/internal/gateway"
)

// parseMode reads whether refusals are carried out.
func parseMode(s string, audit *bool) error {
	switch s {
	case "audit":
		*audit = true
	case "enforce":
		*audit = false
	default:
		return fmt.Errorf("%q is neither enforce nor audit", s)
	}
	return nil
}

// cors reads which other sites' pages may use a route.
func (r *reader) cors(n ast.Node, to **gateway.CORS) {
	c := &gateway.CORS{MaxAge: 10 * time.Minute}
	r.section(n, "cors", map[string]func(ast.Node){
		"origins": r.words("origins", parseOrigin, &c.Origins),
		"methods": r.words("methods", parseMethod, &c.Methods),
		"headers": r.words("headers", parseField, &c.Headers),
		"expose":  r.words("expose", parseField, &c.Expose),
		"max_age": r.word("max_age", func(s string) (err error) {
			c.MaxAge, err = time.ParseDuration(s)
			if err == nil && (c.MaxAge < 0 || c.MaxAge > 24*time.Hour) {
				err = errors.New("between 0s and 24h")
			}
			return err
		}),
	})
	switch {
	case len(c.Origins) == 0:
		r.fail(at(n), "name them, such as origins: [https://app.example.com]", "cors: no origins")
	case slices.Contains(c.Origins, gateway.AnyOrigin) && len(c.Origins) > 1:
		r.fail(at(n), "", `cors: "*" stands for all origins, so it stands alone`)
	}
	*to = c
}

// crossSite reads which other sites' pages may send what changes things.
func (r *reader) crossSite(n ast.Node, to *gateway.CrossSite) {
	*to = gateway.CrossSite{}
	items := r.list(n, "cross_site")
	for i, it := range items {
		switch origin, err := parseOrigin(it.text); {
		case it.text == "allow":
			to.Any = true
		case it.text == "refuse":
		case err != nil || origin == gateway.AnyOrigin:
			r.fail(it.at, "write refuse (the default), allow, or origins such as [https://app.example.com]", "cross_site, entry %d: %q is no origin", i+1, it.text)
		default:
			to.Origins = append(to.Origins, origin)
		}
	}
	if len(items) > 1 && slices.ContainsFunc(items, func(it item) bool { return it.text == "allow" || it.text == "refuse" }) {
		r.fail(at(n), "", "cross_site: allow and refuse stand alone")
	}
}

// words reads a list of words, each as parse has it.
func (r *reader) words(what string, parse func(string) (string, error), to *[]string) func(ast.Node) {
	return func(n ast.Node) {
		for i, it := range r.list(n, what) {
			word, err := parse(it.text)
			if err != nil {
				r.fail(it.at, "", "%s, entry %d: %v", what, i+1, err)
				continue
			}
			*to = append(*to, word)
		}
	}
}

// parseOrigin returns the origin as browsers write it.
func parseOrigin(s string) (string, error) {
	if s == gateway.AnyOrigin {
		return s, nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || strings.Trim(u.Path, "/") != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf(`%q is no origin: write https://HOST[:PORT], or "*" for all`, s)
	}
	host, err := ParseHost(u.Hostname())
	if err != nil {
		return "", err
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	port := u.Port()
	if port == "" || u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		return u.Scheme + "://" + host, nil
	}
	return u.Scheme + "://" + host + ":" + port, nil
}

func parseMethod(s string) (string, error) {
	if !httpguts.ValidHeaderFieldName(s) || s != strings.ToUpper(s) {
		return "", fmt.Errorf("%q is no method: methods are in capitals, such as PUT", s)
	}
	return s, nil
}

func parseField(s string) (string, error) {
	if !httpguts.ValidHeaderFieldName(s) {
		return "", fmt.Errorf("%q is no header field's name", s)
	}
	return strings.ToLower(s), nil
}

// policyWarnings returns what is odd in what a site or route asks.
func policyWarnings(p gateway.Policy, strangers bool, warn func(msg, hint string)) {
	if p.Audit {
		warn("is in audit mode: nobody is turned away, it is only logged", "say mode: enforce when the log shows what you expect")
	}
	if p.CORS != nil && slices.Contains(p.CORS.Origins, gateway.AnyOrigin) && !strangers {
		warn(`has cors with origin "*", whose pages come without a certificate, and asks for one`, "name the origins")
	}
}

// fitsHandshake refuses an audit mode where refusals are made before anything
// could be let pass.
func (r *reader) fitsHandshake(p pair, s Site, what string) {
	audit := s.Audit || slices.ContainsFunc(s.Routes, func(route Route) bool { return route.Audit })
	if audit && (s.Stealth || len(s.TCP) > 0) {
		r.fail(p.at, "drop mode: audit", "%s turns people away in the handshake, so audit mode cannot let them in", what)
	}
	if len(s.TCP) > 0 && len(s.Limits) > 0 {
		r.fail(p.at, "drop limits", "%s has limits, which count requests", what)
	}
	if len(s.TCP) > 0 && (s.CrossSite.Any || len(s.CrossSite.Origins) > 0) {
		r.fail(p.at, "drop cross_site", "%s has cross_site, which is for HTTP", what)
	}
	if len(s.TCP) > 0 && s.CORS != nil {
		r.fail(p.at, "drop cors", "%s has cors, which is for HTTP", what)
	}
}
