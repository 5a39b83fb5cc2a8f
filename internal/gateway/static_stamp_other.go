//go:build !linux

package gateway

import "io/fs"

// stampOf returns the stamp of the file that info describes.
func stampOf(info fs.FileInfo) stamp {
	return stamp{size: info.Size(), mtime: info.ModTime().UnixNano()}
}
