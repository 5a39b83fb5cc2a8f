package config

import (
	"fmt"

	"github.com/postern-project/postern/internal/gateway"
)

// parseRefusalDetail reads how much a site tells those whom it turns away.
func parseRefusalDetail(s string) (gateway.Frankness, error) {
	switch s {
	case "none":
		return gateway.TellNothing, nil
	case "reason":
		return gateway.TellReason, nil
	case "full":
		return gateway.TellAll, nil
	}
	return 0, fmt.Errorf("%q is unknown: write none, reason or full", s)
}
