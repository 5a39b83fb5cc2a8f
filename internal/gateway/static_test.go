package gateway

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
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

func TestCompressedAndPlainAreTwoThings(t *testing.T) {
	noise := make([]byte, 4096)
	rand.Read(noise)
	dir := folderOf(t, map[string]string{"index.html": page, "small.txt": "small", "noise.txt": string(noise), "a.png": page, "big.js": strings.Repeat("x", keepText+1)})
	s := newStatic(t, dir)
	for name, c := range map[string]struct {
		path, accept string
		gzip, vary   bool
	}{
		"a browser":                  {"/", "gzip, deflate, br, zstd", true, true},
		"gzip alone":                 {"/", "gzip", true, true},
		"in capitals with weights":   {"/", "br;q=1.0, GZIP;q=0.5", true, true},
		"anything":                   {"/", "*", true, true},
		"anything but gzip":          {"/", "gzip;q=0, *", false, true},
		"gzip of no weight":          {"/", "gzip; q=0.000", false, true},
		"a weight that is none":      {"/", "gzip;q=x", false, true},
		"another":                    {"/", "br", false, true},
		"a word that begins like it": {"/", "gzipped", false, true},
		"no word of it":              {"/", "", false, true},
		"too small to pay":           {"/small.txt", "gzip", false, false},
		"nothing to gain":            {"/noise.txt", "gzip", false, false},
		"a kind that is compressed":  {"/a.png", "gzip", false, false},
		"larger than what is kept":   {"/big.js", "gzip", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			res := ask(s, "GET", c.path, "Accept-Encoding", c.accept)
			body := bodyOf(t, res)
			if got := res.Header.Get("Content-Encoding") == "gzip"; got != c.gzip || (res.Header.Get("Vary") == "Accept-Encoding") != c.vary {
				t.Fatal(res.Header)
			}
			if res.Header.Get("Content-Length") != fmt.Sprint(len(body)) {
				t.Errorf("%d bytes, announced %s", len(body), res.Header.Get("Content-Length"))
			}
			if c.gzip && unpack(t, body) != page {
				t.Error("another text")
			}
		})
	}
	plain, packed := ask(s, "GET", "/"), ask(s, "GET", "/", "Accept-Encoding", "gzip")
	tag, zipTag := plain.Header.Get("Etag"), packed.Header.Get("Etag")
	if tag == zipTag || tag == "" || strings.HasPrefix(zipTag, "W/") {
		t.Fatalf("tags %s and %s", tag, zipTag)
	}
	for name, c := range map[string]struct {
		accept, tag string
		status      int
	}{
		"the plain one again":      {"", tag, 304},
		"the packed one again":     {"gzip", zipTag, 304},
		"one of several":           {"gzip", `"x", ` + zipTag, 304},
		"any":                      {"gzip", "*", 304},
		"packed, and plain is had": {"gzip", tag, 200},
		"plain, and packed is had": {"", zipTag, 200},
	} {
		t.Run(name, func(t *testing.T) {
			res := ask(s, "GET", "/", "Accept-Encoding", c.accept, "If-None-Match", c.tag)
			if res.StatusCode != c.status || res.Header.Get("Vary") != "Accept-Encoding" || res.Header.Get("Etag") == "" {
				t.Fatal(res.Status, res.Header)
			}
			if body := bodyOf(t, res); c.status == 200 && res.Header.Get("Content-Length") != fmt.Sprint(len(body)) {
				t.Fatal(res.Header)
			}
		})
	}
}

func unpack(t *testing.T, s string) string {
	t.Helper()
	z, err := gzip.NewReader(strings.NewReader(s))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRangesAndConditions(t *testing.T) {
	big := strings.Repeat("0123456789", keepOther/10+100)
	s := newStatic(t, folderOf(t, map[string]string{"small.bin": "0123456789", "big.bin": big}))
	for _, file := range []string{"/small.bin", "/big.bin"} {
		first := ask(s, "GET", file)
		whole, tag, date := bodyOf(t, first), first.Header.Get("Etag"), first.Header.Get("Last-Modified")
		for name, c := range map[string]struct {
			fields []string
			status int
			body   string
		}{
			"the start":                    {[]string{"Range", "bytes=0-3"}, 206, "0123"},
			"the end":                      {[]string{"Range", "bytes=-2"}, 206, "89"},
			"from the middle":              {[]string{"Range", fmt.Sprintf("bytes=%d-", len(whole)-3)}, 206, "789"},
			"past the end":                 {[]string{"Range", "bytes=99999999-"}, 416, ""},
			"another unit":                 {[]string{"Range", "lines=1-2"}, 416, ""},
			"the rest of the same":         {[]string{"Range", "bytes=0-1", "If-Range", tag}, 206, "01"},
			"the rest of another":          {[]string{"Range", "bytes=0-1", "If-Range", `"old"`}, 200, whole},
			"the rest by a date":           {[]string{"Range", "bytes=0-1", "If-Range", date}, 200, whole},
			"unchanged by date":            {[]string{"If-Modified-Since", date}, 304, ""},
			"changed by date":              {[]string{"If-Modified-Since", "Mon, 02 Jan 2006 15:04:05 GMT"}, 200, whole},
			"the tag counts, not the date": {[]string{"If-Modified-Since", date, "If-None-Match", `"old"`}, 200, whole},
			"only if it is this one":       {[]string{"If-Match", tag}, 200, whole},
			"only if it is another":        {[]string{"If-Match", `"old"`}, 412, ""},
			"only if not changed since":    {[]string{"If-Unmodified-Since", "Mon, 02 Jan 2006 15:04:05 GMT"}, 412, ""},
		} {
			t.Run(file+" "+name, func(t *testing.T) {
				res := ask(s, "GET", file, c.fields...)
				body := bodyOf(t, res)
				if res.StatusCode != c.status || c.status < 300 && body != c.body {
					t.Fatalf("%s %.40q %v", res.Status, body, res.Header)
				}
				if n := res.Header.Get("Content-Length"); n != "" && n != fmt.Sprint(len(body)) {
					t.Fatalf("%d bytes, announced %s", len(body), n)
				}
			})
		}
	}
}

func TestAChangedFileIsServedChanged(t *testing.T) {
	dir := folderOf(t, map[string]string{"index.html": page, "big.bin": strings.Repeat("a", keepOther+1)})
	s := newStatic(t, dir)
	for _, name := range []string{"index.html", "big.bin"} {
		path := filepath.Join(dir, name)
		old := ask(s, "GET", "/"+name)
		text := bodyOf(t, old)
		if again := ask(s, "GET", "/"+name); again.Header.Get("Etag") != old.Header.Get("Etag") {
			t.Errorf("%s: the tag changed and the file did not", name)
		}
		for i := range 3 { // of the same size, and with the same date
			text = fmt.Sprint(i) + text[1:]
			write(t, path, text)
			res := ask(s, "GET", "/"+name)
			if bodyOf(t, res) != text || res.Header.Get("Etag") == old.Header.Get("Etag") {
				t.Fatalf("%s, change %d: the old one is served", name, i)
			}
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if res := ask(s, "GET", "/"+name); res.StatusCode != 404 {
			t.Errorf("%s is gone, and answered %s", name, res.Status)
		}
	}
}

// While a file is written in place and replaced as fast as possible, no
// answer that ended well holds parts of two.
func TestNoAnswerIsHalfOldAndHalfNew(t *testing.T) {
	for name, size := range map[string]int{"small.html": 40_000, "big.bin": 3 << 20} {
		t.Run(name, func(t *testing.T) {
			dir := folderOf(t, map[string]string{name: strings.Repeat("a", size)})
			front := httptest.NewServer(newStatic(t, dir))
			defer front.Close()
			stop := make(chan struct{})
			var wg sync.WaitGroup
			wg.Go(func() { scribble(t, dir, name, size, stop) })
			whole, broken := 0, 0
			for end := time.Now().Add(1500 * time.Millisecond); time.Now().Before(end); {
				res, err := http.Get(front.URL + "/" + name)
				if err != nil {
					broken++
					continue
				}
				body, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || res.StatusCode == 503 || res.StatusCode == 404 {
					broken++
					continue
				}
				if len(body) == size {
					whole++ // a writer that is held up leaves a short file for a while, which is no mixture
				}
				if res.StatusCode != 200 || len(body) > size || len(body) > 0 && bytes.Count(body, body[:1]) != len(body) {
					t.Errorf("%s: %d bytes, %d of them %q", res.Status, len(body), bytes.Count(body, body[:1]), body[:1])
					break
				}
			}
			close(stop)
			wg.Wait()
			t.Logf("%d whole answers, %d broken off", whole, broken)
			if whole == 0 {
				t.Error("no answer was whole: the test shows nothing")
			}
		})
	}
}

// scribble changes a file again and again, in place and by replacing it.
func scribble(t *testing.T, dir, name string, size int, stop <-chan struct{}) {
	path := filepath.Join(dir, name)
	for i := 0; ; i++ {
		text := bytes.Repeat([]byte{'a' + byte(i%26)}, size)
		target := path
		if i%2 == 0 {
			target = filepath.Join(dir, ".new")
		}
		if err := os.WriteFile(target, text, 0o644); err != nil {
			t.Error(err)
			return
		}
		if target != path {
			if err := os.Rename(target, path); err != nil {
				t.Error(err)
				return
			}
		}
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(i%5) * 30 * time.Millisecond):
		}
	}
}

func TestAFolderThatVanishesIsAClosedSiteUntilItIsBack(t *testing.T) {
	dir := folderOf(t, map[string]string{"index.html": "one", "sub/x.txt": "x"})
	s := newStatic(t, dir)
	var code refusal.Code
	var detail string
	h := s.Handler(func(w http.ResponseWriter, _ *http.Request, c refusal.Code, d string) {
		code, detail = c, d
		w.WriteHeader(refusal.Lookup(c).Status)
	})
	if res := ask(h, "GET", "/"); bodyOf(t, res) != "one" {
		t.Fatal(res.Status)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", "/sub/x.txt", "/nothing"} {
		if res := ask(h, "GET", path); res.StatusCode != 503 || code != refusal.NotConfigured || !strings.Contains(detail, dir) || bodyOf(t, res) != "" {
			t.Fatalf("%s: %s %s %s", path, res.Status, code, detail)
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "index.html"), "two")
	s.folder.due.Store(0) // as a second later
	if res := ask(h, "GET", "/"); bodyOf(t, res) != "two" {
		t.Fatal("the new folder is not served: ", res.Status)
	}
	// Replaced by another at one stroke, as deploying does.
	next := filepath.Join(filepath.Dir(dir), "next")
	write(t, filepath.Join(next, "index.html"), "three")
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, dir); err != nil {
		t.Fatal(err)
	}
	s.folder.due.Store(0)
	if res := ask(h, "GET", "/"); bodyOf(t, res) != "three" {
		t.Fatal("the folder moved away is served")
	}
	s.Close()
	if res := ask(h, "GET", "/"); res.StatusCode != 503 {
		t.Fatal(res.Status)
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

func TestMemoryStaysWithinTheBudget(t *testing.T) {
	files := map[string]string{}
	for i := range 60 {
		files[fmt.Sprintf("%d.txt", i)] = strings.Repeat(fmt.Sprint(i), 5000)
	}
	s := newStatic(t, folderOf(t, files))
	s.cache = newContentCache(100_000)
	for range 2 {
		for name, text := range files {
			if bodyOf(t, ask(s, "GET", "/"+name)) != text {
				t.Fatal(name)
			}
			s.cache.mu.Lock()
			used, sum := s.cache.used, int64(0)
			for _, e := range s.cache.entries {
				sum += e.Value.(*cached).content.cost()
			}
			s.cache.mu.Unlock()
			if used > 100_000 || used != sum {
				t.Fatalf("%d bytes used, %d counted", used, sum)
			}
		}
	}
}

func TestOneReadServesAllWhoAskAtOnce(t *testing.T) {
	c := newContentCache(1 << 20)
	reads := 0
	begun, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	read := func() (*content, error) {
		reads++
		close(begun)
		<-release
		return &content{plain: newVariant([]byte("x"))}, nil
	}
	ask := func() {
		if got, err := c.content("a", stamp{}, read); err != nil || string(got.plain.bytes) != "x" {
			t.Error(got, err)
		}
	}
	wg.Go(ask)
	<-begun
	for range 10 {
		wg.Go(ask)
	}
	time.Sleep(20 * time.Millisecond)
	close(release)
	wg.Wait()
	if reads != 1 {
		t.Fatalf("%d reads", reads)
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

func FuzzAcceptsGzip(f *testing.F) {
	f.Add("gzip;q=0, *;q=1")
	f.Fuzz(func(t *testing.T, s string) {
		if acceptsGzip([]string{s}) && !strings.Contains(strings.ToLower(s), "gzip") && !strings.Contains(s, "*") {
			t.Fatalf("%q accepts gzip", s)
		}
		if acceptsGzip([]string{s, "gzip;q=0, *;q=0"}) && !acceptsGzip([]string{s}) {
			t.Fatalf("%q accepts gzip only after it was refused", s)
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
