package gateway

import (
	"io/fs"
	"syscall"
)

// stampOf returns the stamp of the file that info describes. The time of the
// last change of state cannot be set back, unlike that of the contents.
func stampOf(info fs.FileInfo) stamp {
	s := stamp{size: info.Size(), mtime: info.ModTime().UnixNano()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.ctime, s.inode = sys.Ctim.Nano(), sys.Ino
	}
	return s
}
