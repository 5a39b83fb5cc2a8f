package join

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
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

// Everything that can go wrong has its own words, and leaves no file behind.
func TestFailures(t *testing.T) {
	cases := map[string]struct {
		office func(*office) // before the start
		names  []string      // of the server
		run    func(*testing.T, *office, *Options)
		want   []string // in the error
		asked  int32    // how often the code reached the authority
	}{
		"nothing listens": {
			run:  func(t *testing.T, _ *office, o *Options) { o.Link.Base = deadAddress(t) },
			want: []string{"nothing listens there", unspent},
		},
		"no such host": {
			run:  func(_ *testing.T, _ *office, o *Options) { o.Link.Base = "https://no.such.host.invalid" },
			want: []string{"no.such.host.invalid", unspent},
		},
		"no TLS there": {
			run: func(t *testing.T, _ *office, o *Options) {
				plain := httptest.NewServer(http.NotFoundHandler())
				t.Cleanup(plain.Close)
				o.Link.Base = strings.Replace(plain.URL, "http:", "https:", 1)
			},
			want: []string{"not with TLS", unspent},
		},
		"somebody in the middle": {
			run: func(t *testing.T, _ *office, o *Options) {
				middle := newOffice(t)
				middle.code = o.Link.Code
				middle.start(t)
				o.Link.Base = middle.server.URL
				t.Cleanup(func() {
					if middle.asked.Load() != 0 {
						t.Error("the code was sent to somebody else")
					}
				})
			},
			want: []string{"not the server that made this invitation", "servers-1", unspent},
		},
		"somebody in the middle who shows the right root": {
			run: func(t *testing.T, real *office, o *Options) {
				middle := newOffice(t)
				middle.code, middle.root = o.Link.Code, real.root // the certificate, and not its signature
				middle.servers = sign(t, pair{}, &x509.Certificate{
					Subject: real.servers.cert.Subject, Issuer: real.root.cert.Subject, IsCA: true, BasicConstraintsValid: true,
					NotAfter: time.Now().Add(time.Hour),
				})
				middle.start(t)
				o.Link.Base = middle.server.URL
			},
			want: []string{"not the server that made this invitation", unspent},
		},
		"another server of the same authority": {
			names: []string{"orders.example.com"},
			want:  []string{"not for that name", unspent},
		},
		"a client's certificate as the server's": {
			run:  func(t *testing.T, real *office, o *Options) { o.Link.Base = clientAsServer(t, real) },
			want: []string{"usage"},
		},
		"this clock is a year behind": {
			run:  func(_ *testing.T, _ *office, o *Options) { o.Now = shifted(-1) },
			want: []string{"the clocks disagree by 365 days", "Set the wrong one right", unspent},
		},
		"this clock is a year ahead": {
			run:  func(_ *testing.T, _ *office, o *Options) { o.Now = shifted(1) },
			want: []string{"the clocks disagree by 365 days", unspent},
		},
		"the server's certificate has expired": {
			office: func(o *office) { o.began = time.Now().AddDate(0, 0, -100) },
			want:   []string{"has to renew it", unspent},
		},
		"an expired invitation": {
			office: func(o *office) {
				o.refuse = &invite.Problem{Status: 410, Code: "expired", Detail: "the invitation ended at 10:15: ask for a new one"}
			},
			want: []string{"ended at 10:15: ask for a new one", "expired"}, asked: 1,
		},
		"an invitation of another authority": {
			run:  func(_ *testing.T, _ *office, o *Options) { o.Link.Code = invite.New() },
			want: []string{"nobody has made this invitation"},
		},
		"a refusal that would move the cursor": {
			office: func(o *office) {
				o.refuse = &invite.Problem{Status: 400, Code: "x", Detail: "a\x1b[2Jb"}
			},
			want: []string{"a [2Jb"}, asked: 1,
		},
		"a site instead of the public side": {
			run: func(t *testing.T, real *office, _ *Options) {
				real.server.Config.Handler = http.NotFoundHandler()
			},
			want: []string{"status 404", "public side"},
		},
		"a redirection to somebody else": {
			run: func(t *testing.T, real *office, _ *Options) {
				real.server.Config.Handler = http.RedirectHandler("https://evil.example/", http.StatusTemporaryRedirect)
			},
			want: []string{"status 307"},
		},
		"a server that always breaks off": {
			office: func(o *office) { o.lose.Store(100) },
			want:   []string{"broke off the connection", "within ten minutes"}, asked: attempts,
		},
		"a certificate for another key": {
			office: func(o *office) {
				o.change = func(a *invite.Answer) { a.Certificate = string(pemOf(o.clients.cert)) }
			},
			want: []string{"certificate in the answer"}, asked: 1,
		},
		"an answer with another root": {
			office: func(o *office) {
				o.change = func(a *invite.Answer) { a.Root = string(pemOf(o.clients.cert)) }
			},
			want: []string{"another root"}, asked: 1,
		},
		"a full disk": {
			run:  func(_ *testing.T, _ *office, o *Options) { o.write = failing(reserveFile, syscall.ENOSPC) },
			want: []string{"the disk", "is full", "--out"},
		},
		"a folder that is not ours": {
			run:  func(_ *testing.T, _ *office, o *Options) { o.write = failing(KeyFile, syscall.EACCES) },
			want: []string{"cannot be written to", "--out"},
		},
		"a file where the folder should be": {
			run: func(t *testing.T, _ *office, o *Options) {
				o.Out = filepath.Join(t.TempDir(), "file", "below")
				if err := os.WriteFile(filepath.Dir(o.Out), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			},
			want: []string{"--out"},
		},
		"an unknown kind of key": {
			run:  func(_ *testing.T, _ *office, o *Options) { o.KeyKind = "dsa" },
			want: []string{"dsa"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			if c.office != nil {
				c.office(o)
			}
			o.start(t, c.names...)
			dir := filepath.Join(t.TempDir(), "out")
			options := Options{Link: o.link(), Out: dir}
			if c.run != nil {
				c.run(t, o, &options)
			}
			_, err := Run(t.Context(), options)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
			if strings.Contains(err.Error(), options.Link.Code.String()) || strings.Contains(err.Error(), "\x1b") {
				t.Errorf("the error holds the code or an escape: %v", err)
			}
			if _, err := os.Stat(dir); err == nil {
				t.Error("a folder was left behind")
			}
			if o.asked.Load() != c.asked {
				t.Errorf("the code was sent %d times, want %d", o.asked.Load(), c.asked)
			}
		})
	}
}

func deadAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	return "https://" + l.Addr().String()
}

func clientAsServer(t *testing.T, o *office) string {
	tmpl := o.leafTemplate()
	tmpl.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	leaf := sign(t, o.clients, tmpl)
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{
		PrivateKey: leaf.key, Certificate: [][]byte{leaf.cert.Raw, o.clients.cert.Raw, o.root.cert.Raw},
	}}}
	s.Config.ErrorLog = o.server.Config.ErrorLog
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

func shifted(years int) func() time.Time {
	return func() time.Time { return time.Now().AddDate(0, 0, 365*years) }
}

// failing is a disk that cannot write the file called name.
func failing(name string, err error) writer {
	return func(path string, data []byte, mode fs.FileMode) error {
		if filepath.Base(path) == name {
			return &fs.PathError{Op: "write", Path: path, Err: err}
		}
		return writeFile(path, data, mode)
	}
}

func TestErrorsHaveTypes(t *testing.T) {
	o := newOffice(t).start(t)
	out := filepath.Join(t.TempDir(), "out")
	options := Options{Link: o.link(), Out: out}
	late := options
	late.Now = shifted(1)
	_, err := Run(t.Context(), late)
	if e, ok := errors.AsType[*ClockError](err); !ok || e.There.IsZero() || e.Here.Sub(e.There) < 300*24*time.Hour {
		t.Errorf("%+v", err)
	}
	dead := options
	dead.Link.Base = deadAddress(t)
	_, err = Run(t.Context(), dead)
	if e, ok := errors.AsType[*UnreachableError](err); !ok || !errors.Is(e, syscall.ECONNREFUSED) {
		t.Errorf("%+v", err)
	}
	o.refuse = &invite.Problem{Status: 410, Code: "spent", Detail: "used"}
	_, err = Run(t.Context(), options)
	if e, ok := errors.AsType[*RefusedError](err); !ok || e.Code != "spent" || e.Status != 410 {
		t.Errorf("%+v", err)
	}
}

func TestASecondJoinAsksForForce(t *testing.T) {
	o := newOffice(t).start(t)
	dir := filepath.Join(t.TempDir(), "out")
	options := Options{Link: o.link(), Out: dir, P12: true}
	if _, err := Run(t.Context(), options); err != nil {
		t.Fatal(err)
	}
	first := checkPair(t, dir)
	asked := o.asked.Load()
	_, err := Run(t.Context(), options)
	if e, ok := errors.AsType[*ExistsError](err); !ok || e.Name != "anna/laptop" || !strings.Contains(err.Error(), "--force") {
		t.Fatalf("got %v, want an ExistsError", err)
	}
	if !checkPair(t, dir).Equal(first) || o.asked.Load() != asked {
		t.Error("the refused join changed something")
	}
	options.Force, options.P12 = true, false
	options.write = failing(CertFile, syscall.ENOSPC)
	if _, err = Run(t.Context(), options); err == nil || !checkPair(t, dir).Equal(first) {
		t.Errorf("a join that did not end well changed the files: %v", err)
	}
	options.write = nil
	if _, err = Run(t.Context(), options); err != nil {
		t.Fatal(err)
	}
	if checkPair(t, dir).Equal(first) {
		t.Error("the certificate was not replaced")
	}
	if exists(dir, P12File) || exists(dir, PasswordFile) {
		t.Error("the old key is still in " + P12File)
	}
}

func TestAnExpiredCertificateIsReplacedWithoutForce(t *testing.T) {
	o := newOffice(t)
	o.lifetime = 30 * time.Minute // it began an hour ago
	o.start(t)
	dir := t.TempDir()
	for range 2 {
		if _, err := Run(t.Context(), Options{Link: o.link(), Out: dir}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestInTheUsualFolderAGoodCertificateIsSetAside(t *testing.T) {
	o := newOffice(t).start(t)
	home := t.TempDir()
	r, err := Run(t.Context(), Options{Link: o.link(), Home: home})
	if err != nil {
		t.Fatal(err)
	}
	first := checkPair(t, r.Dir)
	again, err := Run(t.Context(), Options{Link: o.link(), Home: home})
	if err != nil {
		t.Fatal(err)
	}
	aside := filepath.Join(r.Dir, asidePrefix+r.Serial)
	if !checkPair(t, aside).Equal(first) || checkPair(t, again.Dir).Equal(first) {
		t.Error("the old files are not where they should be")
	}
	if len(again.Notes) != 1 || !strings.Contains(again.Notes[0], aside) {
		t.Errorf("notes %q", again.Notes)
	}
}

func TestOtherFilesInTheFolderStay(t *testing.T) {
	o := newOffice(t).start(t)
	dir := t.TempDir()
	other := filepath.Join(dir, "letter.txt")
	if err := os.WriteFile(other, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), Options{Link: o.link(), Out: dir}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(other); err != nil {
		t.Error(err)
	}
}

// Killed between any two renames, the files are whole again after the next run.
func TestAnInterruptedInstallIsFinished(t *testing.T) {
	o := newOffice(t).start(t)
	for done := range placed {
		dir := t.TempDir()
		options := Options{Link: o.link(), Out: dir, P12: true}
		if _, err := Run(t.Context(), options); err != nil {
			t.Fatal(err)
		}
		fresh := t.TempDir()
		if _, err := Run(t.Context(), Options{Link: o.link(), Out: fresh, P12: true}); err != nil {
			t.Fatal(err)
		}
		want := checkPair(t, fresh)
		if err := os.Rename(fresh, filepath.Join(dir, nextDir)); err != nil {
			t.Fatal(err)
		}
		for _, name := range placed[:done] {
			if err := os.Rename(filepath.Join(dir, nextDir, name), filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Renew(t.Context(), RenewOptions{Dir: dir, write: failing(KeyFile, syscall.ENOSPC)}); err == nil {
			t.Fatal("no error")
		}
		if !checkPair(t, dir).Equal(want) || exists(dir, nextDir) {
			t.Errorf("after %d renames the files are not whole", done)
		}
		checkP12(t, dir)
	}
}

func TestWhatAKilledRunLeftIsSweptLater(t *testing.T) {
	o := newOffice(t).start(t)
	dir := t.TempDir()
	old, recent := filepath.Join(dir, stagePrefix+"1"), filepath.Join(dir, stagePrefix+"2")
	for _, stage := range []string{old, recent} {
		if err := os.Mkdir(stage, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	past := time.Now().Add(-2 * staleAfter)
	if err := os.Chtimes(old, past, past); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), Options{Link: o.link(), Out: dir}); err != nil {
		t.Fatal(err)
	}
	if exists(dir, filepath.Base(old)) || !exists(dir, filepath.Base(recent)) {
		t.Error("the wrong stage was swept")
	}
}

func TestWriteFiles(t *testing.T) {
	o := newOffice(t)
	leaf := sign(t, o.clients, o.leafTemplate())
	dir := filepath.Join(t.TempDir(), "new", "folder")
	f := Files{
		Dir: dir, Chain: [][]byte{leaf.cert.Raw, o.clients.cert.Raw}, Root: o.root.cert.Raw,
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
	if key, err := keys.ReadPrivate(filepath.Join(dir, KeyFile)); err != nil || !fitsKey(leaf.cert.PublicKey, key) {
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
