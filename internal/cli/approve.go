package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/ledger"
)

func newApprove(a *app) *cobra.Command {
	var deny bool
	var g accessTerms
	c := &cobra.Command{
		Use:   "approve [WORDS [NAME]]",
		Short: "Say yes to a device that waits, or to who asks for access",
		Long: `Give the certificate to a device that waits for a yes, named by the words that
it shows: an invitation of 'postern invite --approve'. Somebody who asks for
access at a site with 'access_requests: true' shows words too: they get an
invitation for NAME, which the page that they asked on opens by itself.
Without words those who wait are listed. --deny says no, as 'postern deny'.`,
		Example: `  postern approve
  postern approve ramp-otter-cape-ozone
  postern approve ramp-otter-cape-ozone anna/phone`,
		Args: arguments(0, 2, "the words", "'postern list requests' shows them"),
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return a.listRequests(c.Context())
			case len(args) == 2 && deny:
				return usage("'postern deny WORDS' is enough", "a denial has no name")
			case len(args) == 2:
				g.name = args[1]
			}
			return a.decide(c.Context(), args[0], g, deny)
		},
	}
	c.Flags().BoolVar(&deny, "deny", false, "say no, and withdraw the invitation")
	c.Flags().StringVar(&g.profile, "profile", "", "what certificate who asks for access gets (device)")
	c.Flags().StringVar(&g.group, "group", "", "the group that they join with it")
	return c
}

func newDeny(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "deny WORDS",
		Short: "Say no to a device that waits, or to who asks for access",
		Long: `Say no to a device or a person that waits for a yes, named by the words that
they show. The invitation of a device is withdrawn.`,
		Example: "  postern deny ramp-otter-cape-ozone",
		Args:    arguments(1, 1, "the words", "'postern list requests' shows them"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.decide(c.Context(), args[0], accessTerms{}, true)
		},
	}
}

// A request is a key that waits for a yes, as people and scripts see it.
type request struct {
	invite.Waiting
	Words string `json:"words"`
	Name  string `json:"name"`
}

func (r request) deviceOr(what string) string {
	if r.Device == "" {
		return what
	}
	return r.Device
}

// hash returns what the ledger keeps of the invitation's code.
func (r request) hash() (h ledger.Hash, err error) {
	if err = h.UnmarshalText([]byte(r.Invite)); err != nil {
		err = fmt.Errorf("the server's answer: %w", err)
	}
	return h, err
}

// requests returns the keys that wait for a yes now.
func requests(ctx context.Context, auth api.Authority) ([]request, error) {
	live, ok := auth.(api.Live)
	if !ok {
		return nil, withHint(errors.New("no server is running, so nobody waits"), "start it with 'postern up'")
	}
	all, err := live.Requests(ctx)
	if err != nil {
		return nil, err
	}
	waiting := []request{}
	for _, r := range all {
		hash, err := request{Waiting: r}.hash()
		if err != nil {
			return nil, err
		}
		i, err := inviteByHash(ctx, auth, hash)
		if err != nil {
			return nil, err
		}
		waiting = append(waiting, request{Waiting: r, Words: invite.Words(hash, r.PublicKey), Name: i.Name.String()})
	}
	return waiting, nil
}

func (a *app) listRequests(ctx context.Context) error {
	auth, done, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	all, err := requests(ctx, auth)
	if err != nil {
		return err
	}
	asking, err := askingFor(ctx, auth)
	if err != nil {
		return err
	}
	return a.show(listed(all, asking), func(w io.Writer) {
		if len(all)+len(asking) == 0 {
			say(w, "Nobody waits.")
			return
		}
		if len(all) > 0 {
			rows := make([][]string, len(all))
			for i, r := range all {
				rows[i] = []string{r.Words, r.Name, r.deviceOr("-"), moment(r.Since)}
			}
			table(w, []string{"WORDS", "NAME", "DEVICE", "SINCE"}, rows)
		}
		sayAsking(w, asking)
	})
}

// decide says yes or no to the request that shows the words.
func (a *app) decide(ctx context.Context, words string, g accessTerms, deny bool) error {
	auth, done, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	all, err := requests(ctx, auth)
	if err != nil {
		return err
	}
	words = strings.ToLower(strings.Join(strings.Fields(words), "-"))
	for _, r := range all {
		switch {
		case r.Words != words:
		case deny:
			return a.deny(ctx, auth, r)
		case g != accessTerms{}:
			return usage("leave out the name and the flags", "the invitation of this device says who it is: %s", r.Name)
		default:
			return a.approve(ctx, auth, r)
		}
	}
	asking, err := askingFor(ctx, auth)
	if err != nil {
		return err
	}
	for _, r := range asking {
		if r.Words == words {
			return a.answerAsking(ctx, auth, r, g, deny)
		}
	}
	return withHint(fmt.Errorf("no device waits with the words %q", words), "'postern list requests' shows who waits; a device shows its words while its page is open")
}

// approve gives the key that waits its certificate.
func (a *app) approve(ctx context.Context, auth api.Authority, r request) error {
	hash, err := r.hash()
	if err != nil {
		return err
	}
	issued, err := auth.Approve(ctx, authority.ApproveRequest{Hash: hash, PublicKey: r.PublicKey})
	if err != nil {
		return err
	}
	return a.show(struct {
		Name   string `json:"name"`
		Serial string `json:"serial"`
	}{issued.Name.String(), issued.Serial.String()}, func(w io.Writer) {
		say(w, "Approved: %s gets certificate %s.", issued.Name, issued.Serial)
	})
}

// deny withdraws the invitation, since somebody else has its link.
func (a *app) deny(ctx context.Context, auth api.Authority, r request) error {
	hash, err := r.hash()
	if err != nil {
		return err
	}
	if err := auth.CancelInvite(ctx, hash); err != nil {
		return err
	}
	return a.show(struct {
		Denied string `json:"denied"`
	}{r.Name}, func(w io.Writer) {
		say(w, "The invitation for %s is withdrawn.", r.Name)
		say(w, "If it was not the device that you meant, somebody else has the link.")
	})
}
