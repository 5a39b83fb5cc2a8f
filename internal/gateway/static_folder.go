package gateway

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// folderCheck is how often a folder is looked at anew while it is in use.
const folderCheck = time.Second

// A folder is a directory that may vanish and come back, or be replaced by
// another of the same name. It is safe for concurrent use.
type folder struct {
	path    string
	current atomic.Pointer[opened]
	due     atomic.Int64 // when to look again, in nanoseconds since start
	start   time.Time

	mu     sync.Mutex // held while current is replaced
	closed bool
}

// opened is a directory, or the reason why there is none.
type opened struct {
	root *os.Root
	info fs.FileInfo
	err  error
}

func openFolder(path string) (*folder, error) {
	f := &folder{path: path, start: time.Now()}
	o := openDir(path)
	if o.err != nil {
		return nil, o.err
	}
	f.current.Store(o)
	f.due.Store(int64(folderCheck))
	return f, nil
}

func openDir(path string) *opened {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &opened{err: fmt.Errorf("static folder %s does not exist: make it, or correct its name", path)}
	case err != nil:
		return &opened{err: fmt.Errorf("static folder: %w", err)}
	case !info.IsDir():
		return &opened{err: fmt.Errorf("static folder %s is a file: name the folder that it is in", path)}
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return &opened{err: fmt.Errorf("static folder: %w", err)}
	}
	here, err := root.Stat(".")
	if err != nil {
		root.Close()
		return &opened{err: fmt.Errorf("static folder %s: %w", path, err)}
	}
	return &opened{root: root, info: here}
}

// root returns the directory to serve from, or why there is none.
func (f *folder) root() (*os.Root, error) {
	since := int64(time.Since(f.start))
	if due := f.due.Load(); since >= due && f.due.CompareAndSwap(due, since+int64(folderCheck)) {
		f.refresh()
	}
	o := f.current.Load()
	return o.root, o.err
}

// check looks now, and returns what is wrong with the folder.
func (f *folder) check() error {
	f.refresh()
	return f.current.Load().err
}

// refresh opens the folder again when its name now stands for another one.
func (f *folder) refresh() {
	if f.current.Load().is(f.path) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.current.Load()
	if f.closed || old.is(f.path) {
		return
	}
	f.current.Store(openDir(f.path))
	if old.root != nil {
		old.root.Close() // files opened from it stay open
	}
}

// is reports whether path still names o.
func (o *opened) is(path string) bool {
	if o.err != nil {
		return false
	}
	info, err := os.Stat(path)
	return err == nil && os.SameFile(info, o.info)
}

func (f *folder) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.current.Load()
	f.closed = true
	f.current.Store(&opened{err: fmt.Errorf("static folder %s is closed", f.path)})
	if old.root != nil {
		return old.root.Close()
	}
	return nil
}
