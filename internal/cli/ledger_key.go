package cli

import (
	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/authority"
)

func newLedgerRotateKey(a *app) *cobra.Command {
	var out string
	var ref rootRef
	c := &cobra.Command{
		Use:   "rotate-key",
		Short: "Replace the key that signs checkpoints",
		Long: `Make another key for the ledger's checkpoints and ask the root to put it in the
place of the one in use. Once the answer is applied ('postern root apply'), a
checkpoint signed with the old key is believed by nobody.`,
		Example: "  postern ledger rotate-key\n  postern ledger rotate-key --root-key /media/safe/root.key.age",
		Args:    arguments(0, 0, "", ""),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.ask(c.Context(), authority.RootAsk{Rekey: true}, out, ref)
		},
	}
	askFlags(c, &out, &ref)
	return c
}
