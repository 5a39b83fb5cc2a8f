//go:build !linux

package gateway

import "net/netip"

// nextRouters is known on Linux only, where the server is supported.
func nextRouters() []netip.Addr { return nil }
