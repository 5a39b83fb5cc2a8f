package cli

import (
	"github.com/postern-project/postern/internal/acme"
	"github.com/postern-project/postern/internal/config"
)

// acmeProfiles says in the ACME server's words which profiles it serves.
func acmeProfiles(c config.Config) []acme.Profile {
	var all []acme.Profile
	for _, a := range c.ACME {
		all = append(all, acme.Profile{
			Name: a.Profile, Open: a.Policy.Open, Networks: a.Networks, Resolver: a.Resolver, HTTPPort: a.HTTPPort, TLSPort: a.TLSPort,
			Challenges: a.Challenges, OrdersPerHour: a.OrdersPerHour,
		})
	}
	return all
}
