package explain

import (
	"bytes"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/chain"
	"github.com/postern-project/postern/internal/refusal"
)

// freePort returns a port that was free a moment ago: nginx cannot choose one.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// A block is one of nginx's servers.
type nginxBlock struct {
	name  string
	chain string // ssl_certificate
	key   *entity
	more  string
}

// nginx runs the real program with the blocks and returns their addresses by
// name. Without the program the test fails.
func nginx(t *testing.T, caFile string, blocks ...nginxBlock) map[string]string {
	t.Helper()
	path, err := exec.LookPath("nginx")
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/nginx"); err != nil {
			t.Fatalf("%v: install it: apt-get install nginx-light", err)
		}
	}
	dir := t.TempDir()
	write(t, dir, "ca.pem", caFile)
	addresses := map[string]string{}
	var conf strings.Builder
	conf.WriteString("daemon off; master_process off; pid nginx.pid; error_log error.log;\nevents {}\nhttp { access_log off;\n")
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&conf, "%s_temp_path tmp_%s;\n", kind, kind)
	}
	for i, b := range blocks {
		write(t, dir, fmt.Sprint(i, ".pem"), b.chain)
		write(t, dir, fmt.Sprint(i, ".key"), keyPEM(t, b.key.key))
		port := freePort(t)
		addresses[b.name] = "127.0.0.1:" + port
		fmt.Fprintf(&conf, "server { listen 127.0.0.1:%s ssl; ssl_certificate %s; ssl_certificate_key %s; %s return 200 hello; }\n",
			port, filepath.Join(dir, fmt.Sprint(i, ".pem")), filepath.Join(dir, fmt.Sprint(i, ".key")),
			strings.ReplaceAll(b.more, "CA", filepath.Join(dir, "ca.pem")))
	}
	conf.WriteString("}\n")
	write(t, dir, "nginx.conf", conf.String())
	start(t, exec.Command(path, "-p", dir, "-c", filepath.Join(dir, "nginx.conf"), "-e", "error.log"), addresses)
	return addresses
}

// start runs a server until the test ends and waits for its addresses.
func start(t *testing.T, cmd *exec.Cmd, addresses map[string]string) {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { cmd.Wait(); close(done) }()
	t.Cleanup(func() { cmd.Process.Kill(); <-done })
	deadline := time.Now().Add(10 * time.Second)
	for _, a := range addresses {
		for {
			conn, err := net.Dial("tcp", a)
			if err == nil {
				conn.Close()
				break
			}
			select {
			case <-done:
				t.Fatalf("%s ended: %s", cmd.Path, out.String())
			case <-time.After(10 * time.Millisecond):
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s does not answer on %s", cmd.Path, a)
			}
		}
	}
}

func TestNginxThatPosternDidNotSetUp(t *testing.T) {
	w := newWorld(t)
	oldRoot := issue(t, "Old root", nil, ca, expired)
	oldSite := issue(t, "old", oldRoot, server("127.0.0.1"))
	shop := issue(t, "shop", w.servers, server("shop.example.com", "*.shop.example.com"))
	demand := "ssl_client_certificate CA; ssl_verify_client on; ssl_verify_depth 2;"
	full := pemOf(w.site, w.servers)
	at := nginx(t, pemOf(w.root),
		nginxBlock{"well", full, w.site, ""},
		nginxBlock{"missing intermediate", pemOf(w.site), w.site, ""},
		nginxBlock{"wrong order", pemOf(w.site, w.root, w.servers), w.site, ""},
		nginxBlock{"expired root", pemOf(oldSite, oldRoot), oldSite, ""},
		nginxBlock{"wrong host", pemOf(shop, w.servers), shop, ""},
		nginxBlock{"client certificate", full, w.site, demand},
		nginxBlock{"client certificate, TLS 1.2", full, w.site, demand + "ssl_protocols TLSv1.2;"},
		nginxBlock{"refuses every name", full, w.site, "ssl_reject_handshake on;"},
	)
	stranger := issue(t, "eve", issue(t, "Stranger", nil, ca), client)
	phone := Credential{Name: "phone.pem", Certificate: pair(w.phone, w.clients)}
	eve := Credential{Name: "eve.pem", Certificate: pair(stranger)}
	old := Credential{Name: "old.pem", Certificate: pair(issue(t, "ben/old", w.clients, client, expired), w.clients)}
	withOld := w.options()
	withOld.Roots = append(withOld.Roots, oldRoot.Certificate)
	for name, c := range map[string]struct {
		at   string
		o    HostOptions
		ok   bool
		code refusal.Code
		want []string
	}{
		"all is well":                        {"well", w.options(), true, "", []string{"TLS 1.", "protocol http/1.1", "HTTP 200"}},
		"the intermediate is missing":        {"missing intermediate", w.options(), false, refusal.UnknownIssuer, []string{"If 'servers-1' is an intermediate, put its certificate into the file after 'localhost' (servers: into the file of ssl_certificate)"}},
		"the intermediates are in disorder":  {"wrong order", w.options(), true, "", []string{"! order: the issuers are out of order"}},
		"the root has expired":               {"expired root", withOld, false, refusal.Expired, []string{"'Old root' ended 6 years ago"}},
		"a wrong host name":                  {"wrong host", w.options(), false, chain.WrongHost, []string{"the certificate is for 'shop.example.com' and '*.shop.example.com', not for '127.0.0.1'"}},
		"a client certificate, none given":   {"client certificate", w.options(), false, "", []string{"of the issuers 'Example root'", "400 Bad Request", "'400 No required SSL certificate was sent'"}},
		"a client certificate, the right":    {"client certificate", w.options(eve, phone), true, "", []string{"'eve.pem': does not fit: it comes from 'Stranger'", "answer to 'phone.pem': HTTP 200"}},
		"a client certificate, a stranger's": {"client certificate", w.options(eve), false, "", []string{"'400 The SSL certificate error'"}},
		"a client certificate, expired":      {"client certificate", w.options(old), false, "", []string{"it ended on 2020-01-01", "'400 The SSL certificate error'"}},
		"TLS 1.2, the right one":             {"client certificate, TLS 1.2", w.options(phone), true, "", []string{"TLS 1.2", "HTTP 200"}},
		"no site of that name":               {"refuses every name", w.options(), false, "", []string{"'unrecognized name' (112)", "it serves no site of this name"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := dial(t, at[c.at], c.o)
			text := texts(t, r)
			for _, want := range c.want {
				if !strings.Contains(text, want) {
					t.Errorf("want %q in:\n%s", want, text)
				}
			}
			faults := chain.Faults(r.Steps)
			if r.OK != c.ok || c.code != "" && faults[0].Code != c.code {
				t.Errorf("OK is %v, faults %+v", r.OK, faults)
			}
		})
	}
}

// openssl runs the real program in a folder.
func openssl(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("openssl", args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("openssl %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// What OpenSSL makes, in the ways that people make it, is explained.
func TestFilesThatOpenSSLMade(t *testing.T) {
	dir := t.TempDir()
	openssl(t, dir, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Home CA", "-days", "3650")
	openssl(t, dir, "req", "-newkey", "rsa:2048", "-nodes", "-keyout", "www.key", "-out", "www.csr", "-subj", "/CN=www.example.com")
	write(t, dir, "ext", "subjectAltName=DNS:www.example.com\nextendedKeyUsage=serverAuth\n")
	for _, digest := range []string{"md5", "sha1", "sha256"} {
		openssl(t, dir, "x509", "-req", "-in", "www.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
			"-extfile", "ext", "-days", "365", "-"+digest, "-out", digest+".pem")
	}
	openssl(t, dir, "req", "-newkey", "rsa:1024", "-nodes", "-keyout", "weak.key", "-out", "weak.csr", "-subj", "/CN=weak")
	openssl(t, dir, "pkcs8", "-topk8", "-in", "www.key", "-passout", "pass:secret", "-out", "locked.key")
	openssl(t, dir, "x509", "-in", "sha256.pem", "-text", "-out", "text.pem")
	openssl(t, dir, "crl2pkcs7", "-nocrl", "-certfile", "ca.pem", "-out", "ca.p7b")
	for name, c := range map[string]struct {
		files []string
		ok    bool
		want  string
	}{
		"MD5":                       {[]string{"md5.pem"}, false, "is signed with MD5-RSA"},
		"SHA-1":                     {[]string{"sha1.pem"}, false, "is signed with SHA1-RSA"},
		"SHA-256":                   {[]string{"sha256.pem", "www.key"}, true, "RSA 2048 bits, belongs to 'www.example.com'"},
		"a locked key":              {[]string{"sha256.pem", "locked.key"}, true, "locked with a passphrase"},
		"a request":                 {[]string{"www.csr"}, true, "the names in it are ignored"},
		"a request with a weak key": {[]string{"weak.csr"}, false, "RSA 1024 bits:"},
		"text before the block":     {[]string{"text.pem"}, false, "line 1: text outside of a PEM block: 'Certificate:'"},
		"PKCS#7":                    {[]string{"ca.p7b"}, false, "openssl pkcs7 -print_certs"},
		"a key of somebody else":    {[]string{"sha256.pem", "ca.key"}, false, "belongs to none of the certificates"},
	} {
		t.Run(name, func(t *testing.T) {
			roots, err := ReadRoots(filepath.Join(dir, "ca.pem"))
			if err != nil {
				t.Fatal(err)
			}
			var files []File
			for _, f := range c.files {
				read, err := ReadFile(filepath.Join(dir, f))
				if err != nil {
					t.Fatal(err)
				}
				read.Name = f
				files = append(files, read)
			}
			r := Files(files, Options{Roots: roots, Now: time.Now()})
			if text := texts(t, r); r.OK != c.ok || !strings.Contains(text, c.want) {
				t.Errorf("OK is %v, want %q in:\n%s", r.OK, c.want, text)
			}
		})
	}
}
