package acme

import (
	"net/http"
)

// directory lists where everything is (RFC 8555 section 7.1.1).
func (s *Server) directory(c *call) error {
	return c.answer(http.StatusOK, map[string]any{
		"newNonce":    c.url("new-nonce"),
		"newAccount":  c.url("new-account"),
		"newOrder":    c.url("new-order"),
		"revokeCert":  c.url("revoke-cert"),
		"keyChange":   c.url("key-change"),
		"renewalInfo": c.url("renewal-info"), // RFC 9773 section 3
		"meta": map[string]any{
			"externalAccountRequired": !c.profile.Open,
			"profiles":                map[string]string{c.profile.Name: "server certificates of profile " + c.profile.Name},
		},
	})
}

// newNonce gives out a nonce (RFC 8555 section 7.2).
func (s *Server) newNonce(c *call) error {
	c.w.Header().Set("Replay-Nonce", s.nonces.new())
	status := http.StatusOK
	if c.Method == http.MethodGet {
		status = http.StatusNoContent
	}
	c.w.WriteHeader(status)
	return nil
}
