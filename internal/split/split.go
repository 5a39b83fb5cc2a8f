// Package split ties the two processes of a server together: that of the
// authority, which holds the keys, and that of the gateway, which faces
// strangers. What one may ask of the other is said in package api.
package split

import "errors"

// ErrUnsupported says that this system cannot pass sockets between processes.
var ErrUnsupported = errors.New("a server needs Linux or another Unix: this system passes no sockets between processes")

// maxFiles is how many files one message takes: the kernel's bound is 253.
const maxFiles = 250
