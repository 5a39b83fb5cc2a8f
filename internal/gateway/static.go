package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/postern-project/postern/internal/refusal"
)

// A Static serves the files of one folder, and nothing outside it: symbolic
// links are followed within the folder only. Names that begin with a dot are
// hidden (but for /.well-known, RFC 8615), folders are never listed, and a
// file that changes while it is being read is never sent half old and half
// new. It is safe for concurrent use.
type Static struct {
	folder *folder
	cache  *contentCache
	plain  http.Handler
}

// NewStatic returns a handler for the files in dir, which has to exist. The
// folder may be replaced by another of the same name at any time.
func NewStatic(dir string) (*Static, error) {
	f, err := openFolder(dir)
	if err != nil {
		return nil, err
	}
	s := &Static{folder: f, cache: newContentCache(cacheBudget)}
	s.plain = s.Handler(answerPlainly)
	return s, nil
}

// Close lets go of the folder. Requests after it get 503.
func (s *Static) Close() error { return s.folder.close() }

// ServeHTTP answers r, refusing in plain text.
func (s *Static) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.plain.ServeHTTP(w, r) }

// answerPlainly refuses in one line of text.
func answerPlainly(w http.ResponseWriter, _ *http.Request, code refusal.Code, _ string) {
	info := refusal.Lookup(code)
	http.Error(w, info.Sentence, info.Status)
}

// Handler returns the static site as a handler that calls refuse, which then
// answers, for a method that is not served and for a folder or file that has
// become unreadable; detail is for the operator.
func (s *Static) Handler(refuse func(w http.ResponseWriter, r *http.Request, code refusal.Code, detail string)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header()["Allow"] = []string{"GET, HEAD"}
			refuse(w, r, refusal.MethodNotServed, r.Method+" on a static site")
			return
		}
		if err := s.serve(w, r); err != nil {
			refuse(w, r, refusal.NotConfigured, err.Error())
		}
	})
}

// serve answers r, or returns an error, with nothing written, when the
// operator has to mend something.
func (s *Static) serve(w http.ResponseWriter, r *http.Request) error {
	name, ok := fileName(r.URL.Path)
	if !ok {
		notFound(w)
		return nil
	}
	root, info, err := s.stat(name)
	switch {
	case root == nil:
		return err
	case err != nil:
		return s.missing(w, err)
	case info.IsDir() && !strings.HasSuffix(r.URL.Path, "/"):
		addSlash(w, r)
		return nil
	case !info.Mode().IsRegular():
		notFound(w)
		return nil
	}
	return s.serveFile(w, r, root, name, info)
}

// stat looks name up. The root is nil when there is no folder.
func (s *Static) stat(name string) (*os.Root, fs.FileInfo, error) {
	root, err := s.folder.root()
	if err != nil {
		return nil, nil, err
	}
	info, err := root.Stat(name)
	if errors.Is(err, fs.ErrClosed) { // replaced at this moment
		if root, err = s.folder.root(); err != nil {
			return nil, nil, err
		}
		info, err = root.Stat(name)
	}
	return root, info, err
}

// missing answers for a file that cannot be read: it is not there, or the
// whole folder is not, or the operator forgot to make it readable, or somebody
// goes on writing it.
func (s *Static) missing(w http.ResponseWriter, err error) error {
	if errors.Is(err, errUnsettled) {
		w.Header()["Retry-After"] = []string{"1"}
		http.Error(w, "This page is being written at the moment.", http.StatusServiceUnavailable)
		return nil
	}
	if gone := s.folder.check(); gone != nil {
		return gone
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: make it readable for the user that postern runs as", err)
	}
	notFound(w)
	return nil
}

// fileName returns the name within the folder that path asks for, or false
// when it is none that could be served.
func fileName(path string) (string, bool) {
	if path == "" || path[0] != '/' || strings.ContainsAny(path, "\\\x00") {
		return "", false
	}
	name := path[1:]
	if name == "" || strings.HasSuffix(name, "/") {
		name += "index.html"
	}
	first := true
	for segment := range strings.SplitSeq(name, "/") {
		if segment == "" || segment[0] == '.' && !(first && segment == ".well-known") {
			return "", false
		}
		first = false
	}
	return name, true
}

// notFound answers that there is no such page.
func notFound(w http.ResponseWriter) {
	w.Header()["Cache-Control"] = []string{"no-store"}
	http.Error(w, "There is no such page here.", http.StatusNotFound)
}

// addSlash sends the client to the folder's own address, so that relative
// links on its page work.
func addSlash(w http.ResponseWriter, r *http.Request) {
	to := url.URL{Path: r.URL.Path + "/", RawQuery: r.URL.RawQuery}
	w.Header().Set("Location", to.String())
	w.WriteHeader(http.StatusMovedPermanently)
}

// serveFile answers with the file of that name, which info describes.
func (s *Static) serveFile(w http.ResponseWriter, r *http.Request, root *os.Root, name string, info fs.FileInfo) error {
	kind := mediaTypeOf(name)
	if info.Size() > kind.keep() {
		return s.stream(w, r, root, name, kind)
	}
	c, err := s.cache.content(name, stampOf(info), func() (*content, error) { return load(root, name, kind) })
	switch {
	case err != nil:
		return s.missing(w, err)
	case c == nil: // grew meanwhile
		return s.stream(w, r, root, name, kind)
	}
	c.serve(w, r, kind)
	return nil
}

// stream answers from the file itself. When the file changes meanwhile, the
// answer breaks off.
func (s *Static) stream(w http.ResponseWriter, r *http.Request, root *os.Root, name string, kind mediaType) error {
	f, info, err := openRegular(root, name)
	if err != nil {
		return s.missing(w, err)
	}
	defer f.Close()
	at, err := settle(f, info)
	if err != nil {
		return s.missing(w, err)
	}
	h := w.Header()
	kind.describe(h, false)
	h["Etag"] = []string{at.etag()}
	ignoreWeakIfRange(r)
	steady := &steadyFile{file: f, stamp: at}
	http.ServeContent(w, r, "", at.modified(), steady)
	if steady.changed.Load() {
		panic(http.ErrAbortHandler)
	}
	return nil
}

// openRegular opens a file that is one, without waiting for the other end of
// a named pipe.
func openRegular(root *os.Root, name string) (*os.File, fs.FileInfo, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// ignoreWeakIfRange takes the range from a request that makes it depend on a
// date. Within one second a file may have been two, so a date is no proof
// that the rest belongs to what the client has (RFC 9110 section 13.1.5).
func ignoreWeakIfRange(r *http.Request) {
	if v := r.Header.Get("If-Range"); v != "" && v[0] != '"' {
		r.Header.Del("Range")
	}
}

// A steadyFile is a file whose reads fail once it is no longer what it was. It
// has no other methods than these, so that nobody copies past them.
type steadyFile struct {
	file    *os.File
	stamp   stamp
	changed atomic.Bool
}

// errReplaced is what reading a steadyFile ends with.
var errReplaced = errors.New("the file changed while it was being sent")

// Read reads, and then looks whether what it read is to be trusted.
func (f *steadyFile) Read(p []byte) (int, error) {
	n, err := f.file.Read(p)
	info, staterr := f.file.Stat()
	if staterr != nil || stampOf(info) != f.stamp {
		f.changed.Store(true)
		return 0, errReplaced
	}
	return n, err
}

// Seek implements io.Seeker. The end is where it was when reading began.
func (f *steadyFile) Seek(offset int64, whence int) (int64, error) {
	return f.file.Seek(offset, whence)
}

// serve answers with the content in memory.
func (c *content) serve(w http.ResponseWriter, r *http.Request, kind mediaType) {
	v := c.plain
	h := w.Header()
	kind.describe(h, c.gzip != nil)
	if c.gzip != nil && acceptsGzip(r.Header["Accept-Encoding"]) {
		v = c.gzip
		h["Content-Encoding"] = gzipEncoding
	}
	h["Etag"] = v.etag
	if r.Header["If-Match"] == nil && r.Header["If-Unmodified-Since"] == nil {
		h["Content-Length"] = v.length // ServeContent leaves it out of compressed answers
	}
	if !conditional(r.Header) {
		h["Last-Modified"], h["Accept-Ranges"] = c.modified, acceptRanges
		if r.Method != http.MethodHead {
			w.Write(v.bytes) // an error means that the client left
		}
		return
	}
	ignoreWeakIfRange(r)
	http.ServeContent(w, r, "", c.stamp.modified(), bytes.NewReader(v.bytes))
}
