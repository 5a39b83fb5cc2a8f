package cli

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/profile"
)

func newInvite(a *app) *cobra.Command {
	var q authority.InviteRequest
	var ttl lifetime
	var group string
	var noWait, acme bool
	var hosts []string
	c := &cobra.Command{
		Use:   "invite NAME",
		Short: "A link that lets one device or service in, once",
		Long: `Make a link with a one-time code. Whoever opens it first gets a certificate
for NAME; the key is made on their device and stays there. The link is good
for 15 minutes, and for 24 hours with --profile service. On a terminal the
command stays and shows what happens. With --approve the device and this
terminal show the same words, and you confirm them.

With --server-key the server may make the key, on a page that needs no script:
a last resort for a device that cannot make its own. The server keeps neither
the key nor the password of the file that it is in, and the ledger marks the
certificate as issued through server-key.

With --acme it is no link but a key for external account binding: an ACME
client makes one account with it within 24 hours, whose certificates are those
of NAME.`,
		Example: `  postern invite anna/phone
  postern invite anna/laptop --group family --ttl 1h
  postern invite services/checkout --profile service --json
  postern invite services/web --acme --dns "*.web.home.internal"`,
		Args:              arguments(1, 1, "the name of the device or service", nameHint),
		ValidArgsFunction: a.completeNames,
		RunE: func(c *cobra.Command, args []string) (err error) {
			if q.Name, err = parseName(args[0]); err != nil {
				return err
			}
			if q.Group, err = parseGroup(group); err != nil {
				return err
			}
			q.TTL = ttl.d
			if acme {
				if q.ServerKey || q.Approve {
					return usage("leave them out", "--server-key and --approve are about links, and --acme makes none")
				}
				if group != "" {
					return usage("leave --group out", "a server's certificate opens no door, so a group means nothing for it")
				}
				return a.inviteACME(c.Context(), authority.ACMEKeyRequest{Name: q.Name, Profile: q.Profile, Hosts: hosts, TTL: q.TTL})
			}
			if len(hosts) > 0 {
				return usage("add --acme", "--dns says what an ACME account may ask for")
			}
			return a.invite(c.Context(), q, !noWait && !a.json)
		},
	}
	c.Flags().StringVar(&q.Profile, "profile", "", "what kind of certificate, `PROFILE`: device, service, admin or one of postern.yaml (default device)")
	c.Flags().Var(&ttl, "ttl", "how long the link is good, such as 15m, 24h or 7d")
	c.Flags().StringVar(&group, "group", "", "the `GROUP` that NAME joins when the link is used")
	c.Flags().BoolVar(&noWait, "no-wait", false, "do not stay and show what happens")
	c.Flags().BoolVar(&q.Approve, "approve", false, "ask for your yes before the certificate is issued")
	c.Flags().BoolVar(&q.ServerKey, "server-key", false, "let the server make the key, for a device that cannot (a last resort)")
	c.Flags().BoolVar(&acme, "acme", false, "make a key for an ACME account instead of a link")
	c.Flags().StringArrayVar(&hosts, "dns", nil, "with --acme, a host `NAME` that the account may ask for (default all of the profile's); may be repeated")
	c.RegisterFlagCompletionFunc("profile", a.completeProfiles)
	return c
}

func (a *app) invite(ctx context.Context, q authority.InviteRequest, wait bool) error {
	auth, done, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	p, err := findProfile(ctx, auth, q.Profile)
	if err != nil {
		return err
	}
	if p.Usage == string(profile.Server) {
		return usage("use 'postern issue --profile "+p.Name+"' with --dns", "an invitation holds no host names, so it gives no server certificate")
	}
	base, running, err := a.publicURL(ctx, auth)
	if err != nil {
		return err
	}
	made, err := auth.Invite(ctx, q)
	if err != nil {
		return err
	}
	if err := a.showInvitation(made, base); err != nil {
		return err
	}
	if !running {
		a.tell("note: ", "no server is running on "+here(a.data())+": start 'postern up' before the link is opened")
	}
	if wait && running && a.StdoutTerminal {
		return a.watchInvitation(ctx, auth, made)
	}
	return nil
}

// publicURL returns the address that links begin with: what the running server
// says, else what the configuration says.
func (a *app) publicURL(ctx context.Context, auth api.Authority) (base string, running bool, err error) {
	if live, ok := auth.(api.Live); ok {
		s, err := live.Status(ctx)
		if err != nil {
			return "", true, err
		}
		return s.PublicURL, true, nil
	}
	conf, _, err := a.config()
	if err != nil {
		return "", false, err
	}
	return conf.PublicURL(), false, nil
}

// invitation is what 'invite --json' prints; scripts rely on its names.
type invitation struct {
	Link    string    `json:"link"`
	Code    string    `json:"code"`
	Name    string    `json:"name"`
	Profile string    `json:"profile"`
	Group   string    `json:"group,omitempty"`
	Expires time.Time `json:"expires"`
	Approve bool      `json:"approve,omitempty"`
	// ServerKeyPage is where the server makes the key, when it may.
	ServerKeyPage string `json:"server_key_page,omitempty"`
}

// showInvitation prints the link: to a person's terminal, or into JSON that
// was asked for, and else into a file.
func (a *app) showInvitation(made authority.Invitation, base string) error {
	link, err := a.link(made.Code, base)
	if err != nil {
		return err
	}
	v := invitation{link.String(), made.Code, made.Name.String(), made.Profile, made.Group.String(), made.Expires, made.Approve, ""}
	if made.ServerKey {
		v.ServerKeyPage = link.Base + invite.FilePath
	}
	if a.json || a.StdoutTerminal {
		return a.show(v, func(w io.Writer) { a.drawInvitation(w, v, link) })
	}
	name := "invite-" + fileWord(v.Name) + "-" + inviteID(made.Hash)
	path, err := keepSecret(a.data(), name, v.Link)
	if err != nil {
		return err
	}
	say(a.Stdout, "The invitation for %s is in %s, good until %s.", v.Name, here(path), moment(v.Expires))
	return nil
}

// inviteID is how lists name an invite: its code is not kept.
func inviteID(hash ledger.Hash) string { return hash.String()[:8] }

func (a *app) link(code, base string) (invite.Link, error) {
	c, err := invite.Parse(code)
	if err != nil {
		return invite.Link{}, err
	}
	base, err = invite.ParseBase(base)
	if err != nil {
		return invite.Link{}, fmt.Errorf("the address of the public side: %w", err)
	}
	root, err := readRoot(a.data())
	if err != nil {
		return invite.Link{}, err
	}
	return invite.Link{Base: base, Code: c, Pin: invite.PinOf(root)}, nil
}

func (a *app) drawInvitation(w io.Writer, v invitation, link invite.Link) {
	say(w, "Invitation for %s, good once, until %s.\n", v.Name, moment(v.Expires))
	say(w, "On a computer:\n\n    postern join '%s'\n", v.Link)
	if v.ServerKeyPage != "" {
		say(w, "On a device that cannot make its key, with this link at hand:\n\n    %s\n", v.ServerKeyPage)
	}
	host, _ := link.Host()
	switch {
	case onlyHere(host):
		say(w, "A phone cannot open %s.\nIt needs a host name or address of this machine that it can reach\n(--site HOST=…), and a public certificate or the root installed by hand.", link.Base)
	case a.StdoutTerminal:
		say(w, "On a phone, point the camera at this:\n")
		if err := drawQR(w, v.Link); err != nil {
			a.note("no QR code: %s", err)
		}
	}
}

// onlyHere reports whether host means this machine to every machine.
func onlyHere(host string) bool {
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && ip.IsLoopback()
}
