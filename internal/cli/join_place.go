package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/postern-project/postern/internal/join"
	"github.com/postern-project/postern/internal/trust"
)

// placing is what 'join' does with a folder, or not, besides enrolling.
type placing struct{ no, install, uninstall, lines bool }

func (p placing) chosen() bool { return p.install || p.uninstall || p.lines }

// count returns how many were given.
func (p placing) count() (n int) {
	for _, given := range []bool{p.no, p.install, p.uninstall, p.lines} {
		if given {
			n++
		}
	}
	return n
}

// placed does what was chosen with the identity in dir.
func (a *app) placed(ctx context.Context, dir string, as placing) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	state, err := join.ReadState(dir)
	if err != nil {
		return err
	}
	switch {
	case as.lines:
		return a.showLines(dir, state)
	case as.uninstall:
		return a.uninstall(ctx, dir, state)
	}
	p := a.place(ctx, dir)
	return a.show(p, func(w io.Writer) {
		for _, note := range p.Notes {
			a.tell("note: ", note)
		}
		sayPlaced(w, p)
	})
}

// place puts the identity in dir into browsers and has it renewed.
func (a *app) place(ctx context.Context, dir string) join.Placement {
	m := a.machine()
	if m.Home == "" {
		return join.Placement{Notes: []string{"this user has no home folder, so there are no browsers to put it into"}}
	}
	p, err := m.Install(ctx, dir)
	if err != nil {
		p.Notes = append(p.Notes, "not put into browsers: "+err.Error())
	}
	s, err := a.schedule(dir)
	if err == nil {
		err = s.Start(ctx)
	}
	if err != nil {
		p.Notes = append(p.Notes, err.Error())
	}
	return p
}

// machine is this user's account on this computer.
func (a *app) machine() join.Machine {
	home := a.Getenv("HOME")
	if home == "" && runtime.GOOS == "windows" {
		home = a.Getenv("USERPROFILE")
	}
	return join.Machine{System: runtime.GOOS, Home: home}
}

// schedule is what renews the identity in dir on this machine.
func (a *app) schedule(dir string) (join.Schedule, error) {
	program, err := os.Executable()
	if err != nil {
		return join.Schedule{}, err
	}
	return join.Schedule{System: runtime.GOOS, Home: a.machine().Home, Config: a.Getenv("XDG_CONFIG_HOME"), Program: program, Dir: dir}, nil
}

func sayPlaced(w io.Writer, p join.Placement) {
	for _, b := range p.Browsers {
		say(w, "It is in %s: open it anew.", b.Browser)
	}
}

// uninstall takes the identity off this machine.
func (a *app) uninstall(ctx context.Context, dir string, state join.State) error {
	p, err := a.machine().Uninstall(ctx, dir)
	for _, note := range p.Notes {
		a.tell("note: ", note)
	}
	s, serr := a.schedule(dir)
	if serr == nil && err == nil {
		serr = s.Stop(ctx)
	}
	if err = errors.Join(err, serr); err != nil {
		return err
	}
	return a.show(struct {
		Removed  string           `json:"removed"`
		Browsers []trust.Database `json:"browsers"`
	}{state.Name, present(p.Browsers)}, func(w io.Writer) {
		say(w, "%s is not on this machine any more.", state.Name)
		say(w, "Its certificate is good until 'postern revoke %s' on the server.", state.Name)
	})
}

// showLines shows what other programs need.
func (a *app) showLines(dir string, state join.State) error {
	site := "https://SITE/"
	if sites := join.SitesOf(state); len(sites) > 0 {
		site = sites[0]
	}
	lines, err := join.Lines(dir, site)
	if err != nil {
		return err
	}
	return a.show(lines, func(w io.Writer) {
		for i, l := range lines {
			if i > 0 {
				fmt.Fprintln(w)
			}
			say(w, "# %s\n%s", l.For, l.Text)
		}
	})
}
