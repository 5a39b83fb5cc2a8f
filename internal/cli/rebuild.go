package cli

import (
	"context"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/store"
)

func newLedgerRebuild(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "rebuild",
		Short: "Make every view again from the entries",
		Long: `Make every table that is a view of the ledger again from its entries, when
'postern ledger verify' finds one damaged. The ledger itself has to be as it
was signed. Stop the server first.`,
		Args: arguments(0, 0, "", ""),
		RunE: func(c *cobra.Command, _ []string) error { return a.ledgerRebuild(c.Context()) },
	}
}

func (a *app) ledgerRebuild(ctx context.Context) error {
	if err := a.haveData(); err != nil {
		return err
	}
	lock, err := api.Hold(ctx, a.data(), api.DefaultWait)
	if err != nil {
		return err
	}
	defer lock.Close()
	size, err := store.RebuildViews(ctx, filepath.Join(lock.Dir(), authority.DatabaseFile))
	if err != nil {
		return err
	}
	return a.show(struct {
		Size uint64 `json:"size"`
	}{size}, func(w io.Writer) {
		say(w, "Every view is made again from %s.", entries(size))
	})
}
