package config

import (
	"crypto/tls"
	"fmt"
	"maps"
	"slices"

	"github.com/goccy/go-yaml/ast"

	"github.com/postern-project/postern/internal/rule"
)

func (r *reader) sites(n ast.Node) []Site {
	var all []Site
	seen := map[string]pair{}
	for _, p := range r.pairs(n, "sites") {
		host, err := ParseHost(p.key)
		if err != nil {
			r.fail(p.at, "", "%v", err)
			continue
		}
		if first, twice := seen[host]; twice {
			r.fail(p.at, "", "%s", duplicate(p.key, first.key, host, first.at.line))
			continue
		}
		seen[host] = p
		s := r.site(p)
		s.Host, s.at, s.order = host, p.at, len(all)
		r.fitsCertificate(p.at, host, s.Certificate)
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Site) int { return compareHost(a, b.Host) })
	return all
}

func duplicate(written, first, host string, line int) string {
	if written == first {
		return fmt.Sprintf("site %s is on line %d already", host, line)
	}
	return fmt.Sprintf("site %s is the same host as %s on line %d", written, first, line)
}

func (r *reader) site(p pair) Site {
	s := Site{MinVersion: tls.VersionTLS13, mentions: newMentions()}
	what := "site " + p.key
	var routes, trust ast.Node
	keys := r.policyKeys(&s.List, &s.Policy, s.mentions)
	for _, name := range []string{"allow", "deny", "when"} {
		read := keys[name]
		keys[name] = func(n ast.Node) { s.hasRest = true; read(n) }
	}
	maps.Copy(keys, map[string]func(ast.Node){
		"static":      r.word("static", func(v string) (err error) { s.Static, err = parseStatic(v, r.base); return err }),
		"proxy":       r.targets("proxy", &s.Proxy, parseProxy),
		"tcp":         r.targets("tcp", &s.TCP, parseTCP),
		"upstream":    func(n ast.Node) { r.upstream(n, &s.Upstream) },
		"starttls":    r.word("starttls", func(v string) (err error) { s.StartTLS, err = parseStartTLS(v); return err }),
		"certificate": func(n ast.Node) { r.serverCertificate(n, &s.Certificate) },
		"elsewhere":   r.boolean("elsewhere", &s.Elsewhere),
		"identity":    func(n ast.Node) { s.Identity = r.forms(n) },
		"stealth":     r.boolean("stealth", &s.Stealth),
		"http3":       r.word("http3", func(v string) (err error) { s.HTTP3, err = parseHTTP3(v); return err }),
		"tls_min":     r.word("tls_min", func(v string) (err error) { s.MinVersion, err = parseTLS(v); return err }),
		"routes":      func(n ast.Node) { routes = n },
		"mode":        r.mode(&s),
		"trust":       func(n ast.Node) { trust = n },
	})
	keys["access_requests"] = r.boolean("access_requests", &s.AccessRequests)
	keys["app_tokens"] = func(n ast.Node) { s.AppTokens = r.appTokens(n) }
	keys["refusal_detail"] = r.word("refusal_detail", func(v string) (err error) { s.RefusalDetail, err = parseRefusalDetail(v); return err })
	r.section(p.value, what, keys)
	if routes != nil { // last, so that the site's own list is known
		r.routes(routes, &s, what)
	}
	if trust != nil {
		r.trust(trust, &s, what)
	}
	r.partnersExist(s, what)
	r.fitsHandshake(p, s, what)
	if !r.oneTarget(p, what) {
		return s // the rest depends on which one is meant
	}
	r.fitsTCP(p, s, what)
	r.fitsHTTP3(p, s, what)
	r.fitsElsewhere(p, s, what)
	r.fitsMode(p, s, what)
	r.fitsAsking(p, s, what)
	r.fitsTokens(p, s, what)
	r.fitsUpstream(p, s, what)
	return s
}

// oneTarget sees to it that a site says what stands behind it, once, and
// reports whether it does.
func (r *reader) oneTarget(p pair, what string) bool {
	var targets []string
	if _, null := p.value.(*ast.NullNode); !null && p.value != nil {
		switch p.value.(type) {
		case *ast.MappingNode, *ast.MappingValueNode:
		default:
			return false // section has complained
		}
		for _, q := range r.pairs(p.value, what) {
			if q.key == "static" || q.key == "proxy" || q.key == "tcp" || q.key == "elsewhere" {
				targets = append(targets, q.key)
			}
		}
	}
	switch len(targets) {
	case 0:
		r.fail(p.at, "say static: FOLDER, proxy: http://HOST:PORT or tcp: HOST:PORT", "%s has nothing behind it", what)
	case 1:
		return true
	default:
		if targets[0] != targets[1] { // else section has complained
			r.fail(p.at, "drop one of the two", "%s has both %s and %s", what, targets[0], targets[1])
		}
	}
	return false
}

func (r *reader) terms(n ast.Node, what string, m mentions) []rule.Term {
	var terms []rule.Term
	for i, it := range r.list(n, what) {
		t, err := rule.ParseTerm(it.text)
		if err != nil {
			r.fail(it.at, termHint(it.text), "%s, entry %d: %v", what, i+1, err)
			continue
		}
		terms = append(terms, t)
		m.note(t, it.at)
	}
	return terms
}

func termHint(s string) string {
	if near := Nearest(s, []string{"enrolled", "strangers"}); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return "an entry is a name such as ben or ben/phone, group:NAME, network:NAME, foreign:NAME, enrolled or strangers"
}

func parseTLS(s string) (uint16, error) {
	switch s {
	case "1.3":
		return tls.VersionTLS13, nil
	case "1.2":
		return tls.VersionTLS12, nil
	}
	return 0, fmt.Errorf(`%q is not served: write "1.3" or "1.2"`, s)
}
