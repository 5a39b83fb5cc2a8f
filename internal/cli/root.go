package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// The exit codes that scripts rely on.
const (
	exitDone   = 0
	exitFailed = 1 // refused or failed
	exitUsage  = 2 // wrong usage
)

// groups order the commands as 'postern help' shows them.
var groups = []cobra.Group{
	{ID: "start", Title: "Start here"},
	{ID: "people", Title: "Let somebody in, keep somebody out"},
	{ID: "files", Title: "Certificates into files"},
	{ID: "look", Title: "Look and understand"},
	{ID: "trust", Title: "Root and issuers"},
	{ID: "keep", Title: "Keep the record"},
}

// commands lists every command under its group, in the order of the help.
var commands = map[string][]func(*app) *cobra.Command{
	"start":  {newUp, newInit, newCheck, newDemo},
	"people": {newInvite, newApprove, newDeny, newJoin, newRevoke, newSuspend, newReinstate, newGroup, newToken},
	"files":  {newIssue, newSign, newRenew},
	"look":   {newStatus, newList, newShow, newExplain, newTrust, newAccess, newACME},
	"trust":  {newRootCommand, newIssuer},
	"keep":   {newLedger, newCRL, newBackup, newRestore, newVersion},
}

// Main runs the command that env names and returns its exit code.
func Main(ctx context.Context, env Env) int {
	if env.StdoutTerminal {
		env.Stdout = screen{env.Stdout}
	}
	if env.StderrTerminal {
		env.Stderr = screen{env.Stderr}
	}
	a := &app{Env: env}
	root := newRoot(a)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	a.complain(root, err)
	if _, usage := errors.AsType[*UsageError](err); usage {
		return exitUsage
	}
	return exitFailed
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:           "postern",
		Short:         "A private door to your own services",
		Long:          "Postern is a private certificate authority and a gateway that lets in only the\ndevices and services on your list. To see it at work:\n\n  postern up --site localhost=FOLDER",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE:          a.noCommand,
		// a command that does not exist is the first thing to say
		FParseErrWhitelist: cobra.FParseErrWhitelist{UnknownFlags: true},
	}
	root.SetArgs(append([]string{}, a.Args...))
	root.SetIn(a.Stdin)
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	root.SetFlagErrorFunc(flagError)
	root.PersistentFlags().StringVar(&a.dataFlag, "data", "", "the data folder `DIR` (default ./postern-data)")
	root.PersistentFlags().StringVar(&a.configFlag, "config", "", "the configuration `FILE` (default postern.yaml)")
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print the result as JSON")
	for i := range groups {
		root.AddGroup(&groups[i])
		for n, make := range commands[groups[i].ID] {
			c := make(a)
			c.GroupID, c.Annotations = groups[i].ID, map[string]string{orderKey: string(rune('a' + n))}
			root.AddCommand(c)
		}
	}
	root.SetHelpCommandGroupID("keep")
	root.SetCompletionCommandGroupID("keep")
	shapeHelp(root)
	return root
}

// noCommand answers a command without its sub-command, and one that does not
// exist.
func (a *app) noCommand(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return unknownCommand(c, args[0])
	}
	known := flagNames(c)
	for _, arg := range a.Args {
		name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if strings.HasPrefix(arg, "-") && !slices.Contains(known, name) {
			return flagError(c, fmt.Errorf("unknown flag: --%s", name))
		}
	}
	return c.Help()
}
