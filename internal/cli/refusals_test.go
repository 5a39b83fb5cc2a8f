package cli

import (
	"testing"

	"github.com/postern-project/postern/internal/gateway"
)

func TestAClaimIsNotShownAsAName(t *testing.T) {
	for want, shown := range map[string]gateway.Shown{
		"ben":                             {Name: "ben"},
		"":                                {},
		"claims spiffe://example.com/ben": {Name: "ben", Claims: "spiffe://example.com/ben"},
	} {
		if got := who(shown); got != want {
			t.Errorf("%+v is shown as %q, want %q", shown, got, want)
		}
	}
}
