package cli

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/join"
)

func newRenew(a *app) *cobra.Command {
	var due bool
	c := &cobra.Command{
		Use:   "renew DIR...",
		Short: "Renew what 'join' or 'issue' wrote",
		Long: `Replace the certificate in each folder by a new one for a new key. The old
certificate proves who asks, so this works without an invitation, and until it
expires. The old files stay until the new ones are complete. Browsers that hold
the certificate get the new one. With --due nothing is done before the last
third of its life, or its last thirty days.`,
		Example: "  postern renew ~/.local/share/postern/example.com/ben/laptop",
		Args:    arguments(1, -1, "the folder", "postern renew DIR, as 'postern join' wrote it"),
		RunE: func(c *cobra.Command, args []string) error {
			results := []join.Result{}
			var errs []error
			for _, dir := range args {
				if ready, err := join.Due(dir, a.Now()); due && err == nil && !ready {
					continue
				}
				r, err := join.Renew(c.Context(), join.RenewOptions{Dir: dir, Now: a.Now})
				if err != nil {
					errs = append(errs, fmt.Errorf("renew %s: %w", dir, err))
					continue
				}
				p, err := a.machine().Refresh(c.Context(), r.Dir)
				if err != nil {
					errs = append(errs, fmt.Errorf("browsers: %w", err))
				}
				r.Notes = append(r.Notes, p.Notes...)
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
	c.Flags().BoolVar(&due, "due", false, "renew only when it is time")
	return c
}
