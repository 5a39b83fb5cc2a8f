package join

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
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

	"github.com/postern-project/postern/internal/invite"
)

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
		"a site that does not show its root": {
			office: func(o *office) { o.hideRoot = true },
			run: func(t *testing.T, real *office, _ *Options) {
				real.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Method != http.MethodGet {
						t.Errorf("%s reached the site", r.Method)
					}
					w.Header().Set("Content-Type", invite.ProblemType)
					w.WriteHeader(http.StatusForbidden)
					io.WriteString(w, `{"type":"urn:postern:refusal:no-certificate","status":403,"code":"no-certificate"}`)
				})
			},
			want: []string{"is a site, and invitations are spent on the public side", "as it was sent (its port is often the next one)", unspent},
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
