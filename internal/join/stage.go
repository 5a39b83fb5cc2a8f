package join

import (
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/chain"
	"github.com/postern-project/postern/internal/keys"
)

const (
	stagePrefix = ".join-"       // a folder of files that are not complete
	nextDir     = ".next"        // a folder of complete files on their way to their place
	noP12       = "no-p12"       // in nextDir: the old identity.p12 has to go
	reserveFile = "reserve"      // holds room on the disk until the invitation is spent
	reserveSize = 64 << 10       // more than all our files together
	asidePrefix = "old-"         // a folder of files that were replaced unasked
	staleAfter  = 24 * time.Hour // when a stage was left behind by a crash
)

// placed lists the files in the order in which they are put in their place:
// key and certificate next to each other, the state last.
var placed = [...]string{RootFile, OpenSSLFile, P12File, PasswordFile, KeyFile, CertFile, StateFile}

// A writer writes a new file and flushes it.
type writer func(path string, data []byte, mode fs.FileMode) error

// A stage is where files are made complete before they replace any others.
type stage struct {
	dir, base string
	made      bool // the base is ours, so it goes when nothing comes of it
	write     writer
}

// newStage opens a stage in base, so that what is made there can be renamed
// into base and below it.
func newStage(base string, now time.Time, write writer) (*stage, error) {
	if write == nil {
		write = writeFile
	}
	_, err := os.Lstat(base)
	s := &stage{base: base, made: errors.Is(err, fs.ErrNotExist), write: write}
	if err := os.MkdirAll(base, 0o700); err != nil {
		return nil, folderError(base, err)
	}
	sweep(base, now)
	if s.dir, err = os.MkdirTemp(base, stagePrefix); err != nil {
		return nil, folderError(base, err)
	}
	return s, nil
}

// sweep removes what runs that were killed long ago left in base. What cannot
// be removed does no harm.
func sweep(base string, now time.Time) {
	entries, err := os.ReadDir(base)
	if err != nil {
		return
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && e.IsDir() && strings.HasPrefix(e.Name(), stagePrefix) && now.Sub(info.ModTime()) > staleAfter {
			os.RemoveAll(filepath.Join(base, e.Name()))
		}
	}
}

// discard removes the stage unless it was installed.
func (s *stage) discard() {
	os.RemoveAll(s.dir)
	if s.made {
		os.Remove(s.base) // only if nothing is in it
	}
}

func (s *stage) put(name string, data []byte, mode fs.FileMode) error {
	if err := s.write(filepath.Join(s.dir, name), data, mode); err != nil {
		return folderError(s.base, err)
	}
	return nil
}

// reserve writes the key, unless it lives elsewhere, and takes the room for
// everything else, so that a full disk is found before the invitation is spent.
func (s *stage) reserve(key crypto.Signer) error {
	if key != nil {
		if err := s.putKey(key); err != nil {
			return err
		}
	}
	return s.put(reserveFile, make([]byte, reserveSize), 0o600)
}

func (s *stage) putKey(key crypto.Signer) error {
	text, err := keys.PEM(key)
	if err != nil {
		return err
	}
	defer clear(text)
	return s.put(KeyFile, text, 0o600)
}

// fill completes the stage; with a password also by identity.p12.
func (s *stage) fill(c *certificate, state State, password string) error {
	os.Remove(filepath.Join(s.dir, reserveFile))
	if c.key != nil && !exists(s.dir, KeyFile) {
		if err := s.putKey(c.key); err != nil {
			return err
		}
	}
	if err := s.fillP12(c, password); err != nil {
		return err
	}
	if state.TPM != "" {
		if err := s.put(OpenSSLFile, []byte(openSSLConfig), 0o644); err != nil {
			return err
		}
	}
	certs, root := c.pems()
	text, err := json.MarshalIndent(state, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", StateFile, err)
	}
	if err := s.put(CertFile, certs, 0o644); err != nil {
		return err
	}
	if err := s.put(RootFile, root, 0o644); err != nil {
		return err
	}
	return s.put(StateFile, append(text, '\n'), 0o644)
}

// openSSLConfig makes every program that is built on OpenSSL read a key that a
// TPM has wrapped, by the provider of the package tpm2-openssl. Hashing,
// encryption and randomness stay with the processor.
const openSSLConfig = `openssl_conf = main
[main]
providers = providers
alg_section = algorithms
random = random
[algorithms]
default_properties = ?provider=tpm2,tpm2.digest!=yes,tpm2.cipher!=yes
[random]
random = CTR-DRBG
properties = provider=default
seed_properties = provider=default
[providers]
default = on
tpm2 = on
[on]
activate = 1
`

func (s *stage) fillP12(c *certificate, password string) error {
	if password == "" {
		return s.put(noP12, nil, 0o600)
	}
	data, err := c.p12(password)
	if err != nil {
		return err
	}
	if err := s.put(P12File, data, 0o600); err != nil {
		return err
	}
	return s.put(PasswordFile, []byte(password+"\n"), 0o600)
}

// install moves the complete files into dir and returns their paths. From the
// first rename on, a run that is interrupted is ended by the next one.
func (s *stage) install(dir string) ([]string, error) {
	if err := finish(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, folderError(dir, err)
	}
	var paths []string
	for _, name := range placed {
		if exists(s.dir, name) {
			paths = append(paths, filepath.Join(dir, name))
		}
	}
	if err := keys.SyncDir(s.dir); err != nil {
		return nil, folderError(dir, err)
	}
	if err := os.Rename(s.dir, filepath.Join(dir, nextDir)); err != nil {
		return nil, folderError(dir, err)
	}
	return paths, finish(dir)
}

// finish puts the files of a complete stage in dir in their places.
func finish(dir string) error {
	next := filepath.Join(dir, nextDir)
	if !exists(dir, nextDir) {
		return nil
	}
	if exists(next, noP12) {
		if err := removeAll(filepath.Join(dir, P12File), filepath.Join(dir, PasswordFile), filepath.Join(next, noP12)); err != nil {
			return folderError(dir, err)
		}
	}
	for _, name := range placed {
		if !exists(next, name) {
			continue
		}
		if err := os.Rename(filepath.Join(next, name), filepath.Join(dir, name)); err != nil {
			return folderError(dir, err)
		}
	}
	if err := os.Remove(next); err != nil {
		return folderError(dir, err)
	}
	return keys.SyncDir(dir)
}

func removeAll(paths ...string) error {
	for _, path := range paths {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// setAside copies the files in dir to a folder of their own inside it, and
// returns that.
func setAside(dir string) (string, error) {
	aside := filepath.Join(dir, asidePrefix+"unknown")
	if c, err := load(dir); err == nil {
		aside = filepath.Join(dir, asidePrefix+chain.SerialOf(c.leaf))
	}
	if err := os.MkdirAll(aside, 0o700); err != nil {
		return "", folderError(dir, err)
	}
	for _, name := range placed {
		data, err := readSmall(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) || exists(aside, name) {
			continue
		}
		if err == nil {
			err = writeFile(filepath.Join(aside, name), data, 0o600)
		}
		if err != nil {
			return "", folderError(dir, err)
		}
	}
	return aside, nil
}

// writeFile writes a new file and flushes it to the disk.
func writeFile(path string, data []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
