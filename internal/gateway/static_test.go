package gateway

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/refusal"
)

// page is a text that is worth compressing.
var page = "<!doctype html><title>x</title>" + strings.Repeat("<p>hello</p>\n", 200)

// folderOf makes a folder with files, all last changed an hour ago.
func folderOf(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "public")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		write(t, filepath.Join(dir, name), text)
	}
	time.Sleep(settled) // so that no request has to
	return dir
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	hourAgo := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, hourAgo, hourAgo); err != nil {
		t.Fatal(err)
	}
}

func newStatic(t testing.TB, dir string) *Static {
	t.Helper()
	s, err := NewStatic(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	s.cache.trust = 0 // what these tests change has to show at once
	return s
}

// ask sends one request; fields are name, value, name, value.
func ask(h http.Handler, method, target string, fields ...string) *http.Response {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func bodyOf(t testing.TB, res *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestAFolderThatIsNoneIsAClearError(t *testing.T) {
	dir := folderOf(t, map[string]string{"file": "x"})
	for name, c := range map[string]struct{ path, want string }{
		"missing": {filepath.Join(dir, "nothing"), "does not exist: make it"},
		"a file":  {filepath.Join(dir, "file"), "is a file: name the folder"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := NewStatic(c.path); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.path) {
				t.Fatal(err)
			}
		})
	}
}

func TestFilesOfTheFolderAndNoOthersAreServed(t *testing.T) {
	dir := folderOf(t, map[string]string{
		"index.html": page, "a b.txt": "spaced", "sub/index.html": "sub", "sub/deep/x.txt": "deep", "empty/keep.txt": "k", "zero.txt": "",
		".env": "secret", ".git/config": "secret", "sub/.hidden": "secret", ".well-known/security.txt": "mail", "sub/.well-known/x": "secret",
	})
	write(t, filepath.Join(filepath.Dir(dir), "outside.txt"), "secret")
	for link, to := range map[string]string{
		"link-out": "../outside.txt", "link-abs": filepath.Join(filepath.Dir(dir), "outside.txt"), "link-dir": "..", "link-in.txt": "sub/deep/x.txt",
		"link-loop": "link-loop", "link-sub": "sub", "link-nowhere": "nothing", "link-etc": "/etc",
	} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := newStatic(t, dir)
	for name, c := range map[string]struct {
		path   string
		status int
		body   string // or Location
	}{
		"the index":                     {"/", 200, page},
		"the index by name":             {"/index.html", 200, page},
		"a space":                       {"/a%20b.txt", 200, "spaced"},
		"an empty file":                 {"/zero.txt", 200, ""},
		"a folder":                      {"/sub/", 200, "sub"},
		"a folder without its slash":    {"/sub", 301, "/sub/"},
		"the query stays":               {"/sub?a=b", 301, "/sub/?a=b"},
		"a deep file":                   {"/sub/deep/x.txt", 200, "deep"},
		"a link within":                 {"/link-in.txt", 200, "deep"},
		"through a linked folder":       {"/link-sub/", 200, "sub"},
		"what RFC 8615 makes public":    {"/.well-known/security.txt", 200, "mail"},
		"a folder is not listed":        {"/empty/", 404, ""},
		"a file is no folder":           {"/index.html/", 404, ""},
		"below a file":                  {"/index.html/x", 404, ""},
		"missing":                       {"/nothing", 404, ""},
		"hidden":                        {"/.env", 404, ""},
		"below hidden":                  {"/.git/config", 404, ""},
		"hidden below":                  {"/sub/.hidden", 404, ""},
		"well-known elsewhere":          {"/sub/.well-known/x", 404, ""},
		"up":                            {"/../outside.txt", 404, ""},
		"up, encoded":                   {"/%2e%2e/outside.txt", 404, ""},
		"up, with an encoded slash":     {"/..%2foutside.txt", 404, ""},
		"up from below":                 {"/sub/../../outside.txt", 404, ""},
		"up by a backslash":             {"/..%5coutside.txt", 404, ""},
		"two slashes":                   {"//etc/passwd", 404, ""},
		"NUL":                           {"/index.html%00.txt", 404, ""},
		"a link out":                    {"/link-out", 404, ""},
		"an absolute link":              {"/link-abs", 404, ""},
		"a folder linked out":           {"/link-dir/outside.txt", 404, ""},
		"the machine's files":           {"/link-etc/passwd", 404, ""},
		"a link to itself":              {"/link-loop", 404, ""},
		"a link to nothing":             {"/link-nowhere", 404, ""},
		"a named pipe, without waiting": {"/pipe", 404, ""},
		"a name longer than any":        {"/" + strings.Repeat("a", 5000), 404, ""},
		"a percent sign is a percent":   {"/%2561", 404, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			u, err := r.URL.Parse("http://h" + c.path)
			if err != nil {
				t.Fatal(err)
			}
			r.URL = u
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			got := w.Body.String()
			if c.status == 301 {
				got = w.Header().Get("Location")
			}
			if w.Code != c.status || c.status != 404 && got != c.body || strings.Contains(got, "secret") {
				t.Fatalf("%d %q", w.Code, got)
			}
		})
	}
}

func TestAnswersSayWhatTheyAre(t *testing.T) {
	dir := folderOf(t, map[string]string{
		"a.html": page, "a.HTML": page, "a.js": page, "a.mjs": page, "a.css": page, "a.svg": page, "a.wasm": page, "a.json": page, "a.webmanifest": page,
		"a.png": page, "a.woff2": page, "a.txt": page, "a.unknownkind": "<script>", "LICENSE": "x", "a.html.gz": page, "a.mobileconfig": page,
	})
	s := newStatic(t, dir)
	for name, want := range map[string]string{
		"a.html": "text/html; charset=utf-8", "a.HTML": "text/html; charset=utf-8", "a.js": "text/javascript; charset=utf-8", "a.mjs": "text/javascript; charset=utf-8",
		"a.css": "text/css; charset=utf-8", "a.svg": "image/svg+xml", "a.wasm": "application/wasm", "a.json": "application/json", "a.webmanifest": "application/manifest+json",
		"a.png": "image/png", "a.woff2": "font/woff2", "a.txt": "text/plain; charset=utf-8", "a.unknownkind": "application/octet-stream", "LICENSE": "application/octet-stream",
		"a.html.gz": "application/gzip", "a.mobileconfig": "application/x-apple-aspen-config",
	} {
		h := ask(s, "GET", "/"+name).Header
		if h.Get("Content-Type") != want || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Content-Encoding") != "" {
			t.Errorf("%s: %v, want %s", name, h, want)
		}
	}
}

func TestMethodsThatChangeAreNotServed(t *testing.T) {
	s := newStatic(t, folderOf(t, map[string]string{"index.html": page}))
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PROPFIND"} {
		var code refusal.Code
		h := s.Handler(func(w http.ResponseWriter, _ *http.Request, c refusal.Code, _ string) { code = c; w.WriteHeader(405) })
		if res := ask(h, method, "/"); code != refusal.MethodNotServed || res.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %q %v", method, code, res.Header)
		}
	}
	got, head := ask(s, "GET", "/"), ask(s, "HEAD", "/")
	if bodyOf(t, head) != "" || fmt.Sprint(got.Header) != fmt.Sprint(head.Header) || head.Header.Get("Content-Length") != fmt.Sprint(len(page)) {
		t.Errorf("GET has %v, HEAD %v", got.Header, head.Header)
	}
}

func TestAFileThatMayNotBeReadIsForTheOperator(t *testing.T) {
	s := newStatic(t, folderOf(t, map[string]string{"index.html": "x"}))
	w := httptest.NewRecorder()
	err := s.missing(w, &os.PathError{Op: "openat", Path: "index.html", Err: syscall.EACCES})
	if err == nil || !strings.Contains(err.Error(), "make it readable") || w.Body.Len() > 0 {
		t.Fatal(err)
	}
}

func FuzzFileName(f *testing.F) {
	for _, s := range []string{"/", "/a", "/../a", "/.git/x", "//", "/a/../../b", "/.well-known/x", "/a\\..\\b", "", "a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, p string) {
		name, ok := fileName(p)
		if !ok {
			return
		}
		if name == "" || strings.HasPrefix(name, "/") || strings.ContainsAny(name, "\\\x00") {
			t.Fatalf("%q is %q", p, name)
		}
		for i, segment := range strings.Split(name, "/") {
			if segment == "" || segment[0] == '.' && (i > 0 || segment != ".well-known") {
				t.Fatalf("%q is %q", p, name)
			}
		}
	})
}

func BenchmarkStaticSmallFile(b *testing.B) {
	s := newStatic(b, folderOf(b, map[string]string{"index.html": page}))
	time.Sleep(trustedAfter)
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Accept-Encoding", "gzip, deflate, br, zstd")
	w := &nullWriter{h: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.h)
		s.ServeHTTP(w, r)
	}
}

type nullWriter struct{ h http.Header }

func (w *nullWriter) Header() http.Header         { return w.h }
func (w *nullWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w *nullWriter) WriteHeader(int)             {}
