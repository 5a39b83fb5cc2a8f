package store

import (
	"testing"

	"golang.org/x/sys/unix"
)

// tmpfs is a disk of half a megabyte. Only root can mount one; false says that
// this machine did not let us.
func tmpfs(t *testing.T) (disk, bool) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=512k"); err != nil {
		return disk{}, false
	}
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return disk{dir: dir, resize: func(t *testing.T, large bool) {
		if large {
			must(t, unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=64m"))
		}
	}}, true
}
