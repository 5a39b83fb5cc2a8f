package gateway

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

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
	if c := s.cache.recent(name, time.Now()); c != nil {
		if _, err := s.folder.root(); err != nil {
			return err
		}
		c.serve(w, r, mediaTypeOf(name))
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
