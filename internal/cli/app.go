package cli

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/config"
	"github.com/postern-project/postern/internal/telemetry"
)

// usualWidth is how many columns a terminal has that does not say.
const usualWidth = 80

// Where things are when no flag says otherwise.
const (
	defaultData   = "postern-data"
	defaultConfig = "postern.yaml"
)

// An app is one run of the program: the world and the flags that every
// command shares.
type app struct {
	Env
	dataFlag, configFlag string
	json                 bool
}

// data returns the data folder.
func (a *app) data() string { return cmp.Or(a.dataFlag, defaultData) }

// log returns a logger for people, on standard error.
func (a *app) log(level slog.Level) *slog.Logger {
	return telemetry.Logger(a.Stderr, telemetry.Text, level)
}

// config reads the configuration; without a file, and without a flag that
// names one, it is the default one. Warnings are left to the caller.
func (a *app) config() (config.Config, []config.Warning, error) {
	text, err := a.configText()
	if err != nil {
		return config.Config{}, nil, err
	}
	return parseConfig(text)
}

// configText reads the configuration's text.
func (a *app) configText() (api.Text, error) {
	path := cmp.Or(a.configFlag, defaultConfig)
	data, err := config.Read(path)
	switch {
	case err == nil:
		return api.Text{Path: path, Data: data}, nil
	case !errors.Is(err, fs.ErrNotExist):
		return api.Text{}, err
	case a.configFlag != "":
		return api.Text{}, withHint(fmt.Errorf("no configuration at %s", a.configFlag), "--config names the file; without it postern.yaml in this folder is read if there is one")
	}
	return api.Text{}, nil
}

func parseConfig(text api.Text) (config.Config, []config.Warning, error) {
	if text.Path == "" {
		c := config.Default()
		return c, c.Warnings(), nil
	}
	return config.Parse(text.Path, text.Data)
}

// show prints a result: as JSON when asked to, else as people writes it.
func (a *app) show(value any, people func(w io.Writer)) error {
	if !a.json {
		people(a.Stdout)
		return nil
	}
	e := json.NewEncoder(escaper{a.Stdout})
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(value)
}

// note tells people something that is no result.
func (a *app) note(format string, args ...any) {
	fmt.Fprintf(a.Stderr, format+"\n", cleaned(args)...)
}

// tell writes text to standard error behind a label; on a terminal in lines
// that fit it, the text in a column of its own.
func (a *app) tell(label, text string) {
	lines := []string{clean(text)}
	if a.StderrTerminal {
		lines = wrap(lines[0], max(cmp.Or(a.StderrWidth, usualWidth), 2*len(label))-len(label))
	}
	for _, line := range lines {
		fmt.Fprintln(a.Stderr, label+line)
		label = strings.Repeat(" ", len(label))
	}
}

// lines breaks text for a person's terminal; a pipe gets it in one piece.
func (a *app) lines(text string, columns int) []string {
	if !a.StdoutTerminal {
		return []string{text}
	}
	return wrap(text, columns)
}

// here returns path as somebody in this folder would type it.
func here(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	base, err := filepath.Abs(".")
	if err != nil {
		return path
	}
	rel, err := filepath.Rel(base, abs)
	if err != nil || len(rel) > len(abs) || rel == ".." || len(rel) > 2 && rel[:3] == "../" {
		return abs
	}
	return rel
}
