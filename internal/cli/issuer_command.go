package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/ledger"
)

func newIssuer(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "issuer",
		Short: "The issuers below the root: list, replace, distrust",
		Args:  cobra.ArbitraryArgs,
		RunE:  a.noCommand,
	}
	list := &cobra.Command{
		Use:   "list",
		Short: "Every issuer, and what it is doing",
		Args:  arguments(0, 0, "", ""),
		RunE:  func(c *cobra.Command, _ []string) error { return a.issuerList(c.Context()) },
	}
	c.AddCommand(list, newIssuerRotate(a), newIssuerDistrust(a))
	return c
}

func (a *app) issuerList(ctx context.Context) error {
	auth, done, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	all, err := auth.Issuers(ctx)
	if err != nil {
		return err
	}
	return a.show(present(all), func(w io.Writer) {
		var rows [][]string
		for _, i := range all {
			rows = append(rows, []string{i.Name, i.Use, i.State, fmt.Sprint(i.InUse), i.NotAfter.Format(time.DateOnly), i.KeyID.String()[:8], i.Root[strings.LastIndexByte(i.Root, ' ')+1:]})
		}
		table(w, []string{"ISSUER", "FOR", "STATE", "GOOD", "UNTIL", "KEY", "ROOT"}, rows)
	})
}

func newIssuerRotate(a *app) *cobra.Command {
	var q authority.RootAsk
	var out string
	var ref rootRef
	var force, retire bool
	c := &cobra.Command{
		Use:   "rotate LINE",
		Short: "Replace an issuer, step by step",
		Long: `Go on with the replacement of an issuer of a line, such as clients: the first
time a key is made and the root is asked to sign for it; once its answer is
applied, everybody who needs the new one gets it, and 'rotate' again switches
to it, unless somebody does not have it yet. The old one's certificates go on
working. --retire gives up the old one's key when nothing is good under it.`,
		Example: "  postern issuer rotate clients\n  postern issuer rotate phones --use clients\n  postern issuer rotate clients --root-key /media/safe/root.key.age",
		Args:    arguments(1, 1, "the line", "'postern issuer list' shows them: clients-1 is of the line clients"),
		RunE: func(c *cobra.Command, args []string) error {
			q.Line = ledger.LineOf(args[0])
			if retire {
				return a.issuerStep(c.Context(), authority.RotationStep{Line: q.Line, Retire: true, Force: force})
			}
			return a.issuerRotate(c.Context(), q, out, ref, force)
		},
	}
	c.Flags().StringVar(&q.Use, "use", "", "begin a new line, for `USE`: clients or servers")
	c.Flags().StringSliceVar(&q.Zones, "zone", nil, "a DNS `ZONE` beside the trust domain that an issuer for servers shall have; may be repeated")
	c.Flags().BoolVar(&force, "force", false, "switch or retire although it is early")
	c.Flags().BoolVar(&retire, "retire", false, "give up the keys of issuers that were replaced")
	askFlags(c, &out, &ref)
	return c
}

// issuerRotate takes the next step: switch to a staged issuer, or ask the root
// for one.
func (a *app) issuerRotate(ctx context.Context, q authority.RootAsk, out string, ref rootRef, force bool) error {
	staged, err := a.staged(ctx, q.Line)
	if err != nil {
		return err
	}
	if staged {
		return a.issuerStep(ctx, authority.RotationStep{Line: q.Line, Switch: true, Force: force})
	}
	return a.ask(ctx, q, out, ref)
}

func (a *app) staged(ctx context.Context, line string) (bool, error) {
	auth, done, err := a.open(ctx)
	if err != nil {
		return false, err
	}
	defer done()
	r, err := auth.Rotate(ctx, authority.RotationStep{Line: line})
	if authority.CodeOf(err) == authority.CodeNotFound {
		return false, nil
	}
	return r.Staged != nil, err
}

func (a *app) issuerStep(ctx context.Context, step authority.RotationStep) error {
	auth, done, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	r, err := auth.Rotate(ctx, step)
	if authority.CodeOf(err) == authority.CodeNotYet && !a.json {
		a.sayHolders(ctx, auth, step.Line)
	}
	if err != nil {
		return err
	}
	return a.show(r, func(w io.Writer) { say(w, "%s.", sentence(r.Did)) })
}

// sayHolders shows who has the staged issuer and who lacks it.
func (a *app) sayHolders(ctx context.Context, auth api.Authority, line string) {
	r, err := auth.Rotate(ctx, authority.RotationStep{Line: line})
	if err != nil || len(r.Holders) == 0 {
		return
	}
	var rows [][]string
	for _, h := range r.Holders {
		has := "lacks it"
		switch {
		case h.Has:
			has = "has it"
		case !h.Needed:
			has = "gets it when it renews"
		}
		rows = append(rows, []string{h.Name, h.Kind, has})
	}
	table(a.Stderr, []string{"WHO", "KIND", "NEW ISSUER"}, rows)
}

func newIssuerDistrust(a *app) *cobra.Command {
	var reason string
	var yes bool
	c := &cobra.Command{
		Use:   "distrust NAME",
		Short: "The answer to a stolen issuer key",
		Long: `End trust in an issuer. Nothing is issued under it any more. What the ledger
shows it has issued goes on working at this gateway; everything else under it
is refused as issuer-distrusted, with an alarm. Other programs that trust the
root learn of it from the root's next revocation list, and then refuse the
honest certificates as well.`,
		Example: "  postern issuer distrust clients-1",
		Args:    arguments(1, 1, "the issuer", "'postern issuer list' shows them"),
		RunE: func(c *cobra.Command, args []string) error {
			why, err := ledger.ParseReason(reason)
			if err != nil {
				return oneOf("reason", reason, reasons)
			}
			return a.issuerDistrust(c.Context(), authority.DistrustRequest{Name: args[0], Reason: why}, yes)
		},
	}
	c.Flags().StringVar(&reason, "reason", "key-compromise", "`REASON`, as for 'postern revoke'")
	c.Flags().BoolVar(&yes, "yes", false, "do it without asking")
	return c
}

func (a *app) issuerDistrust(ctx context.Context, q authority.DistrustRequest, yes bool) error {
	auth, done, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	preview := q
	preview.Preview = true
	d, err := auth.Distrust(ctx, preview)
	if err != nil {
		return err
	}
	if !yes {
		for _, line := range consequences(d) {
			a.tell("", line)
		}
		if err := a.agree(ctx, "distrust "+d.Issuer.Name); err != nil {
			return err
		}
	}
	if d, err = auth.Distrust(ctx, q); err != nil {
		return err
	}
	return a.show(d, func(w io.Writer) {
		say(w, "Issuer %s is distrusted.", d.Issuer.Name)
		if yes {
			for _, line := range consequences(d) {
				for _, part := range a.lines(line, usualWidth) {
					say(w, "%s", part)
				}
			}
		}
		if d.Next == "" {
			say(w, "Now: postern issuer rotate %s%s", d.Issuer.Line, a.sameData())
		}
	})
}

// consequences says what distrusting an issuer brings.
func consequences(d authority.Distrusted) []string {
	all := []string{
		fmt.Sprintf("%s by %s go on working at this gateway, because the ledger shows that they were issued; everything else under it is refused with an alarm.",
			sentence(count(d.Kept, "certificate")), d.Issuer.Name),
		"Other programs that trust the root refuse the honest certificates too, once the root's next revocation list reaches them.",
	}
	if d.Next != "" {
		return append(all, fmt.Sprintf("Certificates are issued by %s from then on.", d.Next))
	}
	return append(all, fmt.Sprintf("Nothing is issued or renewed on the line %s until the root has signed a successor.", d.Issuer.Line))
}
