//go:build !linux

package confine

// Capabilities does nothing: this system has none.
func Capabilities() error { return nil }
