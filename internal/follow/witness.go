package follow

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/store"
)

// Seen is how far a witness has seen the ledger come.
type Seen struct {
	Epoch, Size uint64
	Root        ledger.Hash
	Note        []byte    // the signed checkpoint
	At          time.Time // when it was recorded
}

// A Witness keeps the newest checkpoint in a file outside the data folder, so
// that an older copy of the folder is noticed. It is safe for concurrent use.
type Witness struct {
	path string

	mu      sync.Mutex // guards what follows, and the file
	newest  store.Head
	dirty   bool
	timer   *time.Timer
	written time.Time
	closed  bool
	err     error          // of the last write
	writing sync.WaitGroup // timers under way
}

// interval is the least time between two writes.
const interval = time.Second

// OpenWitness returns the witness of the ledger whose entry 0 has the leaf
// hash genesis. The file is made by the first Record. The caller closes the
// witness.
func OpenWitness(stateDir string, genesis ledger.Hash) *Witness {
	return &Witness{path: filepath.Join(stateDir, hex.EncodeToString(genesis[:8])+".checkpoint")}
}

// Path returns where the witness keeps its file.
func (w *Witness) Path() string { return w.path }

// Seen returns what the file holds, and false when there is none. The
// signature is not checked.
func (w *Witness) Seen() (Seen, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.read()
}

func (w *Witness) read() (Seen, bool, error) {
	note, err := os.ReadFile(w.path)
	if errors.Is(err, fs.ErrNotExist) {
		return Seen{}, false, nil
	}
	if err != nil {
		return Seen{}, false, fmt.Errorf("witness: %w", err)
	}
	seen, err := parseNote(note)
	if err != nil {
		return Seen{}, false, fmt.Errorf("witness %s is damaged: %w: remove it if you are sure that the data folder is the newest there is", w.path, err)
	}
	if info, err := os.Stat(w.path); err == nil {
		seen.At = info.ModTime()
	}
	return seen, true, nil
}

// parseNote reads the body of a checkpoint without looking at its signature.
func parseNote(note []byte) (Seen, error) {
	lines := strings.SplitN(string(note), "\n", 4)
	if len(lines) != 4 {
		return Seen{}, errors.New("it is no checkpoint")
	}
	epoch, errEpoch := strconv.ParseUint(lines[0][strings.LastIndexByte(lines[0], '/')+1:], 10, 64)
	size, errSize := strconv.ParseUint(lines[1], 10, 64)
	root, errRoot := parseRoot(lines[2])
	if err := errors.Join(errEpoch, errSize, errRoot); err != nil {
		return Seen{}, errors.New("it is no checkpoint")
	}
	return Seen{Epoch: epoch, Size: size, Root: root, Note: note}, nil
}

// Record remembers h. The file is written in the background, at most once a
// second; Close writes what is left.
func (w *Witness) Record(h store.Head) {
	w.mu.Lock()
	defer w.mu.Unlock()
	older := h.Epoch < w.newest.Epoch || h.Epoch == w.newest.Epoch && h.Size <= w.newest.Size
	if w.closed || h.Size == 0 || older {
		return
	}
	w.newest, w.dirty = h, true
	if w.timer == nil {
		w.writing.Add(1)
		w.timer = time.AfterFunc(max(0, interval-time.Since(w.written)), w.tick)
	}
}

func (w *Witness) tick() {
	defer w.writing.Done()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = nil
	w.flush()
}

// flush writes the file if there is news. w.mu is held.
func (w *Witness) flush() {
	if !w.dirty {
		return
	}
	if seen, ok, err := w.read(); err == nil && ok && seen.ahead(w.newest) {
		w.err = fmt.Errorf("witness %s has seen %d entries and the store has %d: the data folder is an older copy", w.path, seen.Size, w.newest.Size)
		return
	}
	w.write()
}

// ahead reports whether s is newer than h can have come from.
func (s Seen) ahead(h store.Head) bool {
	return s.Epoch > h.Epoch || s.Epoch == h.Epoch && s.Size > h.Size
}

func (w *Witness) write() {
	w.written = time.Now()
	if w.err = replace(w.path, w.newest.Note); w.err == nil {
		w.dirty = false
	}
}

// Replace writes h at once, whatever was seen before: an operator has
// accepted the loss of what came after it.
func (w *Witness) Replace(h store.Head) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.newest, w.dirty = h, true
	w.write()
	return w.err
}

// Err returns why the newest checkpoint could not be written, or nil.
func (w *Witness) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Close writes what is left and ends the witness. Later Records do nothing.
func (w *Witness) Close() error {
	w.mu.Lock()
	w.closed = true
	if w.timer != nil && w.timer.Stop() {
		w.timer = nil
		w.writing.Done()
	}
	w.flush()
	err := w.err
	w.mu.Unlock()
	w.writing.Wait()
	return err
}

// replace puts a file in place at once, so that a reader or a crash finds the
// old one or the new one.
func replace(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("witness: %w: make the folder writable or set POSTERN_STATE_DIR", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err == nil {
		err = replaceWith(path, f, func(w io.Writer) error {
			_, err := w.Write(data)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("witness: %w: make the folder writable or set POSTERN_STATE_DIR", err)
	}
	return nil
}

// replaceWith puts what write writes into f in place. f, a new file in the same
// folder, is closed, and removed unless it is in place.
func replaceWith(path string, f *os.File, write func(io.Writer) error) error {
	defer os.Remove(f.Name())
	err := write(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// StateDir returns the folder for witnesses: $POSTERN_STATE_DIR, else
// $STATE_DIRECTORY, which systemd sets, else $XDG_STATE_HOME/postern, else
// ~/.local/state/postern, else /var/lib/postern-witness. Relative paths in the
// environment are not heeded, but for $POSTERN_STATE_DIR.
func StateDir() (string, error) {
	if dir := os.Getenv("POSTERN_STATE_DIR"); dir != "" {
		return filepath.Abs(dir)
	}
	// systemd separates several folders by colons
	if dir, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":"); filepath.IsAbs(dir) {
		return dir, nil
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "postern"), nil
	}
	if home, err := os.UserHomeDir(); err == nil && filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "postern"), nil
	}
	if os.Geteuid() == 0 {
		return "/var/lib/postern-witness", nil
	}
	return "", errors.New("no home folder for the record of what was seen of the ledger: set POSTERN_STATE_DIR to a folder outside the data folder")
}
