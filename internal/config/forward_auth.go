package config

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"

	"github.com/goccy/go-yaml/ast"
	"golang.org/x/net/http/httpguts"

	"github.com/postern-project/postern/internal/gateway"
	"github.com/postern-project/postern/internal/rule"
)

// ForwardAuth says where other servers, which end TLS in our place, ask
// whether a request may pass. The zero value is nowhere.
type ForwardAuth struct {
	// Socket is the absolute path of a unix socket, and Mode who may connect to
	// it.
	Socket string
	Mode   fs.FileMode
	// Host is a site of ours where those on List ask.
	Host string
	List rule.List
	// Header holds the client's certificate.
	Header string
}

func (r *reader) forwardAuth(n ast.Node) ForwardAuth {
	f := ForwardAuth{Mode: 0o660, Header: gateway.DefaultForwardHeader}
	r.section(n, "forward_auth", map[string]func(ast.Node){
		"socket": r.word("socket", func(v string) error { f.Socket = r.absolute(v); return checkSocket(f.Socket) }),
		"mode":   r.word("mode", func(v string) (err error) { f.Mode, err = parseSocketMode(v); return err }),
		"host":   r.word("host", func(v string) (err error) { f.Host, err = ParseHost(v); return err }),
		"allow":  func(n ast.Node) { f.List.Allow = r.terms(n, "allow", newMentions()) },
		"header": r.word("header", func(v string) (err error) { f.Header, err = parseHeader(v); return err }),
	})
	named := func(t rule.Term) bool { _, ok := t.Name(); return ok }
	switch {
	case f.Socket == "" && f.Host == "":
		r.fail(at(n), "write socket: /run/postern/auth.sock, or host: auth.example.com with allow: [services/nginx]", "forward_auth: nowhere to ask")
	case f.Host == "" && len(f.List.Allow) > 0:
		r.fail(at(n), "add host:, or drop allow: who reaches the socket is a matter of its mode", "forward_auth: allow without a host")
	case f.Host != "" && (len(f.List.Allow) == 0 || slices.ContainsFunc(f.List.Allow, func(t rule.Term) bool { return !named(t) })):
		r.fail(at(n), "write allow: [services/nginx]", "forward_auth: a host is for services that are named: whoever asks there can pretend to hold any certificate")
	}
	return f
}

func checkSocket(path string) error {
	if path == "" || len(path) > 100 {
		return errors.New("a socket's path has 1 to 100 bytes")
	}
	return nil
}

func parseSocketMode(s string) (fs.FileMode, error) {
	n, err := strconv.ParseUint(s, 8, 9)
	if err != nil || n&0o111 != 0 || n&0o600 != 0o600 {
		return 0, fmt.Errorf("%q is no mode of a socket: write \"0600\", \"0660\" or \"0666\"", s)
	}
	return fs.FileMode(n), nil
}

func parseHeader(s string) (string, error) {
	if !httpguts.ValidHeaderFieldName(s) {
		return "", fmt.Errorf("%q is no name of a header field", s)
	}
	return s, nil
}

// forwardHostIsNoSite keeps the place where others ask apart from the sites.
func (r *reader) forwardHostIsNoSite(c Config) {
	if s, taken := c.Site(c.ForwardAuth.Host); taken || c.ForwardAuth.Host != "" && c.ForwardAuth.Host == c.Public.Host {
		r.fail(s.at, "give it a name of its own, such as auth."+c.ForwardAuth.Host, "host %s of forward_auth is something else already", c.ForwardAuth.Host)
	}
}

// fitsElsewhere refuses what another server's question cannot answer: it tells
// who asks, and its word about where from is not taken.
func (r *reader) fitsElsewhere(p pair, s Site, what string) {
	if !s.Elsewhere {
		return
	}
	const hint = "the other server knows the client's address: let it ask"
	check := func(at position, what string, l rule.List, p gateway.Policy) {
		switch {
		case l.UsesNetworks():
			r.fail(at, hint, "%s names a network, and by forward_auth nobody is in one", what)
		case p.When.Asks("client.networks"), p.When.Asks("client.address"):
			r.fail(at, hint, "%s has a condition on the client's address, which forward_auth does not tell", what)
		}
		for _, limit := range p.Limits {
			if limit.Per == gateway.PerAddress || limit.Concurrent > 0 {
				r.fail(at, "count by identity or group, and by rate", "%s has a limit by address or of requests at once, and forward_auth tells neither", what)
			}
		}
	}
	check(p.at, what, s.List, s.Policy)
	for _, route := range s.Routes {
		check(route.at, "route "+route.Match.String()+" of "+what, route.List, route.Policy)
	}
}
