// Package confine takes from this process what it has no use for: files
// outside its reach (Landlock), privileges that a program could give it, and
// its memory in core files or to other processes of the same user.
package confine

import (
	"errors"
	"path/filepath"
	"slices"
)

// ErrUnsupported says that this system cannot keep a process to some files.
var ErrUnsupported = errors.New("this system has no Landlock that can keep a process to its files: Linux 5.19 or later has, where it is not switched off")

// A Reach says what a process may still do with files. Each path stands for
// what lies beneath it, too, and for what symbolic links on the way to it lead
// to now. Paths that do not exist are left out. The zero Reach is none at all.
type Reach struct {
	Read  []string // files and folders
	Write []string // folders, which may be read as well
	Run   []string // folders whose programs may be started, and read
}

// Covers reports whether a path lies within what r lets a process read. It
// looks at names and symbolic links only: that the file was replaced since the
// process was confined it cannot tell.
func (r Reach) Covers(path string) bool {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		real = filepath.Clean(path)
	}
	return slices.ContainsFunc(slices.Concat(r.Read, r.Write, r.Run), func(within string) bool {
		if resolved, err := filepath.EvalSymlinks(within); err == nil {
			within = resolved
		}
		rel, err := filepath.Rel(within, real)
		return err == nil && filepath.IsLocal(rel)
	})
}
