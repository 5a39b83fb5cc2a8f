package config

import (
	"crypto/x509"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/postern-project/postern/internal/chain"
	"github.com/postern-project/postern/internal/confine"
	"github.com/postern-project/postern/internal/upstream"
)

// Upstream says how what stands behind a site is reached. Zero durations and
// sizes have the defaults that the upstream package names.
type Upstream struct {
	Balance upstream.Balance // "" for the default
	Retries int              // on how many others; 0 for the default, negative for none
	Health  upstream.Health
	// Connect bounds connecting, Answer the wait for an answer to begin, Write
	// one write that is stuck, and Idle ends connections that rest.
	Connect, Answer, Write, Idle time.Duration
	// CA holds the roots that verify an https upstream, in DER; none for the
	// system's.
	CA         []*x509.Certificate
	ServerName string
	// Certificate is what the gateway shows to an https upstream.
	Certificate ClientCertificate
	// Separate keeps the connections of each identity apart.
	Separate bool
	// MaxBody is the size of a request's body in bytes; 0 for no limit.
	MaxBody int64
	// SendProxy has connections to what is behind a tcp site begin with a PROXY
	// header of version 2.
	SendProxy bool
}

// ClientCertificate is one of our own authority's (Own), one in files, or
// none.
type ClientCertificate struct {
	Own       bool
	Cert, Key string // absolute paths
}

// IsZero reports whether there is none.
func (c ClientCertificate) IsZero() bool { return c == ClientCertificate{} }

// Key tells sites apart behind which something else stands, or the same thing
// that is reached in another way.
func (s Site) Key() string {
	u := s.Upstream
	ca := make([]string, len(u.CA))
	for i, c := range u.CA {
		ca[i] = string(c.Raw)
	}
	u.CA = nil
	own := ""
	if u.Certificate.Own {
		own = s.Host // whose certificate it is
	}
	return fmt.Sprintf("%q %q %q %v %+v %q %q", s.Static, s.Proxy, s.TCP, s.Elsewhere, u, ca, own)
}

// targets reads one address or a list of them.
func (r *reader) targets(what string, to *[]string, parse func(string) (string, error)) func(ast.Node) {
	return func(n ast.Node) {
		items := r.list(n, what)
		if len(items) == 0 {
			r.fail(at(n), "", "%s: no address", what)
		}
		for _, it := range items {
			v, err := parse(it.text)
			switch {
			case err != nil:
				r.fail(it.at, "", "%s: %v", what, err)
			case slices.Contains(*to, v):
				r.fail(it.at, "", "%s: %s is written twice", what, v)
			default:
				*to = append(*to, v)
			}
		}
	}
}

func (r *reader) upstream(n ast.Node, u *Upstream) {
	r.section(n, "upstream", map[string]func(ast.Node){
		"balance":        r.word("balance", func(v string) (err error) { u.Balance, err = upstream.ParseBalance(v); return err }),
		"retries":        r.word("retries", func(v string) (err error) { u.Retries, err = parseRetries(v); return err }),
		"health":         func(n ast.Node) { r.health(n, &u.Health) },
		"timeouts":       func(n ast.Node) { r.timeouts(n, u) },
		"ca":             r.word("ca", func(v string) (err error) { u.CA, err = readCA(r.path(v)); return err }),
		"server_name":    r.word("server_name", func(v string) (err error) { u.ServerName, err = ParseHost(v); return err }),
		"certificate":    func(n ast.Node) { r.clientCertificate(n, &u.Certificate) },
		"pool":           r.word("pool", func(v string) (err error) { u.Separate, err = parsePool(v); return err }),
		"proxy_protocol": r.word("proxy_protocol", func(v string) (err error) { u.SendProxy, err = parseProxyVersion(v); return err }),
		"max_body":       r.word("max_body", func(v string) (err error) { u.MaxBody, err = parseSize(v); return err }),
	})
}

func (r *reader) health(n ast.Node, h *upstream.Health) {
	r.section(n, "health", map[string]func(ast.Node){
		"path":    r.word("path", func(v string) (err error) { h.Path, err = parseHealthPath(v); return err }),
		"host":    r.word("host", func(v string) (err error) { h.Host, err = ParseHost(v); return err }),
		"every":   r.duration("every", &h.Every),
		"timeout": r.duration("timeout", &h.Timeout),
	})
}

func (r *reader) timeouts(n ast.Node, u *Upstream) {
	r.section(n, "timeouts", map[string]func(ast.Node){
		"connect": r.duration("connect", &u.Connect),
		"answer":  r.duration("answer", &u.Answer),
		"write":   r.duration("write", &u.Write),
		"idle":    r.duration("idle", &u.Idle),
	})
}

func (r *reader) clientCertificate(n ast.Node, c *ClientCertificate) {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		r.section(n, "certificate", map[string]func(ast.Node){
			"cert": r.word("cert", func(v string) error { c.Cert = r.path(v); return readable(c.Cert) }),
			"key":  r.word("key", func(v string) error { c.Key = r.path(v); return readable(c.Key) }),
		})
		if (c.Cert == "") != (c.Key == "") || c.IsZero() {
			r.fail(at(n), "write certificate: {cert: FILE, key: FILE}", "certificate: both the certificate and its key are needed")
		}
	default:
		r.word("certificate", func(v string) error {
			if v != "postern" {
				return fmt.Errorf("%q is no certificate: write postern, for one of our own, or {cert: FILE, key: FILE}", v)
			}
			c.Own = true
			return nil
		})(n)
	}
}

// path returns a path of the file as an absolute one, and remembers that it is
// read.
func (r *reader) path(p string) string {
	abs := r.absolute(p)
	if abs != "" {
		r.reads = append(r.reads, abs)
	}
	return abs
}

// absolute returns a path of the file as an absolute one.
func (r *reader) absolute(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	if abs, err := filepath.Abs(filepath.Join(r.base, p)); err == nil {
		return abs
	}
	return p
}

func readable(path string) error {
	f, err := confine.Open(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, plain(err))
	}
	return f.Close()
}

// readCA reads a file of roots. One that is missing, empty or broken is an
// error and never the system's roots.
func readCA(path string) ([]*x509.Certificate, error) {
	f, err := confine.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, plain(err))
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, plain(err))
	}
	if len(data) > MaxSize {
		return nil, fmt.Errorf("%s: more than %d bytes, which is no file of roots", path, MaxSize)
	}
	certs, err := chain.ParsePEM(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return certs, nil
}

// duration reads a time such as 500ms, 10s or 5m, from a millisecond to a day.
func (r *reader) duration(what string, to *time.Duration) func(ast.Node) {
	return r.word(what, func(v string) error {
		d, err := time.ParseDuration(v)
		if err != nil || d < time.Millisecond || d > 24*time.Hour {
			return fmt.Errorf("%q is no time from 1ms to 24h: write one such as 500ms, 10s or 5m", v)
		}
		*to = d
		return nil
	})
}

func parseRetries(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 4)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is no number from 0 to 15", s)
	case n == 0:
		return -1, nil
	}
	return int(n), nil
}

func parseHealthPath(s string) (string, error) {
	if !strings.HasPrefix(s, "/") || strings.ContainsAny(s, " \t\r\n#") {
		return "", fmt.Errorf("%q is no path such as /healthz", s)
	}
	return s, nil
}

func parsePool(s string) (separate bool, err error) {
	switch s {
	case "shared":
		return false, nil
	case "per-identity":
		return true, nil
	}
	return false, fmt.Errorf("%q is no kind of pool: write shared or per-identity", s)
}

// parseSize reads a number of bytes with a unit: KiB, MiB, GiB, KB, MB, GB or
// none.
func parseSize(s string) (int64, error) {
	digits := strings.TrimRight(s, "KMGiB")
	unit, known := map[string]int64{
		"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "KB": 1e3, "MB": 1e6, "GB": 1e9,
	}[s[len(digits):]]
	n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 32)
	if err != nil || !known || n < 1 {
		return 0, fmt.Errorf("%q is no size: write one such as 500KiB, 10MiB or 1GiB", s)
	}
	return n * unit, nil
}

// fitsUpstream refuses what the site's target cannot have.
func (r *reader) fitsUpstream(p pair, s Site, what string) {
	u := s.Upstream
	all := func(scheme string) bool {
		return len(s.Proxy) > 0 && !slices.ContainsFunc(s.Proxy, func(t string) bool { return !strings.HasPrefix(t, scheme) })
	}
	ofTLS := u.CA != nil || u.ServerName != "" || !u.Certificate.IsZero()
	ofHTTP := ofTLS || u.Retries != 0 || u.Health.Path != "" || u.Health.Host != "" || u.Answer != 0 || u.Idle != 0 || u.Separate || u.MaxBody != 0
	switch {
	case s.Elsewhere && s.Key() != (Site{Elsewhere: true}).Key():
		r.fail(p.at, "drop it: the other server knows its application", "%s has upstream, and is served elsewhere", what)
	case s.Static != "" && s.Key() != (Site{Static: s.Static}).Key():
		r.fail(p.at, "drop it, or say proxy: in place of static:", "%s has upstream, and a folder has none", what)
	case len(s.Identity) > 0 && len(s.Proxy) == 0:
		r.fail(p.at, "drop identity; a tcp site has upstream: {proxy_protocol: v2}", "%s says how an application is told who asks, and has none that is told in HTTP", what)
	case len(s.TCP) > 0 && ofHTTP:
		r.fail(p.at, "a tcp site knows balance, timeouts: {connect, write} and health: {every}", "%s has an upstream setting that is for proxy: only", what)
	case len(s.Proxy) > 0 && u.SendProxy:
		r.fail(p.at, "an application learns the client's address from X-Forwarded-For", "%s sends a PROXY header, which is for tcp sites", what)
	case ofTLS && !all("https://"):
		r.fail(p.at, "begin each address with https://, or drop ca, server_name and certificate", "%s says how TLS is spoken to an upstream that speaks none", what)
	case u.Separate && slices.ContainsFunc(s.Proxy, func(t string) bool { return strings.HasPrefix(t, "h2c://") }):
		r.fail(p.at, "drop pool: HTTP/2 authenticates requests and not connections", "%s keeps connections of HTTP/2 apart", what)
	case len(s.Proxy) > 0 && u.Health.Path == "" && (u.Health.Every != 0 || u.Health.Timeout != 0 || u.Health.Host != ""):
		r.fail(p.at, "add health: {path: /healthz}, or what the application answers with 200", "%s has its health checked without a path", what)
	}
}
