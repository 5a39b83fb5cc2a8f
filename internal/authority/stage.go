package authority

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/postern-project/postern/internal/keys"
)

// An authority is built in the stage, which becomes the ready folder in one
// rename, from where its files are moved to their places. What a crash leaves
// behind is told apart by the name: a stage is thrown away, a ready folder is
// emptied into place.
const (
	stageFolder = ".init"
	readyFolder = ".init-done"
	// askedFolder is a stage that waits for the root's answer.
	askedFolder = ".init-asked"
	// requestFile holds, in a stage, what the root is asked.
	requestFile = "root.request"
)

// pieces are what Init moves into place, and brought what a restored backup
// brings besides; the database comes last, for a folder with one is an authority.
var (
	pieces  = []string{RootFile, RootKeyFile, CeremoniesFile, IssuersFolder, LedgerKeyFile, DatabaseFile}
	brought = []string{nextLedgerKeyFile, lastLedgerKeyFile, requestsFolder, ACMEKeyFile, ListNumberFile, "assertions", "served", "responders", "registration", "upstream", "public"}
)

// A state is how far an earlier run of Init came.
type state int

const (
	nothing state = iota // begin
	ready                // built, its files are to be moved
)

// prepare looks at the data folder, makes it if it is missing, and throws away
// what an interrupted run had not finished. A piece that is there already is an
// error.
func prepare(dir string, pieces []string) (state, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nothing, fmt.Errorf("make data folder: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, readyFolder)); err == nil {
		return ready, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nothing, err
	}
	if _, err := os.Stat(filepath.Join(dir, askedFolder)); err == nil {
		return nothing, refuse(CodeExists, "complete it with 'postern init --answer FILE', or remove "+filepath.Join(dir, askedFolder)+" to begin anew",
			"an authority in %s waits for its root's answer", dir)
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

// wait keeps the stage until the root has answered.
func (m *maker) wait() error {
	if err := os.Rename(m.stage, filepath.Join(m.Dir, askedFolder)); err != nil {
		return err
	}
	return keys.SyncDir(m.Dir)
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
	for _, piece := range append(slices.Clone(brought), pieces...) {
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

// writeCertificates writes certificates in PEM to a file that all may read, in
// the place of one that is there.
func writeCertificates(path string, certs ...*x509.Certificate) error {
	return writePlain(path, encode(certs))
}

func encode(certs []*x509.Certificate) []byte {
	var text []byte
	for _, c := range certs {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return text
}

// writePlain puts a file that all may read in place at once: a crash leaves the
// old one or the new one.
func writePlain(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err := errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return keys.SyncDir(filepath.Dir(path))
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
