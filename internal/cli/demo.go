package cli

import (
	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/demo"
)

func newDemo(a *app) *cobra.Command {
	var theft bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "Alice, Bob, Steve and Eve: real handshakes, explained",
		Long: `Tell the story of Alice, Bob, Steve and Eve with real keys, certificates and
handshakes in memory. It touches no file and takes about a second. --theft plays
through what to do when an issuer's key was stolen.`,
		Example: "  postern demo\n  postern demo --theft",
		Args:    arguments(0, 0, "", ""),
		RunE: func(c *cobra.Command, _ []string) error {
			if theft {
				return demo.RunTheft(c.Context(), a.Stdout, a.colour(), a.Now())
			}
			return demo.Run(c.Context(), a.Stdout, a.colour(), a.Now())
		},
	}
	c.Flags().BoolVar(&theft, "theft", false, "the drill for a stolen issuer key")
	return c
}
