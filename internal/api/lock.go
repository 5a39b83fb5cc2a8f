package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// LockName is the file in a data folder whose lock its holder keeps.
const LockName = "postern.lock"

// DefaultWait is how long a second holder waits for the first.
const DefaultWait = 5 * time.Second

const lockPoll = 20 * time.Millisecond

// A Lock makes its owner the one holder of a data folder. It ends with Close
// and with the process.
type Lock struct {
	dir  string
	f    *os.File
	made bool // the folder was not there before
}

// A HeldError says who holds a data folder.
type HeldError struct {
	Dir string
	// PID is 0 and Command "" when the holder has not written them yet.
	PID     int
	Command string
}

// Error names the holder and what to do.
func (e *HeldError) Error() string {
	who := "another process"
	if e.PID != 0 {
		who = fmt.Sprintf("process %d (%s)", e.PID, e.Command)
	}
	return fmt.Sprintf("data folder %s is held by %s: stop it, or wait until it has finished", e.Dir, who)
}

// TryHold makes the caller the holder of dir, which is made when it is
// missing. A *HeldError says who else is.
func TryHold(dir string) (*Lock, error) {
	_, err := os.Lstat(dir)
	made := errors.Is(err, fs.ErrNotExist)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, lockError(dir, err)
	}
	path := filepath.Join(dir, LockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, lockError(dir, err)
	}
	switch err := lockFile(f); {
	case errors.Is(err, errHeld):
		defer f.Close()
		return nil, heldBy(dir, f)
	case err != nil:
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if !inPlace(f, path) { // its holder gave the folder up in between
		f.Close()
		return TryHold(dir)
	}
	l := &Lock{dir, f, made}
	if err := l.note(fmt.Sprintf("%d %s", os.Getpid(), command())); err != nil {
		l.Close()
		return nil, fmt.Errorf("write %s: %w", path, plain(err))
	}
	return l, nil
}

// inPlace reports whether f is still the file that others find at path.
func inPlace(f *os.File, path string) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	theirs, err := os.Lstat(path)
	return err == nil && os.SameFile(mine, theirs)
}

// Hold is TryHold that waits for the holder to finish, up to wait. Whoever
// holds the folder after that one is waited for as long again, so that many
// short commands at once all have their turn.
func Hold(ctx context.Context, dir string, wait time.Duration) (*Lock, error) {
	return HoldUnless(ctx, dir, wait, func() (bool, error) { return false, nil })
}

// HoldUnless is Hold that asks before each try whether the lock is needed, and
// returns no lock once it is not.
func HoldUnless(ctx context.Context, dir string, wait time.Duration, needless func() (bool, error)) (*Lock, error) {
	holder, end := 0, time.Now().Add(wait)
	for {
		if done, err := needless(); done || err != nil {
			return nil, err
		}
		l, err := TryHold(dir)
		held, ok := errors.AsType[*HeldError](err)
		if !ok {
			return l, err
		}
		if held.PID != 0 && held.PID != holder {
			holder, end = held.PID, time.Now().Add(wait)
		}
		if time.Now().After(end) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(lockPoll):
		}
	}
}

// Dir returns the folder that is held.
func (l *Lock) Dir() string { return l.dir }

// Close lets the folder go. The file stays: removing it would give the folder
// two holders. It keeps its length too, so that the next holder needs no room
// on the disk.
func (l *Lock) Close() error { return errors.Join(l.note(""), l.f.Close()) }

// Abandon is Close for a command that came to nothing: it also removes the
// folder if TryHold made it and nothing else was put into it.
func (l *Lock) Abandon() error {
	if entries, err := os.ReadDir(l.dir); err == nil && l.made && len(entries) == 1 {
		os.Remove(filepath.Join(l.dir, LockName))
		os.Remove(l.dir)
	}
	return l.Close()
}

// noteSize is how long the note in a lock file is, in bytes.
const noteSize = 128

// note writes who holds the folder over what stood there, for the message that
// others get. The lock itself is the kernel's, so a full disk is no obstacle.
func (l *Lock) note(who string) error {
	_, err := l.f.WriteAt(fmt.Appendf(nil, "%-*.*s\n", noteSize-1, noteSize-1, who), 0)
	return unlessFull(err)
}

func unlessFull(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return nil
	}
	return err
}

// command says what this process is: the program and its command, and no
// argument that might be a secret. A word after a flag may be the flag's value.
func command() string {
	name, value := filepath.Base(os.Args[0]), false
	for _, arg := range os.Args[1:] {
		flag := strings.HasPrefix(arg, "-")
		if !flag && !value && strings.Trim(arg, "abcdefghijklmnopqrstuvwxyz") == "" {
			return name + " " + arg
		}
		value = flag && !strings.Contains(arg, "=")
	}
	return name
}

func heldBy(dir string, f *os.File) *HeldError {
	e := &HeldError{Dir: dir}
	b, _ := io.ReadAll(io.NewSectionReader(f, 0, 256))
	pid, name, _ := strings.Cut(strings.TrimSpace(string(b)), " ")
	if n, err := strconv.Atoi(pid); err == nil && n > 0 {
		e.PID, e.Command = n, name
	}
	return e
}

// lockError says why a folder cannot be held, and what its owner or somebody
// else does about it.
func lockError(dir string, err error) error {
	if !errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("data folder %s cannot be written: %w", dir, plain(err))
	}
	owner, ownErr := ownerOf(dir)
	switch {
	case errors.Is(ownErr, fs.ErrNotExist):
		return fmt.Errorf("cannot make %s in %s: permission denied; choose another folder with --data", filepath.Base(dir), parentOf(dir))
	case ownErr == nil && int(owner) == os.Getuid():
		return fmt.Errorf("data folder %s is read-only for you: type 'chmod -R u+w %s'", dir, dir)
	}
	return fmt.Errorf("data folder %s: %w: run as its owner", dir, plain(err))
}

// parentOf returns the folder that dir would stand in.
func parentOf(dir string) string {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return filepath.Dir(dir)
	}
	return filepath.Dir(abs)
}

// plain drops the operation and the path from a file error.
func plain(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}
