package cli

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/chain"
	"github.com/postern-project/postern/internal/trust"
)

func newTrust(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "trust",
		Short: "Which roots this machine believes, and ours among them",
		Long: `A root that is believed can vouch for every server, unless it is constrained.
So nothing puts one there but 'trust install'. Not needed when the sites have
certificates of a public authority.`,
		Args: cobra.ArbitraryArgs,
		RunE: a.noCommand,
	}
	var browsers bool
	for _, sub := range []*cobra.Command{
		{
			Use:     "install [ROOT]",
			Short:   "Have browsers and the system believe a root",
			Long:    "Put a root, by default DATA/root.pem, into this user's Chromium and Firefox and\ninto the system's store, which takes an administrator.",
			Example: "  postern trust install --browsers root.pem",
			RunE:    func(c *cobra.Command, args []string) error { return a.trustRoot(c.Context(), args, true, browsers) },
		},
		{
			Use:   "uninstall [ROOT]",
			Short: "Have them believe it no more",
			Long:  "Take a root, by default DATA/root.pem, out of this user's browsers and out of\nthe system's store.",
			RunE:  func(c *cobra.Command, args []string) error { return a.trustRoot(c.Context(), args, false, browsers) },
		},
	} {
		sub.Args = arguments(0, 1, "the root", "postern trust "+strings.Fields(sub.Use)[0]+" root.pem")
		sub.Flags().BoolVar(&browsers, "browsers", false, "browsers only, not the system's store")
		c.AddCommand(sub)
	}
	c.AddCommand(&cobra.Command{
		Use:   "list",
		Short: "Every root that this machine believes, with its file",
		Long: `List the roots of the system's store, and those that were added to this user's
browsers: what each may vouch for, when it ends, and the file that brought it.`,
		Args: arguments(0, 0, "", ""),
		RunE: func(c *cobra.Command, _ []string) error { return a.listRoots(c.Context()) },
	})
	return c
}

// trustRoot puts a root into stores, or takes it out.
func (a *app) trustRoot(ctx context.Context, args []string, install, browsersOnly bool) error {
	root, err := a.rootFrom(args)
	if err != nil {
		return err
	}
	var did []string
	var errs []error
	for _, d := range trust.Databases(a.Getenv("HOME")) {
		if err := placeRoot(ctx, d, root, install); err != nil {
			errs = append(errs, fmt.Errorf("%s (%s): %w", d.Browser, d.Dir, err))
			continue
		}
		did = append(did, d.Browser)
	}
	if !browsersOnly {
		do := trust.InstallSystem
		if !install {
			do = trust.UninstallSystem
		}
		if err := do(root); err != nil {
			errs = append(errs, err)
		} else {
			did = append(did, "the system")
		}
	}
	if len(did) == 0 && len(errs) == 0 {
		return errors.New("this user has no browser that keeps its own roots; without --browsers the system's store is changed")
	}
	shown := struct {
		Root   string   `json:"root"`
		Stores []string `json:"stores"`
	}{root.Subject.CommonName, present(did)}
	if err := a.show(shown, func(w io.Writer) { sayTrusted(w, shown.Root, did, install) }); err != nil {
		return err
	}
	return errors.Join(errs...)
}

func sayTrusted(w io.Writer, root string, stores []string, install bool) {
	for _, s := range stores {
		if install {
			say(w, "%s is believed by %s.", root, s)
		} else {
			say(w, "%s is not believed by %s.", root, s)
		}
	}
}

func placeRoot(ctx context.Context, d trust.Database, root *x509.Certificate, install bool) error {
	if install {
		return d.AddRoot(ctx, root, root.Subject.CommonName)
	}
	_, err := d.Remove(ctx, func(k trust.Kept) bool { return !k.Key && k.Certificate.Equal(root) })
	return err
}

// rootFrom reads the root that was named, or that of the data folder. What is
// no authority's own certificate is not put anywhere.
func (a *app) rootFrom(args []string) (*x509.Certificate, error) {
	if len(args) == 0 {
		return readRoot(a.data())
	}
	data, err := os.ReadFile(args[0])
	if err != nil {
		return nil, err
	}
	certs, err := chain.ParsePEM(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", args[0], err)
	}
	if len(certs) != 1 || !certs[0].IsCA || certs[0].CheckSignatureFrom(certs[0]) != nil {
		return nil, withHint(fmt.Errorf("%s is not one root certificate", args[0]), "'postern join' writes it as root.pem")
	}
	return certs[0], nil
}

// trustedRoot is what 'trust list' prints; scripts rely on its names.
type trustedRoot struct {
	Name  string `json:"name"`
	Until string `json:"until"`
	trust.Root
}

func (a *app) listRoots(ctx context.Context) error {
	all, err := a.believed(ctx)
	if err != nil && len(all) == 0 {
		return err
	}
	if err != nil {
		a.tell("note: ", err.Error())
	}
	listed := make([]trustedRoot, len(all))
	for i, r := range all {
		listed[i] = trustedRoot{nameOf(r.Certificate), moment(r.Certificate.NotAfter), r}
	}
	slices.SortStableFunc(listed, func(a, b trustedRoot) int { return strings.Compare(a.Name, b.Name) })
	return a.show(listed, func(w io.Writer) {
		for _, r := range listed {
			say(w, "%s\n  for %s, until %s\n  %s: %s", r.Name, r.For, r.Until, r.Store, r.File)
		}
		say(w, "%d roots. Browsers bring roots of their own besides.", len(listed))
	})
}

// believed returns the roots of the system and of browsers.
func (a *app) believed(ctx context.Context) ([]trust.Root, error) {
	system, err := trust.System(a.Getenv)
	added, berr := trust.Browsers(ctx, a.Getenv("HOME"))
	return append(added, system...), errors.Join(err, berr)
}

// nameOf is how people know a certificate.
func nameOf(c *x509.Certificate) string {
	if c.Subject.CommonName != "" {
		return c.Subject.CommonName
	}
	return c.Subject.String()
}

// whyTrusted says by which file a host is believed.
func (a *app) whyTrusted(ctx context.Context, host string) error {
	roots, err := a.believed(ctx)
	if err != nil && len(roots) == 0 {
		return err
	}
	reasons, err := trust.Why(ctx, host, roots, a.Now())
	if err != nil {
		return err
	}
	if len(reasons) == 0 {
		return withHint(fmt.Errorf("nothing on this machine believes %s", host), "'postern explain "+host+"' walks its chain")
	}
	type reason struct {
		Chain []string     `json:"chain"`
		Roots []trust.Root `json:"roots"`
	}
	told := make([]reason, len(reasons))
	for i, r := range reasons {
		for _, c := range r.Chain {
			told[i].Chain = append(told[i].Chain, nameOf(c))
		}
		told[i].Roots = r.Roots
	}
	return a.show(told, func(w io.Writer) {
		for _, r := range told {
			say(w, "%s is believed because\n  %s", host, strings.Join(r.Chain, "\n  is signed by "))
			for _, root := range r.Roots {
				say(w, "which %s has from %s, for %s", root.Store, root.File, root.For)
			}
		}
	})
}
