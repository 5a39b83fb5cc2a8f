package join

import (
	"crypto/tls"
	"crypto/x509"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/keys"
)

func TestRunWritesWhatToolsRead(t *testing.T) {
	o := newOffice(t).start(t)
	home := t.TempDir()
	r, err := Run(t.Context(), Options{Link: o.link(), Home: home, P12: true})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(home, "example.com", "anna", "laptop")
	if r.Dir != dir || r.Name.String() != "anna/laptop" || r.TrustDomain != "example.com" || r.NotAfter.IsZero() {
		t.Errorf("%+v", r)
	}
	want := "curl --cert " + dir + "/cert.pem --key " + dir + "/key.pem --cacert " + dir + "/root.pem " + o.server.URL + "/"
	if r.Curl != want {
		t.Errorf("curl line %q, want %q", r.Curl, want)
	}
	modes := map[string]fs.FileMode{
		CertFile: 0o644, RootFile: 0o644, StateFile: 0o644, KeyFile: 0o600, P12File: 0o600, PasswordFile: 0o600,
	}
	checkModes(t, dir, modes)
	if len(r.Files) != len(modes) {
		t.Errorf("files %v", r.Files)
	}
	checkPair(t, dir)
	if state, err := ReadState(dir); err != nil || state.Serial != r.Serial || len(state.Renew) != 1 || state.Authority != o.server.URL {
		t.Errorf("%+v, %v", state, err)
	}
	checkP12(t, dir)
}

// checkModes demands exactly these files in dir, apart from folders.
func checkModes(t *testing.T, dir string, want map[string]fs.FileMode) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if mode, ok := want[e.Name()]; !ok || info.Mode().Perm()&^0o022 != mode&^0o022 {
			t.Errorf("%s has mode %v, want %v", e.Name(), info.Mode(), mode)
		}
	}
	if len(entries) != len(want) {
		t.Errorf("%d entries, want %d", len(entries), len(want))
	}
}

// checkPair opens a TLS pair as any tool would.
func checkPair(t *testing.T, dir string) *x509.Certificate {
	t.Helper()
	p, err := tls.LoadX509KeyPair(filepath.Join(dir, CertFile), filepath.Join(dir, KeyFile))
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Certificate) != 2 {
		t.Errorf("%d certificates in %s, want leaf and issuer", len(p.Certificate), CertFile)
	}
	return p.Leaf
}

func checkP12(t *testing.T, dir string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, P12File))
	if err != nil {
		t.Fatal(err)
	}
	password, err := os.ReadFile(filepath.Join(dir, PasswordFile))
	if err != nil {
		t.Fatal(err)
	}
	key, leaf, above, err := pkcs12.DecodeChain(data, strings.TrimSpace(string(password)))
	if err != nil {
		t.Fatal(err)
	}
	if !leaf.Equal(checkPair(t, dir)) || len(above) != 1 || above[0].Subject.CommonName != "clients-1" || key == nil {
		t.Errorf("%s holds %v and %v", P12File, leaf.Subject, above)
	}
	if len(strings.TrimSpace(string(password))) != 19 {
		t.Errorf("password %q", password)
	}
}

func TestServersInUnusualClothes(t *testing.T) {
	cases := map[string]func(o *office){
		"one that does not show its root":   func(o *office) { o.hideRoot = true },
		"one whose answer gets lost once":   func(o *office) { o.lose.Store(1) },
		"one that offers no renewal":        func(o *office) { o.change = func(a *invite.Answer) { a.Renew = nil } },
		"one that offers renewal over HTTP": func(o *office) { o.change = func(a *invite.Answer) { a.Renew = []string{"http://x/"} } },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			change(o)
			o.start(t)
			dir := filepath.Join(t.TempDir(), "out")
			r, err := Run(t.Context(), Options{Link: o.link(), Out: dir})
			if err != nil {
				t.Fatal(err)
			}
			checkPair(t, dir)
			if strings.Contains(r.Curl, "http://") {
				t.Errorf("curl line %q", r.Curl)
			}
		})
	}
}

func TestWriteFiles(t *testing.T) {
	o := newOffice(t)
	leaf := sign(t, o.clients, o.leafTemplate())
	dir := filepath.Join(t.TempDir(), "new", "folder")
	f := Files{
		Dir: dir, Chain: [][]byte{leaf.cert.Raw, o.clients.cert.Raw}, Roots: [][]byte{o.root.cert.Raw},
		Key: leaf.key, P12: true, Now: time.Now(), State: State{Profile: "device"},
	}
	paths, err := WriteFiles(f)
	if err != nil || len(paths) != 6 {
		t.Fatalf("%v, %v", paths, err)
	}
	checkP12(t, dir)
	if state, err := ReadState(dir); err != nil || state.Name != o.name || state.Profile != "device" {
		t.Errorf("%+v, %v", state, err)
	}
	if key, err := keys.ReadPrivate(filepath.Join(dir, KeyFile)); err != nil || !fitsKey(leaf.cert.PublicKey, key.Public()) {
		t.Errorf("%v", err)
	}
	if _, err := WriteFiles(f); err == nil {
		t.Error("a good certificate was replaced without force")
	}
	f.Dir, f.Key = filepath.Join(t.TempDir(), "signed"), nil
	if paths, err = WriteFiles(f); err != nil || len(paths) != 3 || exists(f.Dir, KeyFile) || exists(f.Dir, P12File) {
		t.Errorf("without a key: %v, %v", paths, err)
	}
}

func TestDataHome(t *testing.T) {
	cases := map[string]struct {
		env  map[string]string
		want string
	}{
		"XDG_DATA_HOME":             {map[string]string{"XDG_DATA_HOME": "/x", "HOME": "/h"}, "/x/postern"},
		"a relative one is ignored": {map[string]string{"XDG_DATA_HOME": "x", "HOME": "/h"}, "/h/.local/share/postern"},
		"HOME alone":                {map[string]string{"HOME": "/h"}, "/h/.local/share/postern"},
	}
	for name, c := range cases {
		if got, err := DataHome(func(key string) string { return c.env[key] }); err != nil || got != c.want {
			t.Errorf("%s: got %s, %v", name, got, err)
		}
	}
}

func TestShellQuote(t *testing.T) {
	cases := map[string]string{
		"/home/anna/.local/x": "/home/anna/.local/x", "/home/anna b": "'/home/anna b'",
		"it's": `'it'\''s'`, "": "''", "$(id)": "'$(id)'",
	}
	for in, want := range cases {
		if got := shellQuote(in); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
}
