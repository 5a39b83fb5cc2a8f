package cli

import (
	"context"
	"io"
	"slices"
	"strings"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/invite"
)

// accessTerms are on what terms somebody gets access, as they were typed.
type accessTerms struct{ name, profile, group string }

// askingFor returns those who ask for access.
func askingFor(ctx context.Context, auth api.Authority) ([]invite.AccessRequest, error) {
	live, ok := auth.(api.Live)
	if !ok {
		return nil, nil // requests has said so
	}
	return live.AccessRequests(ctx)
}

// listed returns both kinds of those who wait as one list for scripts.
func listed(waiting []request, asking []invite.AccessRequest) []any {
	all := []any{}
	for _, r := range waiting {
		all = append(all, r)
	}
	for _, r := range asking {
		all = append(all, r)
	}
	return all
}

// sayAsking tells who asks for access. All of it but the words, the site and
// the time is what a stranger wrote.
func sayAsking(w io.Writer, all []invite.AccessRequest) {
	for _, r := range all {
		say(w, "%s asks for access", r.Words)
		for _, said := range [][2]string{{"says to be", r.Who}, {"adds", r.Note}, {"for", r.Site}, {"from", r.Address}, {"browser", r.Device}, {"since", moment(r.Since)}} {
			head := said[0]
			for _, line := range folded(said[1], 62) {
				say(w, "  %s%s  %s", head, strings.Repeat(" ", len("says to be")-len(head)), line)
				head = ""
			}
		}
	}
}

// folded is wrap, but that it breaks words too long for a line as well, and
// that a text without words has no lines.
func folded(s string, width int) []string {
	var words []string
	for word := range strings.FieldsSeq(s) {
		for part := range slices.Chunk([]rune(word), width) {
			words = append(words, string(part))
		}
	}
	if len(words) == 0 {
		return nil
	}
	return wrap(strings.Join(words, " "), width)
}

// answerAsking says yes or no to somebody who asks for access. What they call
// themselves names nobody: the operator does.
func (a *app) answerAsking(ctx context.Context, auth api.Authority, r invite.AccessRequest, t accessTerms, deny bool) error {
	live := auth.(api.Live)
	if deny {
		if err := live.DenyAccess(ctx, r.Words); err != nil {
			return err
		}
		return a.show(struct {
			Denied string `json:"denied"`
		}{r.Words}, func(w io.Writer) { say(w, "Denied: the page with the words %s says so.", r.Words) })
	}
	if t.name == "" {
		return usage("postern approve "+r.Words+" anna/phone", "who asks for access gets a name from you")
	}
	name, err := parseName(t.name)
	if err != nil {
		return err
	}
	group, err := parseGroup(t.group)
	if err != nil {
		return err
	}
	granted, err := live.GrantAccess(ctx, api.AccessGrant{Words: r.Words, Name: name, Profile: t.profile, Group: group})
	if err != nil {
		return err
	}
	return a.show(granted, func(w io.Writer) {
		say(w, "Approved: the page with the words %s goes on to an invitation for %s.", r.Words, granted.Name)
		say(w, "It is good until %s.", moment(granted.Expires))
	})
}
