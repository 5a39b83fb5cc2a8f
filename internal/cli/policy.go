package cli

import (
	"fmt"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/config"
	"github.com/postern-project/postern/internal/permit"
	"github.com/postern-project/postern/internal/profile"
)

// policyOf returns what a configuration says of certificates.
func policyOf(c config.Config) authority.Policy {
	p := authority.Policy{Profiles: &c.Profiles, BlockedKeys: c.BlockedKeys, TPM: c.IssuerTPM, PublicURL: c.Public.PlainURL(), RenewExpired: c.RenewExpired, RenewUnproven: c.RenewUnproven, ACME: map[string]permit.Policy{}}
	for _, a := range c.ACME {
		p.ACME[a.Profile] = a.Policy
	}
	return p
}

// policy reads it from the file. A file that is wrong keeps nobody from
// looking and revoking: only issuing says what is wrong with it.
func (a *app) policy() authority.Policy {
	c, _, err := a.config()
	if err != nil {
		none := profile.Refusing(fmt.Errorf("nothing is issued while the configuration is wrong: %w", err))
		return authority.Policy{Profiles: &none}
	}
	return policyOf(c)
}
