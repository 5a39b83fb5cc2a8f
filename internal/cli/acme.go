package cli

import (
	"context"
	"io"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/authority"
)

func newACME(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "acme",
		Short: "Accounts and orders of the ACME server",
		Long: `Look at what the ACME server knows. It serves the profiles under 'acme:' in
postern.yaml; 'postern invite NAME --acme' makes a key for an account, and
'postern explain ORDER' tells why a validation failed.`,
		Example: `  postern acme accounts
  postern acme orders --status invalid
  postern explain order-4f1c02ab9e77d3105c6a`,
		Args: arguments(1, 1, "accounts or orders", "postern acme accounts, or postern acme orders"),
		RunE: func(c *cobra.Command, args []string) error { return unknownCommand(c, args[0]) },
	}
	c.AddCommand(newACMEAccounts(a), newACMEOrders(a))
	return c
}

func newACMEAccounts(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "accounts",
		Short: "Accounts, and keys for accounts to be",
		Long: `List the ACME accounts with the name that each stands for, and the keys from
'postern invite --acme' with which no account was made yet (open).`,
		Example: "  postern acme accounts --json",
		Args:    arguments(0, 0, "", ""),
		RunE:    func(c *cobra.Command, _ []string) error { return a.acmeAccounts(c.Context()) },
	}
}

func (a *app) acmeAccounts(ctx context.Context) error {
	auth, done, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	all, err := auth.ACMEAccounts(ctx)
	if err != nil {
		return err
	}
	return a.show(present(all), func(w io.Writer) {
		if len(all) == 0 {
			say(w, "No ACME account: 'postern invite NAME --acme' makes a key for one.")
			return
		}
		rows := make([][]string, len(all))
		for i, v := range all {
			rows[i] = []string{v.ID, v.Profile, v.Status, strconv.Itoa(v.Orders), v.Name}
		}
		a.tailed(w, []string{"ACCOUNT", "PROFILE", "STATUS", "ORDERS", "NAME"}, rows)
	})
}

// orderStatuses are those of orders, as they are kept.
var orderStatuses = []string{"pending", "valid", "invalid"}

func newACMEOrders(a *app) *cobra.Command {
	var q authority.ACMEOrderQuery
	c := &cobra.Command{
		Use:   "orders",
		Short: "Orders, the newest first",
		Long: `List the newest ACME orders: pending ones wait for their client, invalid ones
have failed. They are kept for a week.`,
		Example: `  postern acme orders
  postern acme orders --account 9f86d081884c7d65 --status invalid`,
		Args: arguments(0, 0, "", ""),
		RunE: func(c *cobra.Command, _ []string) error {
			if q.Status != "" && !slices.Contains(orderStatuses, q.Status) {
				return oneOf("status of an order", q.Status, orderStatuses)
			}
			return a.acmeOrders(c.Context(), q)
		},
	}
	c.Flags().StringVar(&q.Account, "account", "", "only those of `ACCOUNT`")
	c.Flags().StringVar(&q.Status, "status", "", "only those that are `STATUS`: pending, valid or invalid")
	return c
}

func (a *app) acmeOrders(ctx context.Context, q authority.ACMEOrderQuery) error {
	auth, done, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	all, err := auth.ACMEOrders(ctx, q)
	if err != nil {
		return err
	}
	return a.show(present(all), func(w io.Writer) {
		if len(all) == 0 {
			say(w, "No order.")
			return
		}
		rows := make([][]string, len(all))
		for i, o := range all {
			rows[i] = []string{o.ID, o.Status, moment(o.Created), hostsOf(o.Identifiers)}
		}
		a.tailed(w, []string{"ORDER", "STATUS", "MADE", "HOSTS"}, rows)
	})
}

// hostsOf writes the first host of an order, and how many more there are.
func hostsOf(ids []authority.ACMEIdentifier) string {
	switch len(ids) {
	case 0:
		return ""
	case 1:
		return ids[0].Value
	}
	return ids[0].Value + " and " + strconv.Itoa(len(ids)-1) + " more"
}
