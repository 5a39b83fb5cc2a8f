package cli

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/join"
	"github.com/postern-project/postern/internal/keys"
)

// renewPath is where a site renews certificates.
const renewPath = "/.postern/renew"

type issuing struct {
	certificateFlags
	out, key string
	p12      bool
	force    bool
}

func newIssue(a *app) *cobra.Command {
	var f issuing
	c := &cobra.Command{
		Use:   "issue NAME",
		Short: "A key and its certificate straight into files",
		Long: `Make a key here and a certificate for it, and write both into a folder:
cert.pem (certificate, then issuer), key.pem and root.pem. A key that is made
where it is used is better: see 'postern invite' and 'postern sign'.`,
		Example: `  postern issue ben/laptop --out ben-laptop --p12
  postern issue web --profile server --dns orders.internal --ip 2001:db8::1`,
		Args:              arguments(1, 1, "the name", nameHint),
		ValidArgsFunction: a.completeNames,
		RunE:              func(c *cobra.Command, args []string) error { return a.issue(c.Context(), args[0], f) },
	}
	f.register(a, c)
	c.Flags().StringVar(&f.out, "out", "", "the folder `DIR` for the files (default NAME, with - for /)")
	c.Flags().StringVar(&f.key, "key", "", "the `KIND` of key: ecdsa-p256, ecdsa-p384 or rsa-3072 (default ecdsa-p256)")
	c.Flags().BoolVar(&f.p12, "p12", false, "write identity.p12 as well, for phones and browsers")
	c.Flags().BoolVar(&f.force, "force", false, "replace a certificate that has not expired")
	return c
}

func (a *app) issue(ctx context.Context, name string, f issuing) error {
	q, err := f.request(name, "issue")
	if err != nil {
		return err
	}
	kind, err := keys.ParseKind(f.key)
	if err != nil {
		return &UsageError{err, ""}
	}
	if f.out == "" {
		f.out = fileWord(name)
	}
	auth, done, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := fitsProfile(ctx, auth, q); err != nil {
		return err
	}
	key, err := keys.Generate(kind)
	if err != nil {
		return err
	}
	if q.PublicKey, err = x509.MarshalPKIXPublicKey(key.Public()); err != nil {
		return err
	}
	if err := unoccupied(f.out, f.force); err != nil {
		return err
	}
	issued, err := auth.Issue(ctx, q)
	if err != nil {
		return err
	}
	files, err := join.WriteFiles(join.Files{
		Dir: f.out, Chain: issued.Chain, Roots: issued.Roots, Key: key, P12: f.p12, Force: f.force, Now: a.Now(),
		State: renewable(ctx, auth, issued),
	})
	if err != nil {
		return fmt.Errorf("certificate %s is issued, but its files are not written: %w", issued.Serial, err)
	}
	return a.show(viewOf(issued, files), func(w io.Writer) {
		say(w, "Certificate %s for %s, good until %s.", issued.Serial, issued.Name, moment(issued.NotAfter))
		for _, path := range files {
			say(w, "  %s", here(path))
		}
	})
}

// unoccupied finds out before anything is issued that the files could not be
// written.
func unoccupied(dir string, force bool) error {
	for _, name := range []string{join.CertFile, join.KeyFile} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil && !force {
			return withHint(fmt.Errorf("%s holds a certificate already", dir), "name another folder with --out, replace it with --force, or renew it: postern renew "+dir)
		}
	}
	return nil
}

// renewable says where the certificate can be renewed, as far as a running
// server tells.
func renewable(ctx context.Context, auth api.Authority, issued authority.Issued) join.State {
	s := join.State{Profile: issued.Profile}
	live, ok := auth.(api.Live)
	if !ok {
		return s
	}
	status, err := live.Status(ctx)
	if err != nil {
		return s
	}
	s.Authority = status.PublicURL
	for _, site := range status.Sites {
		s.Renew = append(s.Renew, strings.TrimSuffix(site.URL, "/")+renewPath)
	}
	return s
}
