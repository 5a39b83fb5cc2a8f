package cli

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/config"
	"github.com/postern-project/postern/internal/identity"
)

func newGroup(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "group",
		Short: "Put names into groups and take them out",
		Long: `Groups are sets of names that a site's list can allow as group:NAME. A name
brings everything below it along. A group begins with its first member.`,
		Args: cobra.ArbitraryArgs,
		RunE: a.noCommand,
	}
	add := &cobra.Command{
		Use:     "add GROUP NAME...",
		Short:   "Put names into a group",
		Example: "  postern group add family anna ben/phone",
		Args:    arguments(2, -1, "the group or a name", "postern group add GROUP NAME..."),
		RunE:    func(c *cobra.Command, args []string) error { return a.changeGroup(c.Context(), args, true) },
	}
	remove := &cobra.Command{
		Use:     "remove GROUP NAME...",
		Short:   "Take names out of a group",
		Example: "  postern group remove family ben/phone",
		Args:    arguments(2, -1, "the group or a name", "postern group remove GROUP NAME..."),
		RunE:    func(c *cobra.Command, args []string) error { return a.changeGroup(c.Context(), args, false) },
	}
	show := &cobra.Command{
		Use:   "show GROUP",
		Short: "Who is in a group",
		Args:  arguments(1, 1, "the group", "postern list groups"),
		RunE:  func(c *cobra.Command, args []string) error { return a.showGroup(c.Context(), args[0]) },
	}
	c.AddCommand(add, remove, show)
	return c
}

func (a *app) changeGroup(ctx context.Context, args []string, add bool) error {
	g, err := parseGroup(args[0])
	if err != nil {
		return err
	}
	names, err := parseNames(args[1:])
	if err != nil {
		return err
	}
	change := authority.GroupChange{Group: g, Remove: names}
	did := "left"
	if add {
		change, did = authority.GroupChange{Group: g, Add: names}, "joined"
	}
	auth, done, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := a.noteNew(ctx, auth, change.Add); err != nil {
		return err
	}
	if err := auth.ChangeGroup(ctx, change); err != nil {
		return unknown(ctx, auth, args[1], err)
	}
	return a.show(change, func(w io.Writer) {
		for _, n := range names {
			say(w, "%s %s %s.", n, did, g)
		}
	})
}

// noteNew tells of names that nobody has had so far: a group may name them
// ahead, and a typing error does.
func (a *app) noteNew(ctx context.Context, auth api.Authority, names []identity.Name) error {
	all, err := auth.Identities(ctx, authority.IdentityFilter{})
	if err != nil {
		return err
	}
	known := make([]string, len(all))
	for i, id := range all {
		known[i] = id.Name.String()
	}
	for _, n := range names {
		if slices.ContainsFunc(all, func(id authority.Identity) bool { return n.Covers(id.Name) }) {
			continue
		}
		a.note("note: nobody is called %s so far", n)
		if near := config.Nearest(n.String(), known); near != "" {
			a.note("hint: did you mean %q?", near)
		}
	}
	return nil
}

func (a *app) showGroup(ctx context.Context, word string) error {
	g, err := parseGroup(word)
	if err != nil {
		return err
	}
	auth, done, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	all, err := auth.Groups(ctx)
	if err != nil {
		return err
	}
	known := make([]string, 0, len(all))
	for _, group := range all {
		if group.Name == g {
			return a.show(group, func(w io.Writer) { sayNames(w, group.Members) })
		}
		known = append(known, group.Name.String())
	}
	hint := "postern list groups"
	if near := config.Nearest(word, known); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	return withHint(fmt.Errorf("there is no group %q", g), hint)
}

func sayNames(w io.Writer, names []identity.Name) {
	for _, n := range names {
		say(w, "%s", n)
	}
}
