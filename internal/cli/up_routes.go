package cli

import (
	"github.com/postern-project/postern/internal/config"
	"github.com/postern-project/postern/internal/gateway"
)

// gatewayRoutes says a site's routes in the gateway's words.
func gatewayRoutes(site config.Site) []gateway.Route {
	routes := make([]gateway.Route, len(site.Routes))
	for i, r := range site.Routes {
		routes[i] = gateway.Route{Match: r.Match, List: r.List, Policy: r.Policy}
	}
	return routes
}
