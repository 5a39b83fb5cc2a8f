package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/identity"
)

func newSuspend(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "suspend NAME...",
		Short:             "Keep a name out until it is reinstated",
		Long:              "Keep a name, and every name below it, out until 'postern reinstate'. Open\nconnections are cut at once; the certificates stay as they are.",
		Example:           "  postern suspend ben/laptop",
		Args:              arguments(1, -1, "the name", nameHint),
		ValidArgsFunction: a.completeNames,
		RunE: func(c *cobra.Command, args []string) error {
			return a.each(c.Context(), args, "suspended", api.Authority.Suspend)
		},
	}
}

// each does one thing to every name, and says so.
func (a *app) each(ctx context.Context, args []string, did string, do func(api.Authority, context.Context, identity.Name) error) error {
	names, err := parseNames(args)
	if err != nil {
		return err
	}
	auth, done, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	for _, n := range names {
		if err := do(auth, ctx, n); err != nil {
			return unknown(ctx, auth, n.String(), err)
		}
	}
	result := struct {
		Names []identity.Name `json:"names"`
		Did   string          `json:"did"`
	}{names, did}
	return a.show(result, func(w io.Writer) {
		for _, n := range names {
			say(w, "%s is %s.", n, did)
		}
	})
}
