// Package access answers who could get in where, and why: for everybody at
// once, for one name, and for the requests of a recorded access log under
// another configuration. It decides with the rules that the gateway decides
// with, without a gateway.
package access

import (
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/refusal"
	"github.com/postern-project/postern/internal/rule"
)

// A Part is a part of a site with what it asks.
type Part struct {
	// Match is the pattern as it was written; "" for what no route matches.
	Match string
	List  rule.List
	When  *rule.Condition
	Audit bool
}

// A Site is one host with its parts. It never changes.
type Site struct {
	Host   string
	Rest   Part
	Parts  []Part
	routes *rule.Routes
}

// NewSite returns the site of parts, each of which is for its pattern.
func NewSite(host string, rest Part, patterns []rule.Pattern, parts []Part) (Site, error) {
	if len(patterns) != len(parts) {
		return Site{}, errors.New("each part of a site has a pattern")
	}
	routes, err := rule.NewRoutes(patterns)
	if err != nil {
		return Site{}, err
	}
	return Site{Host: host, Rest: rest, Parts: parts, routes: routes}, nil
}

// Part returns the part that a request is for. The path is canonical.
func (s Site) Part(method, path string) Part {
	if i, ok := s.routes.Find(method, path); ok {
		return s.Parts[i]
	}
	return s.Rest
}

// A Policy is a whole configuration's worth of rules.
type Policy struct {
	Sites    []Site
	Networks rule.Networks
	Zone     *time.Location
}

// Site returns the site of a canonical host.
func (p Policy) Site(host string) (Site, bool) {
	for _, s := range p.Sites {
		if s.Host == host {
			return s, true
		}
	}
	return Site{}, false
}

// An Asker is who asks for what. What is not known of a request leaves
// questions about it open.
type Asker struct {
	Name   identity.Name // zero for a stranger
	Groups []identity.Group
	// Closed is why the name does not count at all, such as suspended; "" for
	// none.
	Closed      refusal.Code
	Certificate *rule.Certificate // nil when it is not known
	KeyKnown    bool              // Certificate.Key and Hardware are
	Address     netip.Addr
	Method      string
	Path        string            // "" when it is not known
	Headers     map[string]string // nil when they are not known
	Time        time.Time
}

// An Answer says whether somebody gets in.
type Answer struct {
	Verdict Verdict
	// Code is why not.
	Code refusal.Code
	// Why says it in words.
	Why string
}

// A Verdict is yes, no, or that it depends on what is not known.
type Verdict uint8

// The verdicts. The zero one is no.
const (
	No Verdict = iota
	Depends
	Yes
)

// String returns yes, no or depends.
func (v Verdict) String() string { return [...]string{"no", "depends", "yes"}[v] }

// MarshalText returns what String does.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// Decide says whether a may use the part p of the site at host.
func (p Policy) Decide(host string, part Part, a Asker) Answer {
	named := Answer{Code: a.Closed, Why: closedWords(a)}
	if a.Closed == "" && !a.Name.IsZero() {
		return p.ask(host, part, a, rule.Subject{Name: a.Name, Groups: a.Groups, Networks: p.networksOf(a.Address)})
	}
	// Whoever may come with no certificate may come with a bad one.
	stranger := p.ask(host, part, a, rule.Subject{Networks: p.networksOf(a.Address)})
	if stranger.Verdict != No || stranger.Code == refusal.Condition {
		if !a.Name.IsZero() {
			stranger.Why += ", as a stranger"
		}
		return stranger
	}
	if a.Name.IsZero() {
		named = Answer{Code: refusal.NoCertificate, Why: "strangers are not on the list"}
	}
	return named
}

func closedWords(a Asker) string {
	if a.Closed == refusal.NoCertificate {
		return a.Name.String() + " has no good certificate"
	}
	return a.Name.String() + ": " + strings.ToLower(refusal.Lookup(a.Closed).Title)
}

func (p Policy) ask(host string, part Part, a Asker, s rule.Subject) Answer {
	d := part.List.Decide(s)
	if !d.Allow {
		return Answer{Code: refusal.NotOnList, Why: d.String()}
	}
	if part.When == nil {
		return Answer{Verdict: Yes, Why: d.String()}
	}
	if open := a.unknown(part.When, s); open != "" {
		return Answer{Verdict: Depends, Why: d.String() + ", if " + part.When.String()}
	}
	f := rule.Facts{Subject: s, Address: a.Address, Host: host, Method: a.Method, Path: a.Path, Headers: a.Headers, Time: a.Time.In(p.zone())}
	if a.Certificate != nil {
		f.Certificate = *a.Certificate
	}
	switch yes, err := part.When.Holds(&f); {
	case err != nil:
		return Answer{Code: refusal.Condition, Why: "the condition cannot be answered: " + err.Error()}
	case !yes:
		return Answer{Code: refusal.Condition, Why: "not so: " + part.When.String()}
	}
	return Answer{Verdict: Yes, Why: d.String() + ", and the condition holds"}
}

// unknown returns a word of the condition whose value is not known.
func (a Asker) unknown(c *rule.Condition, s rule.Subject) string {
	certificate := !s.Name.IsZero() && a.Certificate == nil
	for word, missing := range map[string]bool{
		"certificate.age": certificate, "certificate.left": certificate, "certificate.profile": certificate,
		"certificate.key": certificate || !a.KeyKnown, "certificate.hardware": certificate || !a.KeyKnown,
		"client.address": !a.Address.IsValid(), "client.networks": !a.Address.IsValid(),
		"request.method": a.Method == "", "request.path": a.Path == "",
	} {
		if missing && c.Asks(word) {
			return word
		}
	}
	for _, h := range c.Headers() {
		if _, ok := a.Headers[h]; !ok {
			return h
		}
	}
	return ""
}

func (p Policy) zone() *time.Location {
	if p.Zone == nil {
		return time.UTC
	}
	return p.Zone
}

// networksOf returns the networks of an address that can be in one: loopback
// never is.
func (p Policy) networksOf(a netip.Addr) []rule.Network {
	if !a.IsValid() || a.Unmap().IsLoopback() {
		return nil
	}
	return p.Networks.Of(a)
}
