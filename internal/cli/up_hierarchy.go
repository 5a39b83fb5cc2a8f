package cli

import (
	"context"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/ledger"
)

// Holders says whether the gateway of this process has taken in an issuer, so
// that no certificate is issued under one that it would refuse.
func (s *server) Holders(_ context.Context, issuer ledger.KeyID) ([]authority.Holder, error) {
	return []authority.Holder{{Name: "this server", Kind: "gateway", Has: s.gateway.Believes(issuer), Needed: true}}, nil
}
