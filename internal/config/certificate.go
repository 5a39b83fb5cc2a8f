package config

import (
	"fmt"

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
