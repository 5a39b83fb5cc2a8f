//go:build !linux

package store

import "testing"

func tmpfs(*testing.T) (disk, bool) { return disk{}, false }
