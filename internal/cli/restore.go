package cli

import (
	"context"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/follow"
	"github.com/postern-project/postern/internal/roster"
)

func newRestore(a *app) *cobra.Command {
	var accept bool
	c := &cobra.Command{
		Use:   "restore --accept-loss",
		Short: "Go on with an older copy of the data folder",
		Long: `Accept that the data folder is older than what was seen of its ledger before.
What happened after the copy was made is lost: certificates issued since then
are refused until they are issued again, and revocations made since then have
to be repeated. The ledger records this as a new epoch.

Use the newer folder instead if it still exists.`,
		Args: arguments(0, 0, "", ""),
		RunE: func(c *cobra.Command, _ []string) error {
			if !accept {
				return usage("postern restore --accept-loss", "nothing is restored without --accept-loss")
			}
			return a.restore(c.Context())
		},
	}
	c.Flags().BoolVar(&accept, "accept-loss", false, "yes, what the copy lacks is lost")
	return c
}

// restore opens the folder as OpenHouse does, but for the witness's verdict,
// which is what the operator accepts.
func (a *app) restore(ctx context.Context) error {
	if err := a.haveData(); err != nil {
		return err
	}
	lock, err := api.Hold(ctx, a.data(), api.DefaultWait)
	if err != nil {
		return err
	}
	h := &House{Dir: lock.Dir(), Lock: lock, Roster: roster.New()}
	defer a.closeHouse(h)
	if err := h.openStore(ctx, HouseOptions{Log: a.log(slog.LevelWarn), Now: a.Now}); err != nil {
		return err
	}
	if err := h.openWitness(ctx); err != nil {
		return err
	}
	if err := follow.AcceptLoss(ctx, h.Store, h.Witness); err != nil {
		return err
	}
	head, err := h.Store.Head(ctx)
	if err != nil {
		return err
	}
	result := api.LedgerStatus{Epoch: head.Epoch, Size: head.Size, Root: head.Root}
	return a.show(result, func(w io.Writer) {
		say(w, "The ledger goes on in epoch %d with %s.", head.Epoch, entries(head.Size))
		say(w, "Repeat the revocations and issue again what was made since this copy.")
	})
}
