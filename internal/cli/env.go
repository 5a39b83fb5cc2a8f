// Package cli holds the commands, one file each, and is the only place that
// wires the rooms together. A command parses, calls one service and shows the
// result; it sees the world through an Env.
package cli

import (
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/postern-project/postern/internal/confine"
)

// An Env is the world as a command sees it, so that a test can be the world.
type Env struct {
	Args           []string // without the program's name
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	Now            func() time.Time
	// StdoutTerminal says that a person reads Stdout: secrets may be shown
	// there, and colours mean something. StderrTerminal likewise.
	StdoutTerminal, StderrTerminal bool
	// StderrWidth is how many columns the terminal of Stderr has; 0 for
	// unknown.
	StderrWidth int
	// ReadPassword asks a person for a secret without showing what they type.
	// It is nil when nobody can be asked.
	ReadPassword func(prompt string) (string, error)
	// Confine keeps the whole process to some files, for good. It is nil where
	// the process is not the command's own.
	Confine func(confine.Reach) error
	// Separate lets a server run its gateway in a process of its own. Without
	// it both are parts of this process.
	Separate bool
}

// OSEnv returns the real world.
func OSEnv() Env {
	e := Env{
		Args:           os.Args[1:],
		Stdin:          os.Stdin,
		Stdout:         os.Stdout,
		Stderr:         os.Stderr,
		Getenv:         os.Getenv,
		Now:            time.Now,
		Confine:        confine.ToFiles,
		Separate:       true,
		StdoutTerminal: term.IsTerminal(int(os.Stdout.Fd())),
		StderrTerminal: term.IsTerminal(int(os.Stderr.Fd())),
	}
	if width, _, err := term.GetSize(int(os.Stderr.Fd())); err == nil {
		e.StderrWidth = width
	}
	if term.IsTerminal(int(os.Stdin.Fd())) {
		e.ReadPassword = readPassword
	}
	return e
}

func readPassword(prompt string) (string, error) {
	io.WriteString(os.Stderr, prompt)
	b, err := term.ReadPassword(int(os.Stdin.Fd()))
	io.WriteString(os.Stderr, "\n")
	return string(b), err
}

// colour reports whether colours may be written to standard output.
func (e Env) colour() bool {
	return e.StdoutTerminal && e.Getenv("NO_COLOR") == "" && e.Getenv("TERM") != "dumb"
}
