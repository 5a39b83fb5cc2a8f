package cli

import (
	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/api"
)

func newReinstate(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "reinstate NAME...",
		Short:             "End a suspension",
		Long:              "Let a suspended name in again. Its certificates work as before.",
		Example:           "  postern reinstate ben/laptop",
		Args:              arguments(1, -1, "the name", nameHint),
		ValidArgsFunction: a.completeNames,
		RunE: func(c *cobra.Command, args []string) error {
			return a.each(c.Context(), args, "reinstated", api.Authority.Reinstate)
		},
	}
}
