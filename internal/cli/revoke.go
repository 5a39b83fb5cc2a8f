package cli

import (
	"context"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
)

func newRevoke(a *app) *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:   "revoke NAME|SERIAL",
		Short: "End a device's certificates and connections, now",
		Long: `Withdraw one certificate by its serial number, or all of a name and of every
name below it together with their open invitations. Whatever was renewed from
a certificate goes with it. Open connections are cut at once. A revoked
certificate never comes back: 'postern suspend' is for that.`,
		Example: `  postern revoke anna/phone
  postern revoke ben --reason key-compromise
  postern revoke 5f1b09c2…`,
		Args:              arguments(1, 1, "the name or serial number", "postern list certificates shows both"),
		ValidArgsFunction: a.completeNames,
		RunE: func(c *cobra.Command, args []string) error {
			why, err := ledger.ParseReason(reason)
			if err != nil {
				return &UsageError{err, ""}
			}
			return a.revoke(c.Context(), args[0], why)
		},
	}
	c.Flags().StringVar(&reason, "reason", "unspecified", "`REASON`: unspecified, key-compromise, affiliation-changed, superseded, cessation-of-operation or privilege-withdrawn")
	c.RegisterFlagCompletionFunc("reason", cobra.FixedCompletions([]string{"unspecified", "key-compromise", "affiliation-changed", "superseded", "cessation-of-operation", "privilege-withdrawn"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (a *app) revoke(ctx context.Context, word string, why ledger.Reason) error {
	auth, done, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	t, err := find(ctx, auth, word)
	if err != nil {
		return err
	}
	r, err := auth.Revoke(ctx, authority.RevokeRequest{Name: t.name, Serial: t.serial, Reason: why})
	if err != nil {
		return unknown(ctx, auth, word, err)
	}
	return a.show(r, func(w io.Writer) {
		if len(r.Certificates) == 0 && r.Invites == 0 {
			say(w, "%s had no certificate that was still good.", word)
			return
		}
		say(w, "Revoked %s of %s.", count(len(r.Certificates), "certificate"), word)
		for _, c := range r.Certificates {
			say(w, "  %s  %s, was good until %s", c.Serial, c.Name, moment(c.NotAfter))
		}
		if r.Invites > 0 {
			say(w, "Cancelled %s.", count(r.Invites, "open invitation"))
		}
	})
}

// A target is what NAME|SERIAL means: one of the two is set.
type target struct {
	name   identity.Name
	serial ledger.Serial
}

// find tells a name from a serial number. What is known as a name, or stands
// above one, is a name, even when it could be read as hex digits.
func find(ctx context.Context, auth api.Authority, word string) (target, error) {
	n, nameErr := identity.ParseName(word)
	if nameErr == nil {
		known, err := isKnown(ctx, auth, n)
		if known || err != nil {
			return target{name: n}, err
		}
	}
	if s, ok := serialOf(word); ok {
		return target{serial: s}, nil
	}
	if nameErr == nil {
		_, err := auth.Identity(ctx, n)
		return target{name: n}, unknown(ctx, auth, word, err)
	}
	return target{}, usage(nameHint+", a serial number like 5f1b09c2…", "%q is neither a name nor a serial number", word)
}

// isKnown reports whether the ledger mentions a name or one below it.
func isKnown(ctx context.Context, auth api.Authority, n identity.Name) (bool, error) {
	all, err := auth.Identities(ctx)
	return slices.ContainsFunc(all, func(id authority.Identity) bool { return n.Covers(id.Name) }), err
}

// serialOf reads a serial number as lists print it, which has more digits
// than a word of a name that happens to be hex.
func serialOf(word string) (ledger.Serial, bool) {
	if len(strings.ReplaceAll(word, ":", "")) < 16 {
		return ledger.Serial{}, false
	}
	s, err := ledger.ParseSerial(word)
	return s, err == nil
}
