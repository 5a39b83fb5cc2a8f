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
	c := &cobra.Command{
		Use:   "approve [WORDS]",
		Short: "Say yes to a device that waits at an invitation",
		Long: `Give the certificate to a device that waits for a yes, named by the words that
it shows: an invitation of 'postern invite --approve'. Without words the
devices that wait are listed. --deny says no and withdraws the invitation.`,
		Example: `  postern approve
  postern approve ramp-otter-cape-ozone
  postern approve ramp-otter-cape-ozone --deny`,
		Args: arguments(0, 1, "the words", "'postern list requests' shows them"),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return a.listRequests(c.Context())
			}
			return a.decide(c.Context(), args[0], deny)
		},
	}
	c.Flags().BoolVar(&deny, "deny", false, "say no, and withdraw the invitation")
	return c
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
	return a.show(all, func(w io.Writer) {
		if len(all) == 0 {
			say(w, "Nobody waits.")
			return
		}
		rows := make([][]string, len(all))
		for i, r := range all {
			rows[i] = []string{r.Words, r.Name, r.deviceOr("-"), moment(r.Since)}
		}
		table(w, []string{"WORDS", "NAME", "DEVICE", "SINCE"}, rows)
	})
}

// decide says yes or no to the request that shows the words.
func (a *app) decide(ctx context.Context, words string, deny bool) error {
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
		default:
			return a.approve(ctx, auth, r)
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
