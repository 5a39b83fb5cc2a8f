package attack

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sites are those of the shared house. %APP% is the application's address,
// %HOME% the house's folder.
const sites = `%LISTEN%
sites:
  open.attack.test: {proxy: "%APP%", allow: [strangers]}
  ben.attack.test: {proxy: "%APP%", allow: [ben]}
  anna.attack.test: {proxy: "%APP%", allow: [anna]}
  parts.attack.test:
    proxy: "%APP%"
    allow: [enrolled]
    routes:
      - {match: "/admin/", allow: [anna]}
      - {match: "GET /open/", allow: [strangers]}
  hidden.attack.test: {proxy: "%APP%", allow: [ben], stealth: true}
  old.attack.test: {proxy: "%APP%", allow: [ben], tls_min: "1.2"}
  off.attack.test: {proxy: "%APP%", allow: [strangers], mode: "off"}
  tcp.attack.test: {tcp: "%TCP%", allow: [ben]}
  partner.attack.test:
    proxy: "%APP%"
    allow: [ben, foreign:acme]
    trust: {acme: {ca: "%HOME%/acme.pem", members: [{dns: api.acme.test}, {email: bot@acme.test}, {uri: "spiffe://acme.test/billing"}, {ip: 192.0.2.7}, {subject: {o: Acme, ou: Robots}}]}}
  "127.0.0.1": {proxy: "%APP%", allow: [ben]}
  "::1": {proxy: "%APP%", allow: [ben]}
  bücher.attack.test: {proxy: "%APP%", allow: [ben]}
  quic.attack.test: {proxy: "%APP%", allow: [ben], http3: experimental, routes: [{match: /admin/, allow: [anna]}]}
  token.attack.test: {proxy: "%APP%", allow: [ben], app_tokens: [header, path]}
forward_auth: {socket: "%HOME%/auth.sock"}
`

// theHouse is the one that most attacks share: it is not reloaded, and what
// one test issues or revokes belongs to it alone.
func theHouse(t testing.TB) *house {
	t.Helper()
	h, err := shared.house()
	must(t, err)
	return h
}

func openSharedHouse(dir string) (*house, error) {
	h, err := newHouse(dir)
	if err != nil {
		return nil, err
	}
	sharedHouse = h
	if h.app, err = newApplication(); err != nil {
		return nil, err
	}
	if h.partner, err = newAuthority("acme root", nil); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "acme.pem"), h.partner.pem(), 0o600); err != nil {
		return nil, err
	}
	if err := h.configure(h.fill(sites)); err != nil {
		return nil, err
	}
	if err := h.open(); err != nil {
		return nil, fmt.Errorf("the shared house: %w", err)
	}
	return h, nil
}

// fill puts the house's addresses into a configuration.
func (h *house) fill(config string) string {
	return strings.NewReplacer("%APP%", h.app.url(), "%TCP%", h.app.Addr().String(), "%HOME%", h.home).Replace(config)
}

// reloadable runs a house of its own for a test that changes its configuration.
func reloadable(t testing.TB, config string) *house {
	t.Helper()
	h, err := newHouse(t.TempDir())
	must(t, err)
	h.app, h.partner = theHouse(t).app, theHouse(t).partner
	must(t, os.WriteFile(filepath.Join(h.home, "acme.pem"), h.partner.pem(), 0o600))
	h.write(t, h.fill(config))
	t.Cleanup(h.kill)
	return h.mustOpen(t)
}
