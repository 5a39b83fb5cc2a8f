package config

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/postern-project/postern/internal/chain"
	"github.com/postern-project/postern/internal/partner"
	"github.com/postern-project/postern/internal/rule"
)

// trust reads the foreign authorities of a site, by the names under which
// lists speak of them.
func (r *reader) trust(n ast.Node, s *Site, what string) {
	if file, ok := n.(*ast.StringNode); ok {
		name := strings.TrimSuffix(filepath.Base(file.Value), filepath.Ext(file.Value))
		r.fail(at(n), fmt.Sprintf("write trust: {%s: {ca: %s, members: [{dns: api.partner.example}]}}, and foreign:%[1]s in allow", name, file.Value),
			"trust: a file alone would mean everybody whom its authority certifies: say who is meant")
		return
	}
	for _, p := range r.pairs(n, "trust") {
		name, err := rule.ParsePartner(p.key)
		switch {
		case err != nil:
			r.fail(p.at, "write trust: {NAME: {ca: FILE, members: […]}}", "trust: %v", err)
			continue
		case slices.ContainsFunc(s.Trust, func(t partner.Trust) bool { return t.Name == name }):
			r.fail(p.at, "", "trust %s stands here twice", name)
			continue
		}
		s.Trust = append(s.Trust, r.authority(p, name))
	}
	if s.Stealth || len(s.TCP) > 0 {
		r.fail(at(n), "drop trust", "%s turns people away in the handshake, where no foreign authority is asked", what)
	}
}

func (r *reader) authority(p pair, name rule.Partner) partner.Trust {
	t := partner.Trust{Name: name}
	what := "trust " + p.key
	given := map[string]bool{}
	r.section(p.value, what, map[string]func(ast.Node){
		"ca": r.word("ca", func(file string) (err error) {
			given["ca"] = true
			t.Anchors, err = readTrust(r.path(file))
			return err
		}),
		"members": func(n ast.Node) { given["members"] = true; t.Members = r.members(n, what) },
		"crl": func(n ast.Node) {
			given["crl"] = true
			for _, it := range r.list(n, "crl") {
				source, err := r.listSource(it.text)
				if err != nil {
					r.fail(it.at, "", "crl: %v", err)
					continue
				}
				t.Lists = append(t.Lists, source)
			}
		},
		"overdue": r.word("overdue", func(s string) error {
			given["overdue"] = true
			if s != "accept" && s != "refuse" {
				return fmt.Errorf("%q is neither refuse nor accept", s)
			}
			t.AcceptOverdue = s == "accept"
			return nil
		}),
	})
	switch {
	case !given["ca"]:
		r.fail(p.at, "say ca: FILE, with its certificates in PEM", "%s names no authority", what)
	case !given["members"]:
		r.fail(p.at, "say who is meant, such as members: [{dns: api.partner.example}]", "%s names no members, so nobody is meant", what)
	case given["crl"] && len(t.Lists) > 0 && !given["overdue"]:
		r.fail(p.at, "say overdue: refuse or overdue: accept", "%s does not say what an overdue revocation list means", what)
	case given["overdue"] && len(t.Lists) == 0:
		r.fail(p.at, "drop overdue, or say crl: [http://…]", "%s has no revocation list that could be overdue", what)
	}
	return t
}

// readTrust reads a trust file. Whatever is wrong with it is an error: nothing
// is trusted in its place.
func readTrust(path string) (chain.Anchors, error) {
	certs, err := partner.ReadAnchors(path, chain.ParsePEM)
	if errors.Is(err, fs.ErrNotExist) {
		return chain.Anchors{}, fmt.Errorf("trust file %s does not exist", path)
	}
	if err != nil {
		return chain.Anchors{}, fmt.Errorf("trust file %s: %w", path, plain(err))
	}
	a, err := partner.Anchored(certs)
	if err != nil {
		return chain.Anchors{}, fmt.Errorf("trust file %s: %w", path, err)
	}
	return a, nil
}

// listSource checks where a revocation list is: http:// or a file.
func (r *reader) listSource(s string) (string, error) {
	if !strings.Contains(s, "://") {
		return r.path(s), nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return "", fmt.Errorf("%q is no source of a list: write http://HOST/PATH or a file", s)
	}
	return s, nil
}

func (r *reader) members(n ast.Node, what string) []partner.Member {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		r.fail(at(n), `write lines such as "- dns: api.partner.example"`, "%s: members is a list", what)
		return nil
	}
	all := make([]partner.Member, 0, len(seq.Values))
	for _, v := range seq.Values {
		all = append(all, r.member(v))
	}
	return all
}

func (r *reader) member(n ast.Node) partner.Member {
	var m partner.Member
	fields := 0
	word := func(name string, parse func(string) error) func(ast.Node) {
		return r.word(name, func(s string) error {
			fields++
			if s == "" || strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f }) {
				return errors.New("empty, or with control characters")
			}
			return parse(s)
		})
	}
	r.section(n, "a member", map[string]func(ast.Node){
		"dns":   word("dns", func(s string) (err error) { m.DNS = s; return starless(s) }),
		"email": word("email", func(s string) error { m.Email = s; return address(s) }),
		"uri": word("uri", func(s string) error {
			u, err := url.Parse(s)
			if err != nil || u.Scheme == "" {
				return fmt.Errorf("%q is no URI", s)
			}
			m.URI = u.String()
			return nil
		}),
		"ip":      word("ip", func(s string) (err error) { m.IP, err = netip.ParseAddr(s); return err }),
		"key":     word("key", func(s string) (err error) { m.Key, err = partner.ParseKey(s); return err }),
		"subject": func(n ast.Node) { fields++; m.Subject = r.subject(n) },
	})
	if fields == 0 {
		r.fail(at(n), "say dns, email, uri, ip, subject or key", "a member that is met by nobody")
	}
	if m.Key == [sha256.Size]byte{} && fields > 0 && m.DNS+m.Email+m.URI == "" && !m.IP.IsValid() && len(m.Subject) == 0 {
		return partner.Member{}
	}
	return m
}

func starless(s string) error {
	if strings.Contains(s, "*") {
		return errors.New("a name is compared as a whole, without wildcards")
	}
	return nil
}

func address(s string) error {
	if i := strings.LastIndexByte(s, '@'); i <= 0 || i == len(s)-1 {
		return fmt.Errorf("%q is no e-mail address", s)
	}
	return nil
}

func (r *reader) subject(n ast.Node) map[string]string {
	fields := map[string]string{}
	known := map[string]func(ast.Node){}
	for _, name := range partner.SubjectFields() {
		known[name] = r.word(name, func(s string) error {
			if s == "" {
				return errors.New("empty")
			}
			fields[name] = s
			return nil
		})
	}
	r.section(n, "subject", known)
	return fields
}

// partnersExist reports lists that ask for a foreign authority which their site
// does not trust.
func (r *reader) partnersExist(s Site, what string) {
	for p, at := range s.mentions.partners {
		if !slices.ContainsFunc(s.Trust, func(t partner.Trust) bool { return t.Name == p }) {
			r.fail(at, "name it under the site's trust:, with its ca and members", "%s trusts no %q", what, p)
		}
	}
}
