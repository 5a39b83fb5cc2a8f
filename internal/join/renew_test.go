package join

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/chain"
	"github.com/postern-project/postern/internal/invite"
)

// enrolled returns a folder with a certificate of o.
func enrolled(t *testing.T, o *office, p12 bool) string {
	t.Helper()
	dir := t.TempDir()
	if _, err := Run(t.Context(), Options{Link: o.link(), Out: dir, P12: p12}); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestRenewMakesANewKey(t *testing.T) {
	o := newOffice(t).start(t)
	dir := enrolled(t, o, true)
	old := checkPair(t, dir)
	password, err := os.ReadFile(filepath.Join(dir, PasswordFile))
	if err != nil {
		t.Fatal(err)
	}
	r, err := Renew(t.Context(), RenewOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	leaf := checkPair(t, dir)
	if leaf.Equal(old) || string(leaf.RawSubjectPublicKeyInfo) == string(old.RawSubjectPublicKeyInfo) {
		t.Error("the certificate or its key is the old one")
	}
	if r.Serial != chain.SerialOf(leaf) || r.Name.String() != o.name {
		t.Errorf("%+v", r)
	}
	checkP12(t, dir)
	if again, err := os.ReadFile(filepath.Join(dir, PasswordFile)); err != nil || string(again) != string(password) {
		t.Error("the password of " + P12File + " changed")
	}
}

func TestRenewFailures(t *testing.T) {
	cases := map[string]struct {
		change  func(t *testing.T, o *office, dir string)
		options RenewOptions
		want    string
	}{
		"no such folder":              {change: func(t *testing.T, _ *office, dir string) { os.RemoveAll(dir) }, want: "name the folder"},
		"a damaged state":             {change: func(t *testing.T, _ *office, dir string) { write(t, dir, StateFile, "{") }, want: "damaged"},
		"no address":                  {change: func(t *testing.T, _ *office, dir string) { write(t, dir, StateFile, "{}") }, want: "no address"},
		"an open key":                 {change: func(t *testing.T, _ *office, dir string) { os.Chmod(filepath.Join(dir, KeyFile), 0o644) }, want: "chmod 600"},
		"another key":                 {change: func(t *testing.T, o *office, dir string) { otherKey(t, o, dir) }, want: "do not belong together"},
		"junk in the chain":           {change: func(t *testing.T, _ *office, dir string) { write(t, dir, CertFile, "junk") }, want: CertFile},
		"an expired one":              {options: RenewOptions{Now: shifted(1)}, want: "cannot renew itself any more"},
		"a server that is up no more": {change: func(_ *testing.T, o *office, _ string) { o.server.Close() }, want: "nothing listens there"},
		"a revoked one": {change: func(_ *testing.T, o *office, _ string) {
			o.refuse = &invite.Problem{Status: 403, Code: "revoked", Detail: "the certificate was revoked"}
		}, want: "the certificate was revoked"},
		"a certificate for somebody else": {change: func(_ *testing.T, o *office, _ string) { o.name = "eve" }, want: "not for spiffe://example.com/anna/laptop"},
		"a full disk":                     {options: RenewOptions{write: failing(reserveFile, syscall.ENOSPC)}, want: "is full"},
		"a full disk at the end":          {options: RenewOptions{write: failing(StateFile, syscall.ENOSPC)}, want: "is full"},
		"another authority": {change: func(t *testing.T, o *office, dir string) {
			write(t, dir, RootFile, string(pemOf(newOffice(t).root.cert)))
		}, want: "authority"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t).start(t)
			dir := enrolled(t, o, false)
			if c.change != nil {
				c.change(t, o, dir)
			}
			before := snapshot(dir)
			c.options.Dir = dir
			_, err := Renew(t.Context(), c.options)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
			if snapshot(dir) != before {
				t.Error("the folder changed")
			}
		})
	}
}

func TestRenewTriesTheNextAddress(t *testing.T) {
	o := newOffice(t)
	dead := deadAddress(t) + "/.postern/renew"
	o.change = func(a *invite.Answer) { a.Renew = append([]string{dead}, a.Renew...) }
	o.start(t)
	if _, err := Renew(t.Context(), RenewOptions{Dir: enrolled(t, o, false)}); err != nil {
		t.Error(err)
	}
}

func TestARefusalKeepsItsCode(t *testing.T) {
	o := newOffice(t).start(t)
	dir := enrolled(t, o, false)
	o.refuse = &invite.Problem{Status: 403, Code: "suspended", Detail: "suspended"}
	_, err := Renew(t.Context(), RenewOptions{Dir: dir, Now: time.Now})
	if e, ok := errors.AsType[*RefusedError](err); !ok || e.Code != "suspended" {
		t.Errorf("got %v", err)
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func otherKey(t *testing.T, o *office, dir string) {
	other := enrolled(t, o, false)
	data, err := os.ReadFile(filepath.Join(other, KeyFile))
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, KeyFile, string(data))
}

// snapshot returns the names and contents of what is in dir.
func snapshot(dir string) string {
	var out strings.Builder
	filepath.WalkDir(dir, func(path string, _ os.DirEntry, _ error) error {
		data, _ := os.ReadFile(path)
		out.WriteString(path + "\n" + string(data))
		return nil
	})
	return out.String()
}
