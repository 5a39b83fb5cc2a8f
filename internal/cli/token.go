package cli

import (
	"context"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/authority"
)

func newToken(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "token",
		Short: "Tokens for apps that cannot show a certificate",
		Long: `A token lets one app in at one site, in the place of one device, at a site
whose 'app_tokens:' in postern.yaml says how it is sent. It is weaker than a
certificate: whoever learns it comes in.`,
		Args: cobra.ArbitraryArgs,
		RunE: a.noCommand,
	}
	c.AddCommand(newTokenCreate(a), newTokenList(a), newTokenRevoke(a))
	return c
}

func newTokenCreate(a *app) *cobra.Command {
	var q authority.TokenRequest
	var life lifetime
	c := &cobra.Command{
		Use:   "create NAME SITE",
		Short: "Make a token and show it, this one time",
		Long: `Make a token with which an app comes in at SITE as NAME, and show it, this one
time. The ledger keeps its hash. It ends after 90 days, or after --for.`,
		Example: "  postern token create anna/music music.example.com\n  postern token create anna/music music.example.com --for 30d --json",
		Args:    arguments(2, 2, "the name and the site", "postern token create anna/music music.example.com"),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if q.Name, err = parseName(args[0]); err != nil {
				return err
			}
			q.Site, q.Lifetime = args[1], life.d
			return a.tokenCreate(c.Context(), q)
		},
	}
	c.Flags().Var(&life, "for", "how long it is good, such as 30d; 365d at most (default 90d)")
	return c
}

func (a *app) tokenCreate(ctx context.Context, q authority.TokenRequest) error {
	auth, done, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	made, err := auth.CreateToken(ctx, q)
	if err != nil {
		return err
	}
	if err := a.show(made, func(w io.Writer) {
		say(w, "A token for %s at %s, until %s. It is shown this one time:\n\n  %s\n", made.Name, made.Site, moment(made.Expires), made.Secret)
		say(w, "Have the app send the header field\n  X-Postern-App-Token: %s\nor, where the site takes it in the path, use the address\n  https://%s/.postern/token/%s/", made.Secret, made.Site, made.Secret)
	}); err != nil {
		return err
	}
	a.adviseTokens(made.Site)
	return nil
}

// adviseTokens says what a site lacks, as far as the configuration here tells.
func (a *app) adviseTokens(host string) {
	conf, _, err := a.config()
	if err != nil || len(conf.Sites) == 0 {
		return
	}
	site, ok := conf.Site(host)
	switch {
	case !ok:
		a.note("note: postern.yaml has no site %s", host)
	case !site.AppTokens.Header && !site.AppTokens.Path:
		a.note("note: %s takes no tokens: write app_tokens: [header] there in postern.yaml", host)
	}
}

func newTokenList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "Every token that was made, without its secret",
		Example: "  postern token list --json",
		Args:    arguments(0, 0, "", ""),
		RunE: func(c *cobra.Command, _ []string) error {
			auth, done, err := a.open(c.Context())
			if err != nil {
				return err
			}
			defer done()
			return a.listTokens(c.Context(), auth)
		},
	}
}

func (a *app) listTokens(ctx context.Context, auth api.Authority) error {
	all, err := auth.Tokens(ctx)
	if err != nil {
		return err
	}
	slices.SortStableFunc(all, func(x, y authority.Token) int { return strings.Compare(x.Name.String(), y.Name.String()) })
	return a.show(present(all), func(w io.Writer) {
		if len(all) == 0 {
			say(w, "No token: 'postern token create NAME SITE' makes one.")
			return
		}
		rows := make([][]string, len(all))
		for i, t := range all {
			rows[i] = []string{t.ID, t.Name.String(), t.Site, t.Status, moment(t.Expires)}
		}
		table(w, []string{"ID", "NAME", "SITE", "STATUS", "UNTIL"}, rows)
	})
}

func newTokenRevoke(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke ID",
		Short: "End a token now, on open connections too",
		Long: `End a token now. Connections over which its bearer is served are cut. 'postern
revoke NAME' ends the tokens of a name together with its certificates.`,
		Example: "  postern token revoke 9f86d081884c",
		Args:    arguments(1, 1, "the token's id", "'postern token list' shows them"),
		RunE: func(c *cobra.Command, args []string) error {
			auth, done, err := a.open(c.Context())
			if err != nil {
				return err
			}
			defer done()
			t, err := auth.RevokeToken(c.Context(), args[0])
			if err != nil {
				return err
			}
			return a.show(t, func(w io.Writer) { say(w, "Token %s of %s at %s is revoked.", t.ID, t.Name, t.Site) })
		},
	}
}
