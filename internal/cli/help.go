package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const usageTemplate = `Usage:
  {{.UseLine}}{{if .HasAvailableSubCommands}}{{if .Runnable}} COMMAND{{end}}{{end}}
{{if .HasExample}}
Examples:
{{.Example}}
{{end}}{{if .HasAvailableSubCommands}}{{$c := .}}{{range .Groups}}
{{.Title}}:
{{range inGroup $c .ID}}  {{rpad .Name 11}} {{.Short}}
{{end}}{{end}}{{if not .Groups}}
Commands:
{{range .Commands}}{{if .IsAvailableCommand}}  {{rpad .Name 11}} {{.Short}}
{{end}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}
Flags:
{{flags .LocalNonPersistentFlags}}{{end}}{{if or .HasAvailablePersistentFlags .HasAvailableInheritedFlags}}
Everywhere:
{{flags .PersistentFlags}}{{flags .InheritedFlags}}{{end}}{{if .HasAvailableSubCommands}}
'{{.CommandPath}} COMMAND --help' tells more about a command.
{{end}}`

const helpTemplate = `{{with (or .Long .Short)}}{{. | trimTrailingWhitespaces}}

{{end}}{{.UsageString}}`

// helpWords are what the templates can say; cobra keeps them for the whole
// process, in which several commands may run at once.
var helpWords = sync.OnceFunc(func() {
	cobra.AddTemplateFunc("flags", flagLines)
	cobra.AddTemplateFunc("inGroup", inGroup)
})

// shapeHelp gives every command the same help, 80 columns wide.
func shapeHelp(root *cobra.Command) {
	helpWords()
	root.SetUsageTemplate(usageTemplate)
	root.SetHelpTemplate(helpTemplate)
	root.SetHelpCommand(newHelp(root))
	root.InitDefaultHelpFlag()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.Short = "Complete commands in bash, zsh, fish or PowerShell"
			c.Args = arguments(1, 1, "bash, zsh, fish or powershell", "postern completion bash")
			c.RunE = func(c *cobra.Command, args []string) error { return unknownCommand(c, args[0]) }
		}
	}
}

// orderKey annotates a command with its place in the help.
const orderKey = "order"

// inGroup lists the commands of a group in the order of the help; those that
// cobra adds come last.
func inGroup(c *cobra.Command, id string) []*cobra.Command {
	all := slices.DeleteFunc(slices.Clone(c.Commands()), func(c *cobra.Command) bool {
		return c.GroupID != id || !c.IsAvailableCommand() && c.Name() != "help"
	})
	slices.SortStableFunc(all, func(a, b *cobra.Command) int {
		return strings.Compare(cmp.Or(a.Annotations[orderKey], "~"), cmp.Or(b.Annotations[orderKey], "~"))
	})
	return all
}

// newHelp is cobra's help command that knows what a wrong word is.
func newHelp(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Show this, or tell more about one command",
		RunE: func(_ *cobra.Command, args []string) error {
			c, rest, err := root.Find(args)
			if err != nil || c == nil || len(rest) > 0 {
				return unknownCommand(root, strings.Join(args, " "))
			}
			c.InitDefaultHelpFlag()
			return c.Help()
		},
	}
}

// flagLines lists flags in two columns that fit 80.
func flagLines(set *pflag.FlagSet) string {
	const left, width = 22, 80
	var b strings.Builder
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, text := pflag.UnquoteUsage(f)
		if f.Name == "help" {
			text = "show this"
		}
		name := "--" + f.Name
		if value != "" {
			name += " " + value
		}
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		lines := wrap(text, width-left-2)
		if len(name) >= left {
			fmt.Fprintf(&b, "  %s\n", name)
			name = ""
		}
		for _, line := range lines {
			fmt.Fprintf(&b, "  %-*s%s\n", left, name, line)
			name = ""
		}
	})
	return b.String()
}

func wrap(text string, width int) []string {
	lines := []string{""}
	for word := range strings.FieldsSeq(text) {
		last := &lines[len(lines)-1]
		switch {
		case *last == "":
			*last = word
		case utf8.RuneCountInString(*last)+1+utf8.RuneCountInString(word) <= width:
			*last += " " + word
		default:
			lines = append(lines, word)
		}
	}
	return lines
}

func flagNames(c *cobra.Command) []string {
	var names []string
	add := func(f *pflag.Flag) { names = append(names, f.Name) }
	c.Flags().VisitAll(add)
	c.InheritedFlags().VisitAll(add)
	return names
}

func commandNames(c *cobra.Command) []string {
	var names []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	return names
}
