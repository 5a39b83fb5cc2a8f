package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/gateway"
	"github.com/postern-project/postern/internal/refusal"
)

// refusalsFile is the gateway's record of whom it turned away, in a folder of
// the data folder that the gateway may write to.
const (
	refusalsFolder = "refusals"
	refusalsName   = "refusals.jsonl"
	refusalsFile   = refusalsFolder + "/" + refusalsName
)

// settleRefusals makes that folder, and moves the record there from where
// earlier versions kept it.
func settleRefusals(data string) error {
	if err := os.MkdirAll(filepath.Join(data, refusalsFolder), 0o700); err != nil {
		return err
	}
	for _, name := range []string{refusalsName, refusalsName + ".1"} {
		if err := os.Rename(filepath.Join(data, name), filepath.Join(data, refusalsFolder, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

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
		tableOfRefusals(w, all)
		say(w, "\n'postern explain REFERENCE' tells the whole story of one.")
	})
}

// tableOfRefusals writes two lines for each: what was refused, and below it
// where and to whom, each as wide as a usual terminal at most.
func tableOfRefusals(w io.Writer, all []api.Refused) {
	const indent = "           " // the width of a reference and the gap after it
	rows := make([][]string, len(all))
	for i, r := range all {
		rows[i] = []string{r.Reference.String(), moment(r.Time), cause(r)}
	}
	var first strings.Builder
	table(&first, []string{"REFERENCE", "WHEN", "WHY"}, rows)
	lines := strings.Split(strings.TrimSuffix(first.String(), "\n"), "\n")
	fmt.Fprintln(w, lines[0])
	for i, r := range all {
		fmt.Fprintln(w, lines[i+1])
		rest := usualWidth - len(indent)
		for _, part := range wrap(clean(whereAndWho(r)), rest) {
			for utf8.RuneCountInString(part) > rest { // a word of its own
				cut := []rune(part)
				fmt.Fprintln(w, indent+string(cut[:rest]))
				part = string(cut[rest:])
			}
			fmt.Fprintln(w, indent+part)
		}
	}
}

// whereAndWho tells the site, the name and the address of a refusal, as far as
// they are known.
func whereAndWho(r api.Refused) string {
	parts := make([]string, 0, 3)
	if r.Site != "" {
		parts = append(parts, "at "+r.Site)
	}
	if name := who(r.Client); name != "" {
		parts = append(parts, name)
	}
	return strings.Join(append(parts, "from "+r.Address), ", ")
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
	if err := settleRefusals(a.data()); err != nil {
		return nil, err
	}
	return gateway.OpenJournal(filepath.Join(a.data(), refusalsFile), gateway.JournalOptions{Now: a.Now})
}
