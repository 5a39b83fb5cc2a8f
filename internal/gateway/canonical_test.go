package gateway

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/postern-project/postern/internal/refusal"
)

func TestEverySpellingOfAHostIsOneHost(t *testing.T) {
	for want, spellings := range map[string][]string{
		"pw.example.com": {
			"pw.example.com", "PW.Example.COM", "pw.example.com.", "pw.example.com:8443", "PW.EXAMPLE.COM.:443",
			"pw.example.com:", "pw。example．com", "ｐｗ.example.com", "pw\u00ad.example.com",
		},
		"xn--mnchen-3ya.example": {"münchen.example", "MÜNCHEN.example", "xn--mnchen-3ya.example", "XN--Mnchen-3ya.Example.", "mu\u0308nchen.example:1"},
		"localhost":              {"localhost", "LOCALHOST:8443", "localhost."},
		"my_app.internal":        {"my_app.internal", "MY_APP.internal."},
		"127.0.0.1":              {"127.0.0.1", "127.0.0.1:8443", "127.0.0.1.", "[::ffff:127.0.0.1]:8443", "[::ffff:7f00:1]", "１２７.0.0.1"},
		"::1":                    {"[::1]", "[::1]:8443", "[0:0:0:0:0:0:0:1]", "::1", "[0000::0001]:1"},
		"fd00::a":                {"[FD00::A]", "[fd00:0::a]:65535", "fd00::a"},
	} {
		for _, s := range spellings {
			if got, ok := canonicalHost(s); got != want || !ok {
				t.Errorf("canonicalHost(%q) = %q, %v, want %q", s, got, ok, want)
			}
		}
	}
}

func TestWhatIsNoHostIsNone(t *testing.T) {
	for name, s := range map[string]string{
		"nothing": "", "a dot": ".", "two dots at the end": "a..", "an empty label": "a..b", "a dot in front": ".a",
		"a port alone": ":443", "a port that is a word": "a:http", "a port too high": "a:65536", "a signed port": "a:+1", "two ports": "a:1:2",
		"a space": "a b", "a NUL": "a\x00b", "a newline": "a\n", "a slash": "a/b", "an at": "u@a", "a percent": "a%2eb",
		"a zone": "[fe80::1%eth0]", "an open bracket": "[::1", "IPv4 in brackets": "[127.0.0.1]", "text after a bracket": "[::1]x", "a port like a word": "[::1]:x",
		"short IPv4": "127.1", "IPv4 as one number": "2130706433", "hexadecimal IPv4": "0x7f000001", "hexadecimal at the end": "a.0x7f", "octal IPv4": "0177.0.0.1", "five numbers": "1.2.3.4.5",
		"a dash in front": "-a.example", "a dash behind": "a-.example", "a broken A-label": "xn--a.example", "an A-label of ASCII": "xn--abc-.example",
		"a long label": strings.Repeat("a", 64) + ".example", "a long name": strings.Repeat("a.", 127) + "ab", "much too long": strings.Repeat("a", 5000),
		"a sign that maps to a slash": "℀.example", "bytes that are no text": "a\xff.example", "a wildcard": "*.example.com",
	} {
		if got, ok := canonicalHost(s); ok {
			t.Errorf("%s: canonicalHost(%q) = %q", name, s, got)
		}
	}
}

func FuzzCanonicalHost(f *testing.F) {
	for _, s := range []string{"pw.example.com.:443", "[::1]:1", "münchen.example", "xn--mnchen-3ya", "127.0.0.1", "a..b", "fd00::1", "1.2.3", "ß.example", "a:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, ok := canonicalHost(s)
		if !ok {
			if host != "" {
				t.Fatalf("no host, and %q", host)
			}
			return
		}
		spellings := []string{host, strings.ToUpper(host), host + "."}
		if strings.Contains(host, ":") {
			spellings = []string{host, "[" + host + "]", "[" + strings.ToUpper(host) + "]:443"}
		} else {
			spellings = append(spellings, host+":443", host+".:1", host+":")
		}
		for _, other := range spellings {
			if again, ok := canonicalHost(other); !ok || again != host {
				t.Fatalf("%q is %q, and its spelling %q is %q, %v", s, host, other, again, ok)
			}
		}
		if strings.ContainsAny(host, "/\\@%[] \x00") || host != strings.ToLower(host) || len(host) > maxHost {
			t.Fatalf("%q is %q", s, host)
		}
	})
}

func TestOnePathIsMatchedAndForwarded(t *testing.T) {
	for name, c := range map[string]struct {
		raw, want string
		code      refusal.Code
	}{
		"the root":                       {"/", "/", ""},
		"usual":                          {"/a/b.html?x=//..;", "/a/b.html", ""},
		"everything a query may hold":    {"/q?!\"$&'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~%00", "/q", ""},
		"a slash at the end":             {"/a/", "/a/", ""},
		"letters encoded for nothing":    {"/%61dm%69n", "/admin", ""},
		"a dot within a name, encoded":   {"/a%2ehtml", "/a.html", ""},
		"three dots":                     {"/...", "/...", ""},
		"dots in front of a name":        {"/..a/.b", "/..a/.b", ""},
		"a percent sign":                 {"/100%25", "/100%", ""},
		"a percent sign before a letter": {"/100%25x", "/100%x", ""},
		"an encoded question mark":       {"/what%3F", "/what?", ""},
		"a space":                        {"/a%20b", "/a b", ""},
		"other languages":                {"/%C3%BC/ü", "/ü/ü", ""},
		"a colon and commas":             {"/a:b,c=d&e@f!g", "/a:b,c=d&e@f!g", ""},
		"the absolute form":              {"http://host/a", "/a", ""},
		"the absolute form of the root":  {"http://host", "/", ""},

		"an encoded slash":             {"/a%2fb", "", refusal.AmbiguousPath},
		"an encoded slash in capitals": {"/a%2Fb", "", refusal.AmbiguousPath},
		"an encoded slash at the end":  {"/a%2F", "", refusal.AmbiguousPath},
		"a dot segment":                {"/a/./b", "", refusal.AmbiguousPath},
		"two dots":                     {"/a/../b", "", refusal.AmbiguousPath},
		"two dots at the end":          {"/a/..", "", refusal.AmbiguousPath},
		"a dot at the end":             {"/a/.", "", refusal.AmbiguousPath},
		"encoded dots":                 {"/a/%2e%2E/b", "", refusal.AmbiguousPath},
		"one dot encoded":              {"/a/.%2e/b", "", refusal.AmbiguousPath},
		"dots behind an encoded slash": {"/a%2f..%2fb", "", refusal.AmbiguousPath},
		"an empty segment":             {"/a//b", "", refusal.AmbiguousPath},
		"an empty segment in front":    {"//evil.example/a", "", refusal.AmbiguousPath},
		"two slashes at the end":       {"/a//", "", refusal.AmbiguousPath},
		"a backslash":                  {"/a\\b", "", refusal.AmbiguousPath},
		"an encoded backslash":         {"/a%5Cb", "", refusal.AmbiguousPath},
		"a semicolon":                  {"/a;x=1/b", "", refusal.AmbiguousPath},
		"an encoded semicolon":         {"/a%3bx", "", refusal.AmbiguousPath},
		"dots behind a semicolon":      {"/a/..;/b", "", refusal.AmbiguousPath},
		"NUL":                          {"/a%00.html", "", refusal.AmbiguousPath},
		"a line feed":                  {"/a%0ab", "", refusal.AmbiguousPath},
		"delete":                       {"/a%7f", "", refusal.AmbiguousPath},
		"a C1 control character":       {"/a%C2%85", "", refusal.AmbiguousPath},
		"bytes that are no text":       {"/a%ff", "", refusal.AmbiguousPath},
		"an overlong dot":              {"/%c0%ae%c0%ae/", "", refusal.AmbiguousPath},
		"an overlong slash":            {"/a%c0%afb", "", refusal.AmbiguousPath},
		"half a surrogate":             {"/%ed%a0%80", "", refusal.AmbiguousPath},
		"a letter encoded twice":       {"/%2561dmin", "", refusal.AmbiguousPath},
		"dots encoded twice":           {"/%252e%252e/", "", refusal.AmbiguousPath},
		"a fragment":                   {"/a#/../b", "", refusal.AmbiguousPath},
		"a star":                       {"*", "", refusal.BadRequest},
		"a query that ends the line":   {"/q?a HTTP/1.0", "", refusal.BadRequest},
		"a query that is not encoded":  {"/q?a=ü", "/q", ""},
		"a query that is no UTF-8":     {"/q?a=\xff", "", refusal.BadRequest},
		"a byte in the query":          {"/q?\xff", "", refusal.BadRequest},
		"a query in the absolute form": {"http://host/q?a b", "", refusal.BadRequest},
		"a file":                       {"file:///etc/passwd", "", refusal.BadRequest},
		"another scheme":               {"ftp://host/a", "", refusal.BadRequest},
		"a scheme without a host":      {"https:///a", "", refusal.BadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			u, err := url.ParseRequestURI(c.raw)
			if err != nil {
				t.Fatal(err)
			}
			got, code := canonicalPath(u, c.raw)
			if got != c.want || code != c.code {
				t.Fatalf("%s is %q, %q, want %q, %q", c.raw, got, code, c.want, c.code)
			}
		})
	}
	if _, code := canonicalPath(&url.URL{Scheme: "x", Opaque: "y"}, "x:y"); code != refusal.BadRequest {
		t.Errorf("an opaque target: %q", code)
	}
	if _, code := canonicalPath(&url.URL{Path: "a"}, "a"); code != refusal.BadRequest {
		t.Errorf("a path without slash: %q", code)
	}
}

// readings are the ways in which programs read a path that was sent to them.
var readings = map[string]func(string) string{
	"decoded":                   decode,
	"decoded twice":             func(s string) string { return decode(decode(s)) },
	"cleaned, then decoded":     func(s string) string { return decode(clean(s)) },
	"decoded, then cleaned":     func(s string) string { return clean(decode(s)) },
	"without parameters":        func(s string) string { before, _, _ := strings.Cut(decode(s), ";"); return before },
	"backslashes turned":        func(s string) string { return clean(strings.ReplaceAll(decode(s), `\`, "/")) },
	"as a C string":             func(s string) string { before, _, _ := strings.Cut(decode(s), "\x00"); return before },
	"without controls":          func(s string) string { return strings.Map(dropControl, decode(s)) },
	"before a fragment":         func(s string) string { before, _, _ := strings.Cut(s, "#"); return decode(before) },
	"before a question mark":    func(s string) string { before, _, _ := strings.Cut(s, "?"); return decode(before) },
	"with wrong bytes replaced": func(s string) string { return strings.ToValidUTF8(decode(s), "\uFFFD") },
}

func dropControl(r rune) rune {
	if unicode.IsControl(r) {
		return -1
	}
	return r
}

func decode(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, ok := unhex(s[i+1], s[i+2]); ok {
				b.WriteByte(c)
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func clean(s string) string {
	c := path.Clean(s)
	if strings.HasSuffix(s, "/") && c != "/" {
		c += "/"
	}
	return c
}

func FuzzCanonicalPath(f *testing.F) {
	for _, s := range []string{"/", "/a/b?c", "/%2e%2e/a", "/a%2fb", "/%252e", "//a", "/a;b", "/%C3%BC", "http://h/a", "/a#b", "/100%25", "/a%3Fb%23c", "*", "x:y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := url.ParseRequestURI(raw)
		if err != nil {
			return
		}
		p, code := canonicalPath(u, raw)
		if code != "" {
			if p != "" {
				t.Fatalf("refused, and %q", p)
			}
			return
		}
		sent := (&url.URL{Path: p}).EscapedPath()
		for name, read := range readings {
			if got := read(sent); got != p {
				t.Fatalf("%q is matched as %q and sent as %q, which is %q when %s", raw, p, sent, got, name)
			}
		}
		v, err := url.ParseRequestURI(sent)
		if err != nil {
			t.Fatal(err)
		}
		if again, code := canonicalPath(v, sent); again != p || code != "" || v.EscapedPath() != sent {
			t.Fatalf("%q, sent as %q, is %q, %q the second time", p, sent, again, code)
		}
		if !utf8.ValidString(p) || p[0] != '/' {
			t.Fatalf("%q", p)
		}
	})
}

// What we match is what real servers, which decode and clean by rules of their
// own, take the forwarded path for.
func TestOthersReadThePathThatWasMatched(t *testing.T) {
	t.Parallel()
	var accepted [][2]string // as it is forwarded, and as it was matched
	pieces := []string{"", "a", "%61", "..", ".", "%2e", ".%2e", "%2f", "%5c", "\\", ";", "%3b", "%00", "%25", "%2561", "%252f", "%20", "%3F", "%23", "%C3%BC", "%ff", "...", "b.html", "+", "~", "%7e"}
	for _, first := range pieces {
		for _, second := range pieces {
			for _, raw := range []string{"/" + first + second, "/" + first + "/" + second, "/x/" + first + "/" + second + "/"} {
				u, err := url.ParseRequestURI(raw)
				if err != nil {
					continue
				}
				p, code := canonicalPath(u, raw)
				if code != "" {
					continue
				}
				u.Path, u.RawPath = p, ""
				accepted = append(accepted, [2]string{u.EscapedPath(), p})
			}
		}
	}
	if len(accepted) < 100 {
		t.Fatalf("only %d paths were accepted: the test shows nothing", len(accepted))
	}
	for name, start := range map[string]func(*testing.T) *http.Client{
		"nginx": nginxPaths, "Caddy": caddyPaths,
		"Node": toldPort("node", "-e", `const s=require("http").createServer((q,r)=>r.end(decodeURIComponent(new URL(q.url,"http://x").pathname)));s.listen(0,"127.0.0.1",()=>console.log(s.address().port))`),
		"Python's WSGI": toldPort("python3", "-u", "-c", `
from wsgiref.simple_server import make_server, WSGIRequestHandler
class Quiet(WSGIRequestHandler):
    def log_message(self, *a): pass
def app(env, start):
    start("200 OK", [("Content-Type", "text/plain")])
    return [env["PATH_INFO"].encode("latin-1")]
s = make_server("127.0.0.1", 0, app, handler_class=Quiet)
print(s.server_port)
s.serve_forever()`),
	} {
		t.Run(name, func(t *testing.T) {
			client := start(t)
			for _, c := range accepted {
				res, err := client.Get("http://server" + c[0])
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || string(body) != c[1] {
					t.Errorf("%q is matched as %q, and it reads %q, %v", c[0], c[1], body, err)
				}
			}
		})
	}
}

// toldPort starts a program that prints the port it serves on, and returns a
// client that reaches it by any name.
func toldPort(program string, args ...string) func(*testing.T) *http.Client {
	return func(t *testing.T) *http.Client {
		t.Helper()
		cmd := exec.Command(program, args...)
		out, err := cmd.StdoutPipe()
		must(t, err)
		if err := cmd.Start(); err != nil {
			t.Fatalf("%s is needed: %v", program, err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		port, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatalf("%s does not say where it serves: %v", program, err)
		}
		return reaching("tcp", "127.0.0.1:"+strings.TrimSpace(port))
	}
}

func reaching(network, addr string) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}}}
}

// caddyPaths runs a Caddy that answers with the path it reads.
func caddyPaths(t *testing.T) *http.Client {
	t.Helper()
	dir := t.TempDir()
	sock, conf := filepath.Join(dir, "c.sock"), filepath.Join(dir, "Caddyfile")
	must(t, os.WriteFile(conf, []byte("{\n admin off\n auto_https off\n}\nhttp:// {\n bind unix/"+sock+"\n respond \"{http.request.uri.path}\"\n}\n"), 0o600))
	cmd := exec.Command("caddy", "run", "--adapter", "caddyfile", "--config", conf)
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatalf("caddy is needed: %v (apt-get install caddy)", err)
	}
	ended := sync.OnceFunc(func() { cmd.Process.Kill(); cmd.Wait() })
	t.Cleanup(ended)
	for range 500 {
		if c, err := net.Dial("unix", sock); err == nil {
			c.Close()
			return reaching("unix", sock)
		}
		time.Sleep(20 * time.Millisecond)
	}
	ended()
	t.Fatalf("caddy did not start: %s", said.String())
	return nil
}

// nginxPaths starts an nginx that answers with the path as it reads it.
func nginxPaths(t *testing.T) *http.Client {
	t.Helper()
	dir := t.TempDir()
	sock := filepath.Join(dir, "n.sock")
	conf := "daemon off; master_process off; pid " + dir + "/pid; error_log stderr;\nevents {}\nhttp {\n access_log off; default_type text/plain;\n"
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		conf += fmt.Sprintf(" %s_temp_path %s/%s;\n", kind, dir, kind)
	}
	conf += " server { listen unix:" + sock + "; location / { return 200 $uri; } }\n}\n"
	if err := os.WriteFile(dir+"/nginx.conf", []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd := exec.Command("nginx", "-p", dir, "-c", dir+"/nginx.conf")
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatalf("nginx is needed: %v (apt-get install nginx-light)", err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for range 200 {
		if c, err := net.Dial("unix", sock); err == nil {
			c.Close()
			return reaching("unix", sock)
		}
		time.Sleep(20 * time.Millisecond)
	}
	cmd.Process.Kill()
	cmd.Wait()
	t.Fatalf("nginx did not start: %s", said.String())
	return nil
}

func BenchmarkCanonicalPath(b *testing.B) {
	u, _ := url.ParseRequestURI("/static/css/site.css?v=3")
	b.ReportAllocs()
	for b.Loop() {
		if _, code := canonicalPath(u, "/static/css/site.css?v=3"); code != "" {
			b.Fatal(code)
		}
	}
}
