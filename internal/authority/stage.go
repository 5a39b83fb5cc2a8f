package authority

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/postern-project/postern/internal/keys"
)

// An authority is built in the stage, which becomes the ready folder in one
// rename, from where its files are moved to their places. What a crash leaves
// behind is told apart by the name: a stage is thrown away, a ready folder is
// emptied into place.
const (
	stageFolder = ".init"
	readyFolder = ".init-done"
)

// pieces are what Init moves into place; the database comes last, for a folder
// with one is an authority.
var pieces = []string{RootFile, RootKeyFile, IssuersFolder, LedgerKeyFile, DatabaseFile}

// A state is how far an earlier run of Init came.
type state int

const (
	nothing state = iota // begin
	ready                // built, its files are to be moved
)

// prepare looks at the data folder, makes it if it is missing, and throws away
// what an interrupted run had not finished.
func prepare(dir string) (state, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nothing, fmt.Errorf("make data folder: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, readyFolder)); err == nil {
		return ready, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nothing, err
	}
	for _, piece := range pieces {
		_, err := os.Lstat(filepath.Join(dir, piece))
		if err == nil {
			return nothing, refuse(CodeExists, "choose another folder with --data, or move it away", "%s holds %s already", dir, piece)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nothing, err
		}
	}
	if err := os.RemoveAll(filepath.Join(dir, stageFolder)); err != nil {
		return nothing, fmt.Errorf("clear what an interrupted run left: %w", err)
	}
	return nothing, nil
}

// commit turns the stage into the authority.
func (m *maker) commit(from state) error {
	done := filepath.Join(m.Dir, readyFolder)
	if from == nothing {
		if err := os.Rename(m.stage, done); err != nil {
			return err
		}
		if err := keys.SyncDir(m.Dir); err != nil {
			return err
		}
		m.done("committed")
	}
	for _, piece := range pieces {
		if err := move(filepath.Join(done, piece), filepath.Join(m.Dir, piece)); err != nil {
			return err
		}
		m.done("moved " + piece)
	}
	if err := keys.SyncDir(m.Dir); err != nil {
		return err
	}
	if err := os.RemoveAll(done); err != nil {
		return err
	}
	return keys.SyncDir(m.Dir)
}

// move renames a piece, unless an earlier run did. It never replaces one.
func move(from, to string) error {
	if _, err := os.Lstat(from); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if _, err := os.Lstat(to); err == nil {
		return fmt.Errorf("%s stands where a new file belongs: move it away", to)
	}
	return os.Rename(from, to)
}

// syncTree flushes every file and folder below dir.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return keys.SyncDir(path)
	})
}

// writeCertificate writes a certificate in PEM to a new file that all may
// read.
func writeCertificate(path string, c *x509.Certificate) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	err = pem.Encode(f, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	return errors.Join(err, f.Sync(), f.Close())
}

func readCertificate(path string) (*x509.Certificate, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("%s holds no certificate: put back the file that postern wrote", path)
	}
	return x509.ParseCertificate(block.Bytes)
}
