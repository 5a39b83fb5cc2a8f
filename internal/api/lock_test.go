package api

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The lock is the kernel's and the note in it a courtesy: the file never
// shrinks, so writing who holds the folder takes no room, and where there is
// none the folder is held without a note.
func TestAFullDiskIsNoObstacle(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		l, err := TryHold(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(filepath.Join(dir, LockName)); err != nil || info.Size() != noteSize {
			t.Errorf("a free lock has %d bytes, %v", info.Size(), err)
		}
	}
	for name, c := range map[string]struct {
		err  error
		fine bool
	}{
		"full":       {&fs.PathError{Err: syscall.ENOSPC}, true},
		"over quota": {fmt.Errorf("write: %w", syscall.EDQUOT), true},
		"damaged":    {&fs.PathError{Err: syscall.EIO}, false},
		"well":       {nil, true},
	} {
		if got := unlessFull(c.err); (got == nil) != c.fine {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// A note is of the holder: who let go is not named any more.
func TestAFreeLockNamesNobody(t *testing.T) {
	dir := t.TempDir()
	l, err := TryHold(dir)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, LockName)
	if data, err := os.ReadFile(path); err != nil || !strings.HasPrefix(string(data), fmt.Sprint(os.Getpid(), " ")) {
		t.Errorf("held: %q, %v", data, err)
	}
	l.Close()
	if data, err := os.ReadFile(path); err != nil || strings.TrimSpace(string(data)) != "" {
		t.Errorf("free: %q, %v", data, err)
	}
}

func TestPermissionDeniedSaysWhatToDo(t *testing.T) {
	denied := &fs.PathError{Op: "open", Err: syscall.EACCES}
	mine := t.TempDir()
	missing := filepath.Join(mine, "data")
	for want, dir := range map[string]string{
		"is read-only for you: type 'chmod -R u+w " + mine + "'": mine,
		"cannot make data in " + mine + ": permission denied":    missing,
	} {
		if err := lockError(dir, denied); !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := lockError(mine, errors.New("odd")); !strings.Contains(err.Error(), "cannot be written: odd") {
		t.Error(err)
	}
}

// What came to nothing leaves nothing, and what was there stays.
func TestAbandon(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	hold := func() *Lock {
		t.Helper()
		l, err := TryHold(dir)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	hold().Abandon()
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that was made stays: %v", err)
	}
	l := hold()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l.Abandon()
	if err := os.Remove(filepath.Join(dir, "file")); err != nil {
		t.Errorf("a folder with something in it is gone: %v", err)
	}
	hold().Abandon()
	if _, err := os.Lstat(dir); err != nil {
		t.Errorf("a folder that was there before is gone: %v", err)
	}
}
