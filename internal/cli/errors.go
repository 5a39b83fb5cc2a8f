package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/config"
	"github.com/postern-project/postern/internal/join"
)

// A UsageError is a command line that cannot be meant: exit code 2.
type UsageError struct {
	Err  error
	Hint string // what to type instead; "" for no guess
}

// Error says what is wrong with the command line.
func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the error below.
func (e *UsageError) Unwrap() error { return e.Err }

// usage makes a UsageError.
func usage(hint, format string, args ...any) error {
	return &UsageError{fmt.Errorf(format, args...), hint}
}

// hinted is an error with what to do about it.
type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }

func withHint(err error, hint string) error { return &hinted{err, hint} }

// errSilent ends a command with exit code 1 after it has said everything.
var errSilent = errors.New("refused")

// complain writes err and a hint to standard error.
func (a *app) complain(root *cobra.Command, err error) {
	if errors.Is(err, errSilent) {
		return
	}
	if all := config.Errors(err); len(all) > 0 {
		a.complainConfig(all)
		return
	}
	a.tell("postern: ", messageOf(err))
	if hint := hintOf(err); hint != "" {
		a.tell("hint: ", hint)
	}
}

func (a *app) complainConfig(all []*config.Error) {
	for _, e := range all {
		a.tell("postern: ", e.Error())
		if x := e.Excerpt(); x != "" && a.StderrTerminal {
			for line := range strings.SplitSeq(x, "\n") {
				a.note("    %s", line)
			}
		}
		if e.Hint != "" {
			a.tell("hint: ", e.Hint)
		}
	}
}

// messageOf returns what happened, without the hint that an authority's error
// carries at its end.
func messageOf(err error) string {
	msg := err.Error()
	if e, ok := errors.AsType[*authority.Error](err); ok && e.Hint != "" {
		msg = strings.TrimSuffix(msg, ": "+e.Hint)
	}
	if e, ok := errors.AsType[*join.RefusedError](err); ok { // the code is for programs
		msg = strings.TrimSuffix(msg, " ("+e.Code+")")
	}
	return msg
}

func hintOf(err error) string {
	if h, ok := errors.AsType[*hinted](err); ok {
		return h.hint
	}
	if u, ok := errors.AsType[*UsageError](err); ok {
		return u.Hint
	}
	if e, ok := errors.AsType[*authority.Error](err); ok {
		return e.Hint
	}
	return ""
}

// flagError turns cobra's complaint about a flag into a UsageError that says
// which one was probably meant.
func flagError(c *cobra.Command, err error) error {
	hint := "see: " + c.CommandPath() + " --help"
	if name, ok := strings.CutPrefix(err.Error(), "unknown flag: --"); ok {
		if near := config.Nearest(name, flagNames(c)); near != "" {
			hint = fmt.Sprintf("did you mean --%s?", near)
		}
	}
	return &UsageError{err, hint}
}

func unknownCommand(parent *cobra.Command, name string) error {
	hint := parent.CommandPath() + " help lists the commands"
	if near := config.Nearest(name, commandNames(parent)); near != "" {
		hint = fmt.Sprintf("did you mean %q?", parent.CommandPath()+" "+near)
	}
	return usage(hint, "%q is not a command of %s", name, parent.CommandPath())
}
