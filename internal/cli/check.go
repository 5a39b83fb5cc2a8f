package cli

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/config"
	"github.com/postern-project/postern/internal/identity"
)

func newCheck(a *app) *cobra.Command {
	var print bool
	c := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Say what is wrong with postern.yaml",
		Long: `Read the configuration as 'postern up' would and say everything that is wrong
with it, and what is allowed but hardly meant. Groups are looked up in the data
folder when there is one. --print writes the profiles that are in force, the
built-in ones among them, as they can stand in postern.yaml.`,
		Args: arguments(0, 1, "", ""),
		RunE: func(c *cobra.Command, args []string) error {
			file := cmp.Or(a.configFlag, defaultConfig)
			if len(args) == 1 {
				file = args[0]
			}
			if print {
				return a.printProfiles(file, len(args) == 1 || a.configFlag != "")
			}
			return a.check(c.Context(), file)
		},
	}
	c.Flags().BoolVar(&print, "print", false, "write the profiles in force, with every key")
	return c
}

// printProfiles writes the profiles of a configuration; without a file those
// that are built in.
func (a *app) printProfiles(file string, named bool) error {
	conf, _, err := config.Load(file)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !named:
		conf = config.Default()
	case errors.Is(err, fs.ErrNotExist):
		return withHint(errors.New("there is no "+file), "without a name, the built-in profiles are written")
	case err != nil:
		return err
	}
	texts := map[string]string{}
	for _, p := range conf.Profiles.All() {
		texts[p.Name()] = p.String()
	}
	return a.show(texts, func(w io.Writer) {
		say(w, "profiles:")
		for _, p := range conf.Profiles.All() {
			for line := range strings.Lines(p.String()) {
				io.WriteString(w, "  "+line)
			}
		}
	})
}

// finding is one line of 'check --json'.
type finding struct {
	Severity string `json:"severity"` // error or warning
	Line     int    `json:"line,omitempty"`
	Column   int    `json:"column,omitempty"`
	Message  string `json:"message"`
	Hint     string `json:"hint,omitempty"`
}

type checked struct {
	File     string    `json:"file"`
	OK       bool      `json:"ok"`
	Sites    int       `json:"sites"`
	Findings []finding `json:"findings"`
}

func (a *app) check(ctx context.Context, file string) error {
	conf, warnings, err := config.Load(file)
	if errors.Is(err, fs.ErrNotExist) {
		return withHint(errors.New("there is no "+file), "write one, or name it: postern check FILE")
	}
	if err == nil {
		var unchecked []config.Warning
		unchecked, err = a.checkGroups(ctx, conf)
		warnings = append(warnings, unchecked...)
	}
	if err == nil {
		err = conf.CheckCertificates()
	}
	wrong := config.Errors(err)
	if err != nil && len(wrong) == 0 {
		return err
	}
	result := checked{File: file, OK: len(wrong) == 0, Sites: len(conf.Sites), Findings: findings(wrong, warnings)}
	if !a.json {
		a.complainConfig(wrong)
		a.warn(warnings)
	}
	if err := a.show(result, func(w io.Writer) {
		if result.OK {
			say(w, "%s is right: %s.", file, count(result.Sites, "site"))
		}
	}); err != nil {
		return err
	}
	if !result.OK {
		return errSilent
	}
	return nil
}

func findings(wrong []*config.Error, warnings []config.Warning) []finding {
	all := []finding{}
	for _, e := range wrong {
		all = append(all, finding{"error", e.Line, e.Column, e.Msg, e.Hint})
	}
	for _, w := range warnings {
		all = append(all, finding{"warning", w.Line, w.Column, w.Msg, w.Hint})
	}
	return all
}

// warn tells people what is allowed and hardly meant.
func (a *app) warn(warnings []config.Warning) {
	for _, w := range warnings {
		a.tell("warning: ", w.String())
		if w.Hint != "" {
			a.tell("hint: ", w.Hint)
		}
	}
}

// checkGroups looks the groups up in the ledger. Where there is no data folder
// yet, or somebody else's, there is nothing to look in, and a warning says so.
func (a *app) checkGroups(ctx context.Context, conf config.Config) ([]config.Warning, error) {
	asked := conf.Groups()
	if len(asked) == 0 {
		return nil, nil
	}
	if a.haveData() != nil {
		msg := "groups were not looked up, there is no data folder yet: " + words(asked)
		return []config.Warning{{File: conf.File, Msg: msg, Hint: "--data names a data folder"}}, nil
	}
	auth, done, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	known, err := groupSet(ctx, auth)
	if err != nil {
		return nil, err
	}
	return nil, conf.CheckGroups(func(g identity.Group) bool { return known[g] }, a.groupCommand)
}

// groupCommand is what to type for the first member of a group.
func (a *app) groupCommand(g identity.Group) string {
	return "postern group add " + g.String() + " NAME" + a.sameData()
}

// sameData is what the next command needs to mean this data folder.
func (a *app) sameData() string {
	if a.dataFlag == "" {
		return ""
	}
	return " --data " + a.dataFlag
}

func groupSet(ctx context.Context, auth api.Authority) (map[identity.Group]bool, error) {
	all, err := auth.Groups(ctx)
	if err != nil {
		return nil, err
	}
	known := make(map[identity.Group]bool, len(all))
	for _, g := range all {
		known[g.Name] = true
	}
	return known, nil
}
