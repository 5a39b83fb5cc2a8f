package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/config"
	"github.com/postern-project/postern/internal/identity"
)

// kinds are what 'postern list' lists; the first one is the default.
var kinds = []string{"identities", "certificates", "invites", "requests", "groups", "issuers", "refusals"}

// statuses are those of certificates.
var statuses = []string{"good", "revoked", "expired", "suspended"}

type listing struct {
	name, status string
	limit        int
	search       searching
}

func newList(a *app) *cobra.Command {
	var l listing
	c := &cobra.Command{
		Use:   "list [WHAT]",
		Short: "Who and what there is",
		Long: `List what WHAT says: identities (unless told otherwise), certificates, invites,
requests (devices that wait for a yes), groups, issuers or refusals (the
newest). --json prints an array.`,
		Example: `  postern list
  postern list certificates --name ben --status good
  postern list certificates --expires-within 14d
  postern list certificates --due
  postern list certificates --dns pw.example.com --json
  postern list refusals --json`,
		Args:      arguments(0, 1, "", ""),
		ValidArgs: kinds,
		RunE: func(c *cobra.Command, args []string) error {
			kind := kinds[0]
			if len(args) == 1 {
				kind = args[0]
			}
			return a.list(c.Context(), kind, l)
		},
	}
	c.Flags().StringVar(&l.name, "name", "", "only this `NAME` and what is below it (identities, certificates, invites)")
	c.Flags().StringVar(&l.status, "status", "", "only certificates that are `STATUS`: "+strings.Join(statuses, ", "))
	c.Flags().IntVar(&l.limit, "limit", 0, "at most `N` identities, certificates or refusals")
	l.search.register(c)
	c.RegisterFlagCompletionFunc("name", a.completeNames)
	return c
}

func (a *app) list(ctx context.Context, kind string, l listing) error {
	if !slices.Contains(kinds, kind) {
		hint := "one of: " + strings.Join(kinds, ", ")
		if near := config.Nearest(kind, kinds); near != "" {
			hint = fmt.Sprintf("did you mean %q?", "postern list "+near)
		}
		return usage(hint, "%q is nothing that can be listed", kind)
	}
	var name identity.Name
	if l.name != "" {
		var err error
		if name, err = parseName(l.name); err != nil {
			return err
		}
	}
	if l.status != "" && !slices.Contains(statuses, l.status) {
		return usage("one of: "+strings.Join(statuses, ", "), "%q is no status of a certificate", l.status)
	}
	switch kind {
	case "refusals":
		return a.listRefusals(ctx, l.limit)
	case "requests":
		return a.listRequests(ctx)
	}
	auth, done, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	switch kind {
	case "certificates":
		q, err := l.search.filter()
		if err != nil {
			return err
		}
		q.Name, q.Status, q.Limit = name, l.status, l.limit
		return a.listCertificates(ctx, auth, q)
	case "invites":
		return a.listInvites(ctx, auth, name)
	case "groups":
		return a.listGroups(ctx, auth)
	case "issuers":
		return a.listIssuers(ctx, auth)
	}
	q := authority.IdentityFilter{Name: name, Limit: cmp.Or(l.limit, fullPage)}
	if l.search.after != "" {
		if q.After, err = parseName(l.search.after); err != nil {
			return err
		}
	}
	return a.listIdentities(ctx, auth, q)
}

// shownSerial is how many digits of a serial number a table has room for; they
// are enough for 'show' and 'revoke', and 'show' and --json print all.
const shownSerial = 12

// present is v as a JSON array, also when there is nothing in it.
func present[T any](v []T) []T {
	if v == nil {
		return []T{}
	}
	return v
}

func (a *app) listIdentities(ctx context.Context, auth api.Authority, q authority.IdentityFilter) error {
	all, err := auth.Identities(ctx, q)
	if err != nil {
		return err
	}
	return a.show(present(all), func(w io.Writer) {
		if len(all) == 0 {
			say(w, "Nobody yet: 'postern invite NAME' lets somebody in.")
			return
		}
		rows := make([][]string, len(all))
		for i, id := range all {
			standing := "good"
			if id.Suspended {
				standing = "suspended"
			}
			rows[i] = []string{id.Name.String(), standing, strconv.Itoa(id.Certificates), words(id.Groups), moment(id.Created)}
		}
		table(w, []string{"NAME", "STANDING", "CERTIFICATES", "GROUPS", "SINCE"}, rows)
		if len(all) == q.Limit {
			a.note("there may be more: the same with --after %s", all[len(all)-1].Name)
		}
	})
}

func (a *app) listCertificates(ctx context.Context, auth api.Authority, q authority.CertificateFilter) error {
	all, err := auth.Certificates(ctx, q)
	if err != nil {
		return err
	}
	return a.show(present(all), func(w io.Writer) {
		if len(all) == 0 {
			say(w, "No certificate.")
			return
		}
		rows := make([][]string, len(all))
		for i, c := range all {
			rows[i] = []string{c.Serial.String()[:min(shownSerial, len(c.Serial.String()))], c.Name.String(), c.Profile, c.Status, moment(c.NotAfter)}
		}
		table(w, []string{"SERIAL", "NAME", "PROFILE", "STATUS", "UNTIL"}, rows)
		if len(all) == cmp.Or(q.Limit, fullPage) {
			a.note("there may be more: the same with --after %s", all[len(all)-1].Place)
		}
	})
}

func (a *app) listInvites(ctx context.Context, auth api.Authority, name identity.Name) error {
	all, err := auth.Invites(ctx)
	if err != nil {
		return err
	}
	if !name.IsZero() {
		all = slices.DeleteFunc(all, func(i authority.Invite) bool { return !name.Covers(i.Name) })
	}
	return a.show(present(all), func(w io.Writer) {
		if len(all) == 0 {
			say(w, "No invitation.")
			return
		}
		rows := make([][]string, len(all))
		for i, v := range all {
			rows[i] = []string{v.ID, v.Name.String(), v.Profile, v.Status, moment(v.Expires)}
		}
		table(w, []string{"ID", "NAME", "PROFILE", "STATUS", "UNTIL"}, rows)
	})
}

func (a *app) listGroups(ctx context.Context, auth api.Authority) error {
	all, err := auth.Groups(ctx)
	if err != nil {
		return err
	}
	return a.show(present(all), func(w io.Writer) {
		if len(all) == 0 {
			say(w, "No group yet: 'postern group add GROUP NAME' begins one.")
			return
		}
		rows := make([][]string, len(all))
		for i, g := range all {
			rows[i] = []string{g.Name.String(), words(g.Members)}
		}
		table(w, []string{"GROUP", "MEMBERS"}, rows)
	})
}

func (a *app) listIssuers(ctx context.Context, auth api.Authority) error {
	all, err := auth.Issuers(ctx)
	if err != nil {
		return err
	}
	return a.show(present(all), func(w io.Writer) {
		rows := make([][]string, len(all))
		for i, v := range all {
			standing := "trusted"
			if v.Distrusted {
				standing = "distrusted"
			}
			rows[i] = []string{v.Name, v.Use, standing, moment(v.NotAfter), v.KeyID.String()[:16]}
		}
		table(w, []string{"ISSUER", "SIGNS", "STANDING", "UNTIL", "KEY"}, rows)
	})
}

// words writes values after each other.
func words[T fmt.Stringer](all []T) string {
	s := make([]string, len(all))
	for i, v := range all {
		s[i] = v.String()
	}
	return strings.Join(s, ", ")
}
