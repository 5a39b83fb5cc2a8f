package cli

import (
	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/demo"
)

func newDemo(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Alice, Bob, Steve and Eve: real handshakes, explained",
		Long: `Tell the story of Alice, Bob, Steve and Eve with real keys, certificates and
handshakes in memory. It touches no file and takes about a second.`,
		Args: arguments(0, 0, "", ""),
		RunE: func(c *cobra.Command, _ []string) error {
			return demo.Run(c.Context(), a.Stdout, a.colour(), a.Now())
		},
	}
}
