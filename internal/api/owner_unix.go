//go:build unix

package api

import (
	"fmt"
	"os"
	"syscall"
)

// ownerOf returns the user who owns the folder.
func ownerOf(dir string) (uint32, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return 0, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, fmt.Errorf("the owner of %s is not known", dir)
	}
	return stat.Uid, nil
}
