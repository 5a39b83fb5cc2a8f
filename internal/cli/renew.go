package cli

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/join"
)

func newRenew(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "renew DIR...",
		Short: "Renew what 'join' or 'issue' wrote",
		Long: `Replace the certificate in each folder by a new one for a new key. The old
certificate proves who asks, so this works without an invitation, and until it
expires. The old files stay until the new ones are complete.`,
		Example: "  postern renew ~/.local/share/postern/example.com/ben/laptop",
		Args:    arguments(1, -1, "the folder", "postern renew DIR, as 'postern join' wrote it"),
		RunE: func(c *cobra.Command, args []string) error {
			results := []join.Result{}
			var errs []error
			for _, dir := range args {
				r, err := join.Renew(c.Context(), join.RenewOptions{Dir: dir, Now: a.Now})
				if err != nil {
					errs = append(errs, fmt.Errorf("renew %s: %w", dir, err))
					continue
				}
				results = append(results, r)
			}
			err := a.show(results, func(w io.Writer) {
				for _, r := range results {
					a.sayJoined(w, "Renewed", r)
				}
			})
			return errors.Join(append(errs, err)...)
		},
	}
}
