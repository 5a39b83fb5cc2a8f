package cli

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

var update = flag.Bool("update", false, "write the golden files")

// A world is what a command sees in a test, and what it said.
type world struct {
	out, err bytes.Buffer
	terminal bool
	env      map[string]string
}

// run runs a command in the world and returns its exit code.
func (w *world) run(t *testing.T, args ...string) int {
	t.Helper()
	w.out.Reset()
	w.err.Reset()
	return Main(t.Context(), Env{
		Args: args, Stdin: strings.NewReader(""), Stdout: &w.out, Stderr: &w.err, Now: time.Now,
		Getenv: func(key string) string { return w.env[key] }, StdoutTerminal: w.terminal, StderrTerminal: w.terminal,
	})
}

// do is run for what has to succeed.
func (w *world) do(t *testing.T, args ...string) string {
	t.Helper()
	if code := w.run(t, args...); code != 0 {
		t.Fatalf("postern %s: exit code %d\n%s%s", strings.Join(args, " "), code, w.out.String(), w.err.String())
	}
	return w.out.String()
}

// made is an authority that all tests copy.
var made = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "postern-cli")
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	a := app{Env: Env{Stdout: &out, Stderr: &out, Now: time.Now, Getenv: func(string) string { return "" }, StdoutTerminal: true}, dataFlag: filepath.Join(dir, "data")}
	return dir, a.init(context.Background(), initFlags{})
})

// TestMain is also each of the two processes of a server whose gateway somebody
// else's code runs in: see drill.
func TestMain(m *testing.M) {
	if os.Getenv(drillVariable) != "" {
		os.Exit(runDrill())
	}
	code := m.Run()
	if dir, err := made(); err == nil {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// inFolder puts the test into an empty folder, with an authority when asked.
func inFolder(t *testing.T, authority bool) {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("POSTERN_STATE_DIR", filepath.Join(dir, ".state"))
	if !authority {
		return
	}
	from, err := made()
	if err != nil {
		t.Fatal(err)
	}
	copyFolder(t, filepath.Join(from, "data"), defaultData)
}

// copyFolder copies files with their modes.
func copyFolder(t testing.TB, from, to string) {
	t.Helper()
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() {
			copyFolder(t, filepath.Join(from, e.Name()), filepath.Join(to, e.Name()))
			continue
		}
		data, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, e.Name()), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// all returns every command below c, and c.
func all(c *cobra.Command) []*cobra.Command {
	list := []*cobra.Command{c}
	for _, sub := range c.Commands() {
		list = append(list, all(sub)...)
	}
	return list
}

func TestHelpReadsAsItShould(t *testing.T) {
	var w world
	got := w.do(t, "help")
	golden := filepath.Join("testdata", "help.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("go test ./internal/cli -update writes it anew\n%s", diff)
	}
}

func TestEveryHelpFits80Columns(t *testing.T) {
	root := newRoot(&app{Env: Env{Stdout: new(bytes.Buffer), Stderr: new(bytes.Buffer)}})
	for _, c := range all(root) {
		path := strings.Fields(c.CommandPath())[1:]
		if len(path) > 0 && path[0] == "completion" && len(path) > 1 {
			continue // cobra's own words
		}
		var w world
		text := w.do(t, append([]string{"help"}, path...)...)
		for line := range strings.Lines(text) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 80 {
				t.Errorf("%s: %d columns: %s", c.CommandPath(), n, line)
			}
			if strings.TrimRight(line, " \n") != strings.TrimRight(line, "\n") {
				t.Errorf("%s: spaces at the end of %q", c.CommandPath(), line)
			}
		}
		if c.Short == "" || strings.HasSuffix(c.Short, ".") || len(c.Short) > 60 {
			t.Errorf("%s: short help %q", c.CommandPath(), c.Short)
		}
	}
}

func TestExitCodes(t *testing.T) {
	inFolder(t, true)
	for name, c := range map[string]struct {
		args []string
		want int
		hint string
	}{
		"done":                    {[]string{"list"}, exitDone, ""},
		"refused":                 {[]string{"revoke", "nobody"}, exitFailed, "postern list identities"},
		"no such command":         {[]string{"lst"}, exitUsage, `did you mean "postern list"?`},
		"no such flag":            {[]string{"list", "--jsn"}, exitUsage, "did you mean --json?"},
		"a flag without its word": {[]string{"list", "--name"}, exitUsage, "postern list --help"},
		"a bad name":              {[]string{"invite", "a//b"}, exitUsage, nameHint},
		"nothing to do":           {[]string{"restore"}, exitUsage, "--accept-loss"},
	} {
		t.Run(name, func(t *testing.T) {
			var w world
			if got := w.run(t, c.args...); got != c.want {
				t.Errorf("exit code %d, want %d: %s", got, c.want, w.err.String())
			}
			if c.hint != "" && !strings.Contains(w.err.String(), "hint: ") || !strings.Contains(w.err.String(), c.hint) {
				t.Errorf("no %q in\n%s", c.hint, w.err.String())
			}
			if c.want != exitDone && w.out.Len() > 0 {
				t.Errorf("an error on standard output: %s", w.out.String())
			}
		})
	}
}

func TestEmptyListsAreArrays(t *testing.T) {
	inFolder(t, true)
	for _, kind := range []string{"identities", "certificates", "invites", "groups", "refusals"} {
		var w world
		if got := w.do(t, "list", kind, "--json"); got != "[]\n" {
			t.Errorf("%s: %q", kind, got)
		}
	}
}
