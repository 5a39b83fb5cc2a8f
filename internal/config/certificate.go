package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// ServerCertificate says where the certificate comes from that a host shows:
// from our own authority (the zero value), from files, or from a public
// authority.
type ServerCertificate struct {
	Public    bool
	Cert, Key string // absolute paths
}

// IsZero reports whether it comes from our own authority.
func (c ServerCertificate) IsZero() bool { return c == ServerCertificate{} }

func (r *reader) serverCertificate(n ast.Node, c *ServerCertificate) {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		var f ClientCertificate
		r.clientCertificate(n, &f)
		c.Cert, c.Key = f.Cert, f.Key
	default:
		r.word("certificate", func(v string) error {
			switch v {
			case "postern":
				return nil
			case "public":
				c.Public = true
				return nil
			}
			return fmt.Errorf("%q is no certificate: write postern (the default), public, or {cert: FILE, key: FILE}", v)
		})(n)
	}
}

// fitsCertificate refuses a certificate that the host can never get.
func (r *reader) fitsCertificate(at position, host string, c ServerCertificate) {
	if c.Public && (net.ParseIP(host) != nil || !strings.Contains(host, ".")) {
		r.fail(at, "write certificate: postern, or use a name that is in public DNS", "no public authority certifies %s", host)
	}
}

// CheckCertificates returns an error with the place of every site whose
// certificate files do not fit each other, or the site. Files may change while
// they are in use, so this is no part of reading the configuration.
func (c Config) CheckCertificates() error {
	var all problems
	for _, s := range c.Sites {
		if s.Certificate.Cert == "" {
			continue
		}
		pair, err := tls.LoadX509KeyPair(s.Certificate.Cert, s.Certificate.Key)
		if err != nil {
			all.add(c.File, c.lines, s.at, fmt.Sprintf("certificate: %s with %s: %s", s.Certificate.Cert, s.Certificate.Key, strings.TrimPrefix(err.Error(), "tls: ")),
				"the first certificate in cert, in PEM, has to be of the key in key")
			continue
		}
		for i, der := range pair.Certificate[1:] {
			if _, err := x509.ParseCertificate(der); err != nil {
				all.add(c.File, c.lines, s.at, fmt.Sprintf("certificate: certificate %d of %s is none: %s", i+2, s.Certificate.Cert, strings.TrimPrefix(err.Error(), "x509: ")),
					"cert holds the site's certificate and those between it and the root, and nothing that is broken")
				break
			}
		}
		if err := pair.Leaf.VerifyHostname(s.Host); err != nil {
			all.add(c.File, c.lines, s.at, fmt.Sprintf("certificate: %s is not for %s", s.Certificate.Cert, s.Host), strings.TrimPrefix(err.Error(), "x509: "))
		}
	}
	return all.err()
}

// Certificate returns where the certificate of a host comes from, a site's or
// the public side's.
func (c Config) Certificate(host string) ServerCertificate {
	if s, ok := c.Site(host); ok {
		return s.Certificate
	}
	if host == c.Public.Host {
		return c.Public.Certificate
	}
	return ServerCertificate{}
}
