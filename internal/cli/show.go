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

func newShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show NAME|SERIAL",
		Short: "All about one name or certificate",
		Example: `  postern show ben/phone
  postern show 5f1b09c2…`,
		Args:              arguments(1, 1, "the name or serial number", "postern list shows the names"),
		ValidArgsFunction: a.completeNames,
		RunE:              func(c *cobra.Command, args []string) error { return a.showOne(c.Context(), args[0]) },
	}
}

func (a *app) showOne(ctx context.Context, word string) error {
	auth, done, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	t, err := find(ctx, auth, word)
	if err != nil {
		return err
	}
	if t.name.IsZero() {
		return a.showCertificate(ctx, auth, t.serial)
	}
	return a.showName(ctx, auth, t.name)
}

func (a *app) showName(ctx context.Context, auth api.Authority, n identity.Name) error {
	id, err := auth.Identity(ctx, n)
	if authority.CodeOf(err) == authority.CodeNotFound { // it stands above names that are known
		return a.listIdentities(ctx, auth, authority.IdentityFilter{Name: n, Limit: fullPage})
	}
	if err != nil {
		return err
	}
	certs, err := auth.Certificates(ctx, authority.CertificateFilter{Name: n})
	if err != nil {
		return err
	}
	by, err := suspendedBy(ctx, auth, id)
	if err != nil {
		return err
	}
	v := struct {
		authority.Identity
		All []authority.Certificate `json:"all_certificates"`
	}{id, present(certs)}
	return a.show(v, func(w io.Writer) {
		standing := "good"
		if !by.IsZero() {
			standing = fmt.Sprintf("suspended: 'postern reinstate %s' ends it", by)
		}
		facts(w, "name", id.Name.String(), "standing", standing, "groups", words(id.Groups), "since", moment(id.Created))
		for _, c := range certs {
			say(w, "\n%s  %s", c.Serial, c.Status)
			facts(w, "  of", c.Name.String(), "  profile", c.Profile, "  until", moment(c.NotAfter), "  revoked", revoked(c))
		}
	})
}

// suspendedBy returns the name whose suspension keeps id out: its own or the
// highest one above it; zero for none.
func suspendedBy(ctx context.Context, auth api.Authority, id authority.Identity) (identity.Name, error) {
	if !id.Suspended {
		return identity.Name{}, nil
	}
	by := id.Name
	for above := range id.Name.Lineage() {
		up, err := auth.Identity(ctx, above)
		switch {
		case authority.CodeOf(err) == authority.CodeNotFound:
		case err != nil:
			return by, err
		case up.Suspended:
			by = above
		}
	}
	return by, nil
}

func revoked(c authority.Certificate) string {
	if c.RevokedAt.IsZero() {
		return ""
	}
	return moment(c.RevokedAt) + ", " + c.Reason
}

func (a *app) showCertificate(ctx context.Context, auth api.Authority, s ledger.Serial) error {
	all, err := auth.Certificates(ctx, authority.CertificateFilter{Serial: s})
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return withHint(fmt.Errorf("the ledger holds no certificate with serial number %s", s), "postern list certificates")
	}
	c := all[0]
	ips := make([]string, len(c.IPs))
	for i, ip := range c.IPs {
		ips[i] = ip.String()
	}
	return a.show(c, func(w io.Writer) {
		facts(w, "serial", c.Serial.String(), "name", c.Name.String(), "status", c.Status, "profile", c.Profile,
			"issuer", c.Issuer, "from", moment(c.NotBefore), "until", moment(c.NotAfter), "issued", moment(c.IssuedAt),
			"through", c.Via, "renewed from", c.RenewedFrom.String(), "revoked", revoked(c),
			"host names", strings.Join(c.DNSNames, ", "), "addresses", strings.Join(ips, ", "),
			"key", c.Key.String(), "to be signed", c.TBS.String())
	})
}
