package upstream

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A TCP is what stands behind a tcp site. It is safe for concurrent use.
type TCP struct {
	spec   string
	dialer dialer
}

// NewTCP returns what is reached at spec: HOST:PORT or unix:/PATH. It dials
// nothing yet.
func NewTCP(spec string, o Options) (*TCP, error) {
	t := &TCP{spec: spec, dialer: dialer{
		net:     net.Dialer{Timeout: cmp.Or(o.DialTimeout, 5*time.Second)},
		network: "tcp", address: spec, write: cmp.Or(o.WriteTimeout, time.Minute),
	}}
	if path, ok := strings.CutPrefix(spec, "unix:"); ok {
		if !filepath.IsAbs(path) {
			return nil, fmt.Errorf("upstream %q: a socket needs its whole path, as in unix:/run/app.sock", spec)
		}
		t.dialer.network, t.dialer.address = "unix", path
		return t, nil
	}
	host, port, err := net.SplitHostPort(spec)
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 || host == "" {
		return nil, fmt.Errorf("upstream %q: write HOST:PORT or unix:/PATH", spec)
	}
	return t, nil
}

// Dial connects; the caller closes the connection.
func (t *TCP) Dial(ctx context.Context) (net.Conn, error) { return t.dialer.dial(ctx, "", "") }

// String returns the address as it was written.
func (t *TCP) String() string { return t.spec }
