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
	var f restoring
	c := &cobra.Command{
		Use:   "restore [FILE]",
		Short: "A data folder from a backup, or from an older copy of it",
		Long: `Make a data folder of a backup, in a file or - for standard input. The ledger
is checked against its signed checkpoint and the views are made anew from it.
A backup that is behind what this machine has seen of the ledger is refused.

--accept-loss goes on with it all the same; without FILE, with an older copy
of the data folder that was put in place by hand. What happened after the copy
was made is lost: certificates issued since then are refused until they are
issued again, and revocations made since then have to be repeated, unless an
export has them ('postern ledger import'). The ledger records a new epoch.

Use the newer folder instead if it still exists.`,
		Example: `  postern restore postern.backup --data /var/lib/postern
  postern restore postern.backup --identity key.txt
  postern restore --accept-loss`,
		Args: arguments(0, 1, "", ""),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				return a.restoreBackup(c.Context(), args[0], f)
			}
			if !f.accept {
				return usage("postern restore FILE, or postern restore --accept-loss for a folder put in place by hand", "nothing is restored without a backup or --accept-loss")
			}
			return a.acceptLoss(c.Context())
		},
	}
	c.Flags().BoolVar(&f.accept, "accept-loss", false, "yes, what the copy lacks is lost")
	c.Flags().StringVar(&f.identity, "identity", "", "open the sealed keys with the age identities in `FILE`")
	c.Flags().StringVar(&f.passphrase, "passphrase-file", "", "open the sealed keys with the passphrase in `FILE`")
	c.Flags().BoolVar(&f.withoutKeys, "without-keys", false, "leave the sealed keys closed")
	return c
}

// acceptLoss opens the folder as OpenHouse does, but for the witness's verdict,
// which is what the operator accepts.
func (a *app) acceptLoss(ctx context.Context) error {
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
