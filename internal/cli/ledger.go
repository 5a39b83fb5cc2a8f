package cli

import (
	"context"
	"errors"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/store"
)

func newLedger(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "ledger",
		Short: "The signed record that all else is a view of",
		Args:  cobra.ArbitraryArgs,
		RunE:  a.noCommand,
	}
	verify := &cobra.Command{
		Use:   "verify",
		Short: "Recompute everything and compare",
		Long: `Recompute every hash, the signed head and every view from the ledger's
entries, and name the first thing that is not as it was written.`,
		Args: arguments(0, 0, "", ""),
		RunE: func(c *cobra.Command, _ []string) error { return a.ledgerVerify(c.Context()) },
	}
	head := &cobra.Command{
		Use:   "head",
		Short: "The newest signed checkpoint",
		Args:  arguments(0, 0, "", ""),
		RunE:  func(c *cobra.Command, _ []string) error { return a.ledgerHead(c.Context()) },
	}
	c.AddCommand(verify, head, newLedgerExport(a), newLedgerImport(a), newLedgerRebuild(a), newLedgerRotateKey(a))
	return c
}

func (a *app) ledgerVerify(ctx context.Context) error {
	v, err := a.verification(ctx)
	if err != nil {
		return err
	}
	if err := a.show(v, func(w io.Writer) {
		if v.OK {
			say(w, "The ledger is as it was written: %s, root %s.", entries(v.Size), v.Root)
			return
		}
		say(w, "The ledger is damaged: %s", v.Fault)
	}); err != nil {
		return err
	}
	if !v.OK {
		return withHint(errors.New("the ledger is not as it was written"), "stop the server, keep this folder as it is, and put back a copy: 'postern restore' tells how to go on with an older one")
	}
	return nil
}

func (a *app) ledgerHead(ctx context.Context) error {
	auth, done, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	head, err := auth.Head(ctx)
	if err != nil {
		return err
	}
	return a.show(head, func(w io.Writer) { w.Write(head.Note) })
}

// verification has the running server look, which is in the middle of things,
// or looks at the database itself, which is enough for a damaged one: nothing
// is opened that would refuse it.
func (a *app) verification(ctx context.Context) (authority.Verification, error) {
	client, lock, err := a.reach(ctx)
	if err != nil {
		return authority.Verification{}, err
	}
	if client != nil {
		defer client.Close()
		return client.Verify(ctx)
	}
	defer lock.Close()
	s, err := store.Open(ctx, filepath.Join(a.data(), authority.DatabaseFile), store.Options{Now: a.Now})
	if err != nil {
		return authority.Verification{}, err
	}
	defer s.Close()
	r, err := s.Verify(ctx)
	if err != nil {
		return authority.Verification{}, err
	}
	v := authority.Verification{OK: r.OK, Size: r.Size, Root: r.Head.Root}
	if r.Fault != nil {
		v.Fault = r.Fault.Error()
	}
	return v, nil
}
