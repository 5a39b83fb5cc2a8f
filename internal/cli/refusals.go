package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/gateway"
	"github.com/postern-project/postern/internal/refusal"
)

// refusalsFile is the gateway's record of whom it turned away, in the data
// folder.
const refusalsFile = "refusals.jsonl"

func (a *app) listRefusals(ctx context.Context, limit int) error {
	if limit < 1 {
		limit = 100
	}
	all, err := a.refusals(ctx, limit)
	if err != nil {
		return err
	}
	return a.show(present(all), func(w io.Writer) {
		if len(all) == 0 {
			say(w, "Nobody was turned away.")
			return
		}
		rows := make([][]string, len(all))
		for i, r := range all {
			rows[i] = []string{r.Reference.String(), moment(r.Time), cause(r), r.Site, who(r.Client), r.Address}
		}
		table(w, []string{"REFERENCE", "WHEN", "WHY", "SITE", "NAME", "FROM"}, rows)
		say(w, "\n'postern explain REFERENCE' tells the whole story of one.")
	})
}

// cause is why somebody was turned away, or would have been.
func cause(r api.Refused) string {
	if r.Audit {
		return string(r.Code) + " (let in)"
	}
	return string(r.Code)
}

// who is the name that the ledger bears out, or what a certificate claims.
func who(c gateway.Shown) string {
	if c.Claims != "" {
		return "claims " + c.Claims
	}
	return c.Name
}

// refusals asks the running server, or reads its record when none is running.
func (a *app) refusals(ctx context.Context, limit int) ([]api.Refused, error) {
	c, err := api.Dial(ctx, a.data())
	if err == nil {
		defer c.Close()
		return c.Refusals(ctx, limit)
	}
	j, err := a.journal(err)
	if err != nil {
		return nil, err
	}
	defer j.Close()
	return j.Recent(limit)
}

// refused finds one refusal by its reference.
func (a *app) refused(ctx context.Context, ref refusal.Reference) (api.Refused, error) {
	c, err := api.Dial(ctx, a.data())
	if err == nil {
		defer c.Close()
		return c.Refusal(ctx, ref)
	}
	j, err := a.journal(err)
	if err != nil {
		return api.Refused{}, err
	}
	defer j.Close()
	r, ok, err := j.Find(ref)
	if err == nil && !ok {
		err = withHint(fmt.Errorf("refusal %s is not on record", ref), "the newest 100,000 refusals of seven days are kept; 'postern list refusals' shows them")
	}
	return r, err
}

// journal opens the record of a data folder whose server does not run.
func (a *app) journal(dialled error) (*gateway.Journal, error) {
	if !errors.Is(dialled, api.ErrNoServer) {
		return nil, dialled
	}
	if err := a.haveData(); err != nil {
		return nil, err
	}
	return gateway.OpenJournal(filepath.Join(a.data(), refusalsFile), gateway.JournalOptions{Now: a.Now})
}
