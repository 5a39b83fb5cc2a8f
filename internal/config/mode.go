package config

import (
	"fmt"

	"github.com/goccy/go-yaml/ast"
)

// What a site asks of a visitor in the handshake.
const (
	modeAsk     = "ask"     // a certificate, and a page explains its absence
	modeStealth = "stealth" // a good certificate, or there is no handshake
	modeOff     = "off"     // nothing
	modeAudit   = "audit"   // as ask, and refusals are logged and not carried out
	modeEnforce = "enforce" // as ask, for who thinks of audit
)

var modes = []string{modeAsk, modeStealth, modeOff, modeAudit, modeEnforce}

// mode reads what a site asks for; stealth: true is the older way to say one
// of its words.
func (r *reader) mode(s *Site) func(ast.Node) {
	return func(n ast.Node) {
		r.word("mode", func(v string) error {
			switch v {
			case modeAsk, modeEnforce:
			case modeAudit:
				s.Audit = true
			case modeStealth:
				s.Stealth = true
			case modeOff:
				s.NeverAsks = true
			default:
				if near := Nearest(v, modes); near != "" {
					return fmt.Errorf("%q is no mode: did you mean %q?", v, near)
				}
				return fmt.Errorf("%q is no mode: write ask, stealth, off or audit", v)
			}
			return nil
		})(n)
	}
}

// fitsMode sees to it that a site's mode is said once, and can be kept.
func (r *reader) fitsMode(p pair, s Site, what string) {
	said := map[string]bool{}
	if _, ok := p.value.(ast.MapNode); ok {
		for _, q := range r.pairs(p.value, what) {
			said[q.key] = true
		}
	}
	switch {
	case said["mode"] && said["stealth"]:
		r.fail(p.at, "drop stealth: 'mode: stealth' says it", "%s has both mode and stealth", what)
	case s.NeverAsks && len(s.TCP) > 0:
		r.fail(p.at, "drop mode", "%s has mode: off, and a tcp site lets in by certificate only", what)
	}
}

// modeWarning says what of a site can never be reached.
func (s Site) modeWarning() string {
	if !s.NeverAsks || s.List.AdmitsStrangers() || s.List.UsesNetworks() || len(s.Routes) > 0 || len(s.List.Allow) == 0 {
		return ""
	}
	return fmt.Sprintf("site %s turns everybody away: mode: off asks nobody for a certificate, and its list lets in nobody without one", s.Host)
}
