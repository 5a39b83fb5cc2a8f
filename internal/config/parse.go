package config

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/telemetry"
)

// Load reads the file at path. The error of a file that is not there is
// fs.ErrNotExist.
func Load(path string) (Config, []Warning, error) {
	data, err := Read(path)
	if err != nil {
		return Config{}, nil, err
	}
	return Parse(path, data)
}

// Read returns what the file at path says, for Parse. Of one that is too long
// it returns no more than it takes to see that.
func Read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, MaxSize+1))
}

// Parse reads a configuration. The name stands in errors, and relative folders
// are relative to its folder. An error tells everything that is wrong: see
// Errors. Folders that sites serve have to exist.
func Parse(name string, data []byte) (Config, []Warning, error) {
	if len(data) > MaxSize {
		return Config{}, nil, &Error{File: name, Msg: fmt.Sprintf("more than %d bytes, which is no configuration", MaxSize)}
	}
	if !utf8.Valid(data) {
		return Config{}, nil, &Error{File: name, Msg: "the file is no UTF-8 text, which a configuration is"}
	}
	r := newReader(name, filepath.Dir(name), data)
	c := r.config(r.tree(data))
	if err := r.err(); err != nil {
		return Config{}, nil, err
	}
	return c, c.Warnings(), nil
}

func (r *reader) config(root ast.Node) Config {
	c := Default()
	c.File, c.lines = r.file, r.lines
	r.section(root, "the configuration", map[string]func(ast.Node){
		"trust_domain": r.word("trust_domain", func(s string) (err error) {
			c.TrustDomain, err = identity.ParseTrustDomain(s)
			return err
		}),
		"listen":          func(n ast.Node) { r.listen(n, &c) },
		"public":          func(n ast.Node) { c.Public = r.public(n) },
		"sites":           func(n ast.Node) { c.Sites = r.sites(n) },
		"metrics":         func(n ast.Node) { c.Metrics = r.metrics(n) },
		"log":             func(n ast.Node) { r.log(n, &c.Log) },
		"profiles":        func(n ast.Node) { c.Profiles = r.profiles(n) },
		"blocked_keys":    func(n ast.Node) { c.BlockedKeys = r.blockedKeys(n) },
		"networks":        func(n ast.Node) { c.Networks = r.networks(n) },
		"proxy_protocol":  func(n ast.Node) { c.Proxies = r.proxies(n) },
		"standard_reader": r.boolean("standard_reader", &c.StandardReader),
		"forward_auth":    func(n ast.Node) { c.ForwardAuth = r.forwardAuth(n) },
		"public_ca":       func(n ast.Node) { c.PublicCA = r.publicCA(n) },
		"acme":            func(n ast.Node) { c.ACME = r.acme(n) },
		"renew_unproven":  func(n ast.Node) { c.RenewUnproven = r.renewUnproven(n) },
		"renew_expired":   r.word("renew_expired", func(s string) (err error) { c.RenewExpired, err = parseRenewExpired(s); return err }),
		"issuers":         func(n ast.Node) { r.issuers(n, &c) },
		"time_zone":       r.word("time_zone", func(s string) (err error) { c.Zone, err = parseZone(s); return err }),
	})
	if c.Public.Host == "" && c.Public.Listen.IsZero() {
		c.Public.Listen = c.Listen[0].next()
	}
	r.publicHostIsNoSite(c)
	r.forwardHostIsNoSite(c)
	r.networksExist(c)
	r.acmeProfilesAreForServers(c)
	r.fitsUnproven(c)
	c.Reads = r.reads
	return c
}

func (r *reader) listen(n ast.Node, c *Config) {
	items := r.list(n, "listen")
	if len(items) == 0 {
		r.fail(at(n), `write an address such as ":8443"`, "listen: no address")
		return
	}
	c.Listen = nil
	for _, it := range items {
		a, err := ParseAddress(it.text)
		switch {
		case err != nil:
			r.fail(it.at, "", "listen: %v", err)
		case a.Port != 0 && slices.Contains(c.Listen, a):
			r.fail(it.at, "", "listen: %s is written twice", a)
		}
		c.Listen = append(c.Listen, a)
	}
}

func (r *reader) public(n ast.Node) Public {
	var p Public
	r.section(n, "public", map[string]func(ast.Node){
		"host":        r.word("host", func(s string) (err error) { p.Host, err = ParseHost(s); return err }),
		"listen":      r.word("listen", func(s string) (err error) { p.Listen, err = ParseAddress(s); return err }),
		"http":        r.word("http", func(s string) (err error) { p.HTTP, err = ParseAddress(s); return err }),
		"certificate": func(n ast.Node) { r.serverCertificate(n, &p.Certificate) },
		"url":         r.word("url", func(s string) (err error) { p.URL, err = parsePlainURL(s); return err }),
	})
	if len(r.pairs(n, "public")) == 0 {
		r.fail(at(n), "give it a host of its own or a listen address, or leave public out", "public: empty")
	}
	return p
}

func (r *reader) metrics(n ast.Node) Address {
	var a Address
	r.section(n, "metrics", map[string]func(ast.Node){
		"listen": r.word("listen", func(s string) (err error) {
			if a, err = ParseAddress(s); err == nil && !a.Loopback() {
				err = fmt.Errorf("%s is not on this machine's loopback, and metrics are for nobody else: write 127.0.0.1:%d", a, a.Port)
			}
			return err
		}),
	})
	return a
}

func (r *reader) log(n ast.Node, to *Log) {
	r.section(n, "log", map[string]func(ast.Node){
		"format": r.word("format", func(s string) (err error) { to.Format, err = telemetry.ParseFormat(s); return err }),
		"level":  r.word("level", func(s string) (err error) { to.Level, err = telemetry.ParseLevel(s); return err }),
	})
}

func (r *reader) issuers(n ast.Node, to *Config) {
	r.section(n, "issuers", map[string]func(ast.Node){
		"key": r.word("key", func(s string) (err error) { *to, err = to.WithIssuerKey(s); return err }),
	})
}

// publicHostIsNoSite keeps the side that never asks for a certificate apart
// from the sites that do, since a browser remembers its answer for a host.
func (r *reader) publicHostIsNoSite(c Config) {
	s, taken := c.Site(c.Public.Host)
	if c.Public.Host != "" && c.Public.Listen.IsZero() && taken {
		r.fail(s.at, "give the public side a name of its own, such as join."+c.Public.Host, "site %s is also the public host", s.Host)
	}
}

func sorted(words []string) []string {
	slices.Sort(words)
	return words
}
