package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/identity"
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
			return a.reinstate(c.Context(), args)
		},
	}
}

// reinstate ends suspensions, and says of what was not suspended that it was
// not: the name that is meant may be another one.
func (a *app) reinstate(ctx context.Context, args []string) error {
	names, err := parseNames(args)
	if err != nil {
		return err
	}
	auth, done, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	result := reinstated{Names: []identity.Name{}, Did: "reinstated"}
	for _, n := range names {
		before, err := auth.Identity(ctx, n)
		if err != nil {
			return unknown(ctx, auth, n.String(), err)
		}
		if err := auth.Reinstate(ctx, n); err != nil {
			return err
		}
		if before.Suspended {
			result.Names = append(result.Names, n)
		} else {
			result.NotSuspended = append(result.NotSuspended, n)
		}
	}
	return a.show(result, func(w io.Writer) {
		for _, n := range result.Names {
			say(w, "%s is reinstated.", n)
		}
		for _, n := range result.NotSuspended {
			say(w, "%s was not suspended.", n)
		}
	})
}

type reinstated struct {
	Names        []identity.Name `json:"names"`
	NotSuspended []identity.Name `json:"not_suspended,omitempty"`
	Did          string          `json:"did"`
}
