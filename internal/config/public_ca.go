package config

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/mail"
	"net/url"

	"github.com/goccy/go-yaml/ast"
)

// PublicCA is the public authority that certifies hosts with 'certificate:
// public'.
type PublicCA struct {
	// Directory is the URL where its ACME begins; "" for Let's Encrypt.
	Directory string
	// Email is told to it; "" for none.
	Email string
	// Roots verify Directory in place of the system's.
	Roots []*x509.Certificate
}

// Key tells authorities apart.
func (p PublicCA) Key() string {
	key := p.Directory + " " + p.Email
	for _, c := range p.Roots {
		key += string(c.Raw)
	}
	return key
}

func (r *reader) publicCA(n ast.Node) PublicCA {
	var p PublicCA
	r.section(n, "public_ca", map[string]func(ast.Node){
		"directory": r.word("directory", func(v string) error { p.Directory = v; return checkDirectory(v) }),
		"email":     r.word("email", func(v string) error { p.Email = v; return checkEmail(v) }),
		"roots":     r.word("roots", func(v string) (err error) { p.Roots, err = readCA(r.path(v)); return err }),
	})
	return p
}

func checkDirectory(s string) error {
	if u, err := url.Parse(s); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return fmt.Errorf("%q is no directory of an authority: one begins with https://", s)
	}
	return nil
}

func checkEmail(s string) error {
	if a, err := mail.ParseAddress(s); err != nil || a.Address != s {
		return errors.New("no e-mail address: write one such as ops@example.com")
	}
	return nil
}
