package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
)

// reasons are those that --reason takes.
var reasons = []string{"unspecified", "key-compromise", "affiliation-changed", "superseded", "cessation-of-operation", "privilege-withdrawn"}

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
				return oneOf("reason", reason, reasons)
			}
			return a.revoke(c.Context(), args[0], why)
		},
	}
	c.Flags().StringVar(&reason, "reason", "unspecified", "`REASON`: unspecified, key-compromise, affiliation-changed, superseded, cessation-of-operation or privilege-withdrawn")
	c.RegisterFlagCompletionFunc("reason", cobra.FixedCompletions(reasons, cobra.ShellCompDirectiveNoFileComp))
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
		if len(r.Certificates) == 0 && r.Invites == 0 && r.ACMEKeys == 0 && r.Tokens == 0 {
			say(w, "%s had no certificate that was still good.", word)
			return
		}
		say(w, "Revoked %s of %s.", count(len(r.Certificates), "certificate"), word)
		for _, c := range r.Certificates {
			say(w, "  %s  %s", c.Serial, c.Name)
		}
		if r.Invites > 0 {
			say(w, "Cancelled %s.", count(r.Invites, "open invitation"))
		}
		if r.ACMEKeys > 0 {
			say(w, "Ended %s.", count(r.ACMEKeys, "ACME account"))
		}
		if r.Tokens > 0 {
			say(w, "Ended %s.", count(r.Tokens, "app token"))
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
	if digits, ok := serialDigits(word); ok {
		s, err := findSerial(ctx, auth, digits)
		return target{serial: s}, err
	}
	if nameErr == nil {
		_, err := auth.Identity(ctx, n)
		return target{name: n}, unknown(ctx, auth, word, err)
	}
	return target{}, usage(nameHint+", a serial number like 5f1b09c2…", "%q is neither a name nor a serial number", word)
}

// isKnown reports whether the ledger mentions a name or one below it.
func isKnown(ctx context.Context, auth api.Authority, n identity.Name) (bool, error) {
	some, err := auth.Identities(ctx, authority.IdentityFilter{Name: n, Limit: 1})
	return len(some) > 0, err
}

// A serial number is written with fullSerial hex digits, and the first few of
// them are enough to tell it from others.
const (
	fullSerial  = 32
	leastSerial = 8
)

// serialDigits reads a serial number, or its beginning, as lists and tools
// print it. It has a digit, so that no word that happens to be hex is one.
func serialDigits(word string) (string, bool) {
	digits := strings.ToLower(strings.ReplaceAll(strings.TrimRight(word, "…."), ":", ""))
	hex := strings.Trim(digits, "0123456789abcdef") == ""
	return digits, hex && len(digits) >= leastSerial && strings.ContainsAny(digits, "0123456789")
}

// findSerial returns the serial number that begins with digits, or that is the
// number they write: tools leave out leading zeros.
func findSerial(ctx context.Context, auth api.Authority, digits string) (ledger.Serial, error) {
	whole, err := ledger.ParseSerial(digits)
	if err == nil && len(digits) >= fullSerial {
		return whole, nil
	}
	if err == nil {
		all, err := auth.Certificates(ctx, authority.CertificateFilter{Serial: whole, Limit: 1})
		if err != nil || len(all) > 0 {
			return whole, err
		}
	}
	all, err := auth.Certificates(ctx, authority.CertificateFilter{Beginning: digits})
	if err != nil {
		return ledger.Serial{}, err
	}
	var found ledger.Serial
	for _, c := range all {
		if !found.IsZero() && c.Serial != found {
			return ledger.Serial{}, withHint(fmt.Errorf("more than one serial number begins with %s", digits), "add digits: 'postern list certificates --json' shows all of them")
		}
		found = c.Serial
	}
	if found.IsZero() {
		return found, withHint(fmt.Errorf("the ledger holds no certificate with serial number %s", digits),
			fmt.Sprintf("a serial number has %d digits, of which the first %d are enough: postern list certificates", fullSerial, leastSerial))
	}
	return found, nil
}
