package cli

import (
	"context"
	"net"
	"strings"

	"github.com/postern-project/postern/internal/config"
	"github.com/postern-project/postern/internal/gateway"
	"github.com/postern-project/postern/internal/upstream"
)

// tunnel is what the gateway sees of an upstream of bytes.
type tunnel struct{ up *upstream.TCP }

// Dial connects for a visitor.
func (t tunnel) Dial(ctx context.Context, _ gateway.Visit) (net.Conn, error) { return t.up.Dial(ctx) }

func openTCP(site config.Site) (behind, error) {
	up, err := upstream.NewTCP(site.TCP, upstream.Options{})
	if err != nil {
		return behind{}, err
	}
	return behind{tunnel: tunnel{up}}, nil
}

// siteAddress says how a site is reached: by a URL, or a tcp site by host and
// port.
func (s *server) siteAddress(site config.Site) string {
	url := s.siteURL(site.Host)
	if site.TCP == "" {
		return url + "/"
	}
	hostport := strings.TrimPrefix(url, "https://")
	if _, _, err := net.SplitHostPort(hostport); err != nil {
		hostport += ":443"
	}
	return hostport
}
