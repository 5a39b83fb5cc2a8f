package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/rule"
)

func TestFlagsAddSites(t *testing.T) {
	dir := folder(t)
	t.Chdir(dir)
	c, err := Default().WithSite("Localhost=./public")
	if err != nil {
		t.Fatal(err)
	}
	c, err = c.WithSite("[::1]=http://[::1]:3000")
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Sites) != 2 || c.PublicURL() != "https://localhost:8444" {
		t.Errorf("%+v %s", c.Sites, c.PublicURL())
	}
	s, _ := c.Site("localhost")
	ben, _ := identity.ParseName("ben")
	if !s.List.Decide(rule.Subject{Name: ben}).Allow || s.List.AdmitsStrangers() || s.Static != filepath.Join(dir, "public") {
		t.Errorf("%+v", s)
	}
	for name, spec := range map[string]string{
		"no target":      "localhost",
		"empty target":   "localhost=",
		"empty host":     "=./public",
		"missing folder": "a.example=./nowhere",
		"the same again": "LOCALHOST.=./public",
		"no such scheme": "a.example=ftp://x",
		"a host's port":  "localhost:8443=./public",
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := c.WithSite(spec); err == nil || got.Sites != nil {
				t.Errorf("%q: %+v, %v", spec, got, err)
			}
		})
	}
}

func TestFlagsReplaceListen(t *testing.T) {
	c, err := Default().WithListen([]string{"[::1]:443", "127.0.0.1:443"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen[0].String() != "[::1]:443" || c.Public.Listen.String() != "[::1]:444" || c.PublicURL() != "https://[::1]:444" {
		t.Errorf("%+v, public %s", c.Listen, c.PublicURL())
	}
	if _, err := Default().WithListen([]string{"localhost"}); err == nil {
		t.Error("an address without a port is taken")
	}
	p, _, err := Parse("x.yaml", []byte("public: {listen: \":9\"}"))
	if err != nil {
		t.Fatal(err)
	}
	if p, err = p.WithListen([]string{":1"}); err != nil || p.Public.Listen.Port != 9 {
		t.Errorf("the public port that was written down is lost: %+v %v", p.Public, err)
	}
}

func TestLoad(t *testing.T) {
	if _, _, err := Load(filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	big := filepath.Join(t.TempDir(), "big.yaml")
	if err := os.WriteFile(big, []byte(strings.Repeat("#", MaxSize+10)), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Load(big); err == nil {
		t.Error("a file without bounds is read")
	}
}

func TestNearest(t *testing.T) {
	known := []string{"init", "invite", "issue", "list"}
	for word, want := range map[string]string{"invte": "invite", "INVITE": "invite", "invit": "invite", "ini": "init", "isseu": "issue", "zebra": "", "": "", "l": "", "lx": ""} {
		if got := Nearest(word, known); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}

// What ParseHost accepts is its own canonical form.
func FuzzParseHost(f *testing.F) {
	for _, s := range []string{"localhost", "A.Example.", "[::1]", "::ffff:1.2.3.4", "bücher.example", "1.2.3.4", "a:1", "*.x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, err := ParseHost(s)
		if err != nil {
			return
		}
		again, err := ParseHost(host)
		if err != nil || again != host {
			t.Errorf("%q became %q, which becomes %q (%v)", s, host, again, err)
		}
	})
}

// What ParseAddress accepts reads back as the same address.
func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{":8443", "[::1]:443", "localhost:0", "1.2.3.4:65535", "::1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s)
		if err != nil {
			return
		}
		again, err := ParseAddress(a.String())
		if err != nil || again != a {
			t.Errorf("%q became %v, which reads as %v (%v)", s, a, again, err)
		}
	})
}

// Parse never panics, never returns half a configuration, and every site that
// it returns has one target and a canonical host.
func FuzzParse(f *testing.F) {
	f.Add([]byte(full))
	f.Add([]byte("sites: {a: {static: ., allow: [x]}}"))
	f.Add([]byte("a: &b [*b]\n---\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, _, err := Parse("postern.yaml", data)
		if err != nil {
			if len(c.Sites) > 0 || len(c.Listen) > 0 || len(Errors(err)) == 0 {
				t.Errorf("error %v with %+v", err, c)
			}
			return
		}
		if len(c.Listen) == 0 {
			t.Error("nowhere to listen")
		}
		for _, s := range c.Sites {
			if host, err := ParseHost(s.Host); err != nil || host != s.Host || (s.Static == "") == (len(s.Proxy) == 0) {
				t.Errorf("%+v", s)
			}
		}
	})
}
