package cli

import (
	"crypto/tls"
	"slices"
)

// shown returns a site's certificate as it is shown now: while one root follows
// another, with what leads from the issuer's root to the other, so that whoever
// knows only one of them believes it.
func (s *server) shown(c *tls.Certificate) *tls.Certificate {
	if c == nil || c.Leaf == nil || len(c.Certificate) < 2 {
		return c
	}
	bridges := s.house.Roster.Anchors().Bridges()
	if len(bridges) == 0 {
		return c
	}
	chain := slices.Clone(c.Certificate[:2]) // the leaf and its issuer
	for _, issuer := range s.house.Roster.Issuers() {
		if string(issuer.Certificate.Raw) != string(chain[1]) {
			continue
		}
		for _, bridge := range bridges {
			if string(bridge.RawSubject) == string(issuer.Certificate.RawIssuer) {
				chain = append(chain, bridge.Raw)
			}
		}
	}
	with := *c
	with.Certificate = chain
	return &with
}
