package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/authority"
)

// statusPoll is how often a waiting 'status' looks again.
const statusPoll = 50 * time.Millisecond

func newStatus(a *app) *cobra.Command {
	var wait lifetime
	c := &cobra.Command{
		Use:   "status",
		Short: "Is it up and well?",
		Long: `Say what the running server serves, how its ledger stands, and what somebody
should do about it. Exit code 0 means that the gateway answers.`,
		Example: "  postern status --wait 10s && curl …",
		Args:    arguments(0, 0, "", ""),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.status(c.Context(), wait.d)
		},
	}
	c.Flags().Var(&wait, "wait", "wait this long until the gateway answers, such as 10s")
	return c
}

func (a *app) status(ctx context.Context, wait time.Duration) error {
	s, err := a.awaitStatus(ctx, wait)
	if err != nil {
		return err
	}
	s.Advice = append(s.Advice, advice(a.data())...)
	if err := a.show(s, func(w io.Writer) { a.sayStatus(w, s) }); err != nil {
		return err
	}
	if !s.Ready {
		return withHint(errors.New("the gateway does not answer yet"), "postern status --wait 10s")
	}
	return nil
}

func (a *app) awaitStatus(ctx context.Context, wait time.Duration) (api.Status, error) {
	for end := time.Now().Add(wait); ; {
		s, err := a.liveStatus(ctx)
		if err == nil && s.Ready || time.Now().After(end) {
			return s, err
		}
		select {
		case <-ctx.Done():
			return api.Status{}, context.Cause(ctx)
		case <-time.After(statusPoll):
		}
	}
}

func (a *app) liveStatus(ctx context.Context) (api.Status, error) {
	c, err := api.Dial(ctx, a.data())
	if errors.Is(err, api.ErrNoServer) {
		return api.Status{}, withHint(fmt.Errorf("no server is running on %s", here(a.data())), "'postern up' starts one; --data names another folder")
	}
	if err != nil {
		return api.Status{}, err
	}
	defer c.Close()
	return c.Status(ctx)
}

// advice returns what the data folder itself asks somebody to do.
func advice(data string) []string {
	var all []string
	for _, path := range keptSecrets(data) {
		all = append(all, here(path)+" holds a secret in clear: read it and delete it")
	}
	if _, err := os.Lstat(filepath.Join(data, authority.RootKeyFile)); err == nil {
		all = append(all, "move "+here(filepath.Join(data, authority.RootKeyFile))+" off this machine: nothing needs it day by day")
	}
	return all
}

func (a *app) sayStatus(w io.Writer, s api.Status) {
	say(w, "postern %s, process %d, up for %s", s.Version, s.PID, span(a.Now().Sub(s.Started)))
	for _, site := range s.Sites {
		say(w, "  %s  from %s", site.URL, site.Target)
	}
	facts(w, "public side", s.PublicURL, "listening on", strings.Join(s.Listen, ", "),
		"ledger", fmt.Sprintf("%s, %s", s.TrustDomain, entries(s.Ledger.Size)),
		"connections", fmt.Sprint(s.Connections), "configuration", s.Config)
	advice := s.Advice
	if s.ConfigError != "" {
		advice = append(slices.Clone(advice), "the newest configuration is not in force: "+s.ConfigError)
	}
	for _, line := range advice {
		for i, part := range a.lines(line, usualWidth-2) {
			say(w, "%s %s", [...]string{"!", " "}[min(i, 1)], part)
		}
	}
}

func entries(n uint64) string {
	if n == 1 {
		return "1 entry"
	}
	return fmt.Sprintf("%d entries", n)
}
