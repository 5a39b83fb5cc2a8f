package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/config"
	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/profile"
)

const nameHint = "a name looks like ben/phone or services/checkout"

// arguments accepts at least least and at most most of them, most < 0 for any
// number. What is missing is called what, and hint is what to type.
func arguments(least, most int, what, hint string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usage(hint, "%s is missing", what)
		case most == 0 && len(args) > 0:
			return usage("see: "+c.CommandPath()+" --help", "%s takes no argument, %q is one", c.CommandPath(), args[0])
		case most >= 0 && len(args) > most:
			return usage("see: "+c.CommandPath()+" --help", "%q is an argument too many", args[most])
		}
		return nil
	}
}

// parseName reads a name that was typed.
func parseName(s string) (identity.Name, error) {
	n, err := identity.ParseName(s)
	if err != nil {
		return identity.Name{}, &UsageError{err, nameHint}
	}
	return n, nil
}

func parseNames(args []string) ([]identity.Name, error) {
	names := make([]identity.Name, len(args))
	for i, s := range args {
		n, err := parseName(s)
		if err != nil {
			return nil, err
		}
		names[i] = n
	}
	return names, nil
}

// parseGroup reads a group that was typed; "" is none.
func parseGroup(s string) (identity.Group, error) {
	if s == "" {
		return identity.Group{}, nil
	}
	g, err := identity.ParseGroup(strings.TrimPrefix(s, "group:"))
	if err != nil {
		return identity.Group{}, &UsageError{err, "a group is one word, such as family"}
	}
	return g, nil
}

// lifetime is a flag that reads 90d and 2w as well as Go's durations.
type lifetime struct{ d time.Duration }

func (l *lifetime) String() string {
	if l.d == 0 {
		return ""
	}
	return l.d.String()
}

func (l *lifetime) Type() string { return "DURATION" }

func (l *lifetime) Set(s string) error {
	number, unit := s, time.Duration(0)
	for suffix, d := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if n, ok := strings.CutSuffix(s, suffix); ok {
			number, unit = n+"h", d/time.Hour
		}
	}
	d, err := time.ParseDuration(number)
	if err != nil {
		return fmt.Errorf("%q is no duration: write 15m, 24h, 90d or 2w", s)
	}
	if unit != 0 {
		if d > 200*365*time.Hour {
			return fmt.Errorf("%q is longer than anything here lives", s)
		}
		d *= unit
	}
	if d <= 0 {
		return fmt.Errorf("%q is no time at all: write 15m, 24h, 90d or 2w", s)
	}
	l.d = d
	return nil
}

// oneOf is the error for a word that is none of those that are offered.
func oneOf(what, word string, offered []string) error {
	hint := "one of: " + strings.Join(offered, ", ")
	if near := config.Nearest(word, offered); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	return usage(hint, "%q is no %s", word, what)
}

// findProfile returns the profile that was typed, of those that the authority
// has; "" is the default one.
func findProfile(ctx context.Context, auth api.Authority, word string) (authority.Profile, error) {
	all, err := auth.Profiles(ctx)
	if err != nil {
		return authority.Profile{}, err
	}
	names := make([]string, len(all))
	for i, p := range all {
		if p.Name == cmp.Or(word, profile.Default) {
			return p, nil
		}
		names[i] = p.Name
	}
	if len(all) == 0 { // the configuration is wrong, and issuing says how
		return authority.Profile{MaxLifetime: profile.MaxLifetime}, nil
	}
	return authority.Profile{}, oneOf("profile", word, names)
}

// unknown adds the name that was probably meant to a not-found error.
func unknown(ctx context.Context, auth api.Authority, word string, err error) error {
	if authority.CodeOf(err) != authority.CodeNotFound {
		return err
	}
	all, listErr := auth.Identities(ctx, authority.IdentityFilter{})
	if listErr != nil {
		return err
	}
	names := make([]string, len(all))
	for i, id := range all {
		names[i] = id.Name.String()
	}
	if near := config.Nearest(word, names); near != "" && near != word {
		return withHint(fmt.Errorf("%s", messageOf(err)), fmt.Sprintf("did you mean %q?", near))
	}
	return err
}

// completeNames offers the names of the data folder to the shell.
func (a *app) completeNames(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	auth, done, err := a.open(c.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer done()
	all, err := auth.Identities(c.Context(), authority.IdentityFilter{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names := make([]string, len(all))
	for i, id := range all {
		names[i] = id.Name.String()
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
