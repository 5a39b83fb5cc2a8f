package gateway

import (
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"sync/atomic"
	"syscall"
)

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
