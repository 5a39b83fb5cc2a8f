package enroll

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"

	"github.com/postern-project/postern/internal/page"
)

// Downloads are programs that the page of an invitation offers, from a folder
// that the operator filled, such as with what 'make dist' builds.
type Downloads struct {
	root *os.Root // nil for none
	list []page.Download
}

// program matches the names of files that are offered.
var program = regexp.MustCompile(`^postern-(linux|darwin|windows)-(amd64|arm64)(\.exe)?$`)

// OpenDownloads reads the programs in dir and their checksums. A folder that is
// not there offers nothing. Close lets it go.
func OpenDownloads(dir string) (*Downloads, error) {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return &Downloads{}, nil
	}
	if err != nil {
		return nil, err
	}
	d := &Downloads{root: root}
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	for _, e := range entries {
		m := program.FindStringSubmatch(e.Name())
		if m == nil || !e.Type().IsRegular() {
			continue
		}
		sum, err := checksum(root, e.Name())
		if err != nil {
			return nil, errors.Join(err, d.Close())
		}
		d.list = append(d.list, page.Download{System: systems[m[1]] + ", " + m[2], URL: page.JoinFolder + e.Name(), SHA256: sum})
	}
	return d, nil
}

var systems = map[string]string{"linux": "Linux", "darwin": "macOS", "windows": "Windows"}

func checksum(root *os.Root, name string) (string, error) {
	f, err := root.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// offered returns what the page shows.
func (d *Downloads) offered() []page.Download {
	if d == nil {
		return nil
	}
	return d.list
}

// Close lets the folder go.
func (d *Downloads) Close() error {
	if d == nil || d.root == nil {
		return nil
	}
	return d.root.Close()
}

// serve answers with one of the programs, and with nothing else from there.
func (d *Downloads) serve(w http.ResponseWriter, r *http.Request, name string) bool {
	if d == nil || d.root == nil || !program.MatchString(name) {
		return false
	}
	f, err := d.root.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", `attachment; filename="`+filepath.Base(name)+`"`)
	h.Set("X-Content-Type-Options", "nosniff")
	http.ServeContent(w, r, "", info.ModTime(), f)
	return true
}
