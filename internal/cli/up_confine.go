package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/postern-project/postern/internal/config"
	"github.com/postern-project/postern/internal/confine"
	"github.com/postern-project/postern/internal/follow"
)

// A sandbox is what this process was kept to; it is as lasting as the process.
// Nil is none.
type sandbox struct {
	reach confine.Reach // zero unless held
	held  bool
	// socket is one that was made before, wherever it lies.
	socket string
	why    string // why it is not held though it was meant to be; "" otherwise
}

// The parts of the system that a server reads: the resolver's files, roots,
// time zones, types of files, what the kernel says of the process, and the
// libraries of a program that was built with cgo. They are named as folders,
// since files in them are replaced.
var (
	systemReads = []string{
		"/etc", "/usr/share", "/usr/local/share", "/run/systemd/resolve", "/proc", "/sys/fs/cgroup",
		"/sys/kernel/mm/transparent_hugepage", "/dev/urandom",
	}
	systemRuns = []string{"/lib", "/lib64", "/usr/lib", "/usr/lib64"}
)

// keep keeps the process to what it needs, before anybody outside is listened
// to.
func (b *sandbox) keep(a *app, flags upFlags, log *slog.Logger, reach func() (confine.Reach, error)) error {
	if a.Confine == nil || flags.unconfined || b.held {
		return nil
	}
	r, err := reach()
	if err != nil {
		return err
	}
	switch err := a.Confine(r); {
	case errors.Is(err, confine.ErrUnsupported):
		b.why = err.Error()
		log.Info("not confined to its files", "why", err)
	case err != nil:
		return withHint(fmt.Errorf("keep this process to its files: %w", err), "'postern up --no-sandbox' does without")
	default:
		b.reach, b.held = r, true
		log.Debug("kept to its files")
	}
	return nil
}

// confine keeps the authority's process to the files of the configuration. What
// it starts at an upgrade is kept to as much, a gateway included, so what that
// reads is in it.
func (o *office) confine(socket net.Listener) error {
	return o.box.keep(o.app, o.flags, o.log, func() (confine.Reach, error) {
		state, err := follow.StateDir()
		if err != nil {
			return confine.Reach{}, err
		}
		program, err := os.Executable()
		if err != nil {
			return confine.Reach{}, err
		}
		conf := o.inUse.Load().conf
		return confine.Reach{
			Read:  slices.Concat(systemReads, o.app.trustFiles(), filesOf(conf, "")),
			Write: slices.Concat([]string{o.house.Dir, state, filepath.Dir(socket.Addr().String()), "/dev/tpmrm0", "/dev/tpm0", conf.IssuerTPM}, written(conf)),
			Run:   append(systemRuns, filepath.Dir(program)), // SIGUSR2 starts what is there then
		}, nil
	})
}

// confine keeps the gateway's process to what it shows and to its own part of
// the data folder. The keys of the authority are out of its reach.
func (s *server) confine(conf config.Config) error {
	err := s.box.keep(s.app, s.flags, s.log, func() (confine.Reach, error) {
		r := confine.Reach{
			Read:  slices.Concat(systemReads, s.app.trustFiles(), filesOf(conf, s.house.Dir), []string{filepath.Join(s.house.Dir, downloadsFolder)}),
			Write: written(conf),
			Run:   systemRuns,
		}
		for _, all := range []*[]string{&r.Read, &r.Write} { // nothing reaches the rest of the data folder, wherever it lies
			*all = slices.DeleteFunc(*all, func(folder string) bool { return folder != "" && holds(folder, s.house.Dir) })
		}
		for _, name := range gatesFolders {
			r.Write = append(r.Write, filepath.Join(s.house.Dir, name))
		}
		s.box.socket = conf.ForwardAuth.Socket
		return r, nil
	})
	if s.box.held {
		confine.Ask(func(path string) (io.ReadCloser, error) {
			data, err := s.house.Authority.ReadFile(s.alive, path)
			return io.NopCloser(bytes.NewReader(data)), err
		})
	}
	return err
}

// trustFiles are what the system's resolver and roots are read from besides.
func (a *app) trustFiles() (all []string) {
	for _, variable := range []string{"SSL_CERT_FILE", "SSL_CERT_DIR"} {
		for path := range strings.SplitSeq(a.Getenv(variable), ":") {
			if path != "" {
				all = append(all, path)
			}
		}
	}
	if target, err := filepath.EvalSymlinks("/etc/resolv.conf"); err == nil {
		all = append(all, filepath.Dir(target))
	}
	return all
}

// written returns what a configuration has a gateway write.
func written(c config.Config) []string {
	all := []string{"/dev/null"}
	if c.ForwardAuth.Socket != "" {
		all = append(all, filepath.Dir(c.ForwardAuth.Socket))
	}
	return all
}

// filesOf returns what a configuration has a server read. A program that
// replaces a file puts a new one in its place, so its folder has to be named;
// and a site that is a symbolic link is moved by another link, so what lies
// beside its folder is named as well. But no folder is named in which apart
// lies, if that is not "": files in it somebody else has to read.
func filesOf(c config.Config, apart string) []string {
	var all []string
	beside := func(path string) {
		if folder := filepath.Dir(path); apart == "" || !holds(folder, apart) {
			all = append(all, folder)
		}
	}
	files := c.Reads
	if c.File != "" && apart == "" { // a gateway is given its text
		files = append(slices.Clone(files), c.File)
	}
	for _, file := range files {
		beside(file)
		if target, err := filepath.EvalSymlinks(file); err == nil {
			beside(target)
		}
	}
	for _, site := range c.Sites {
		if site.Static == "" {
			continue
		}
		all = append(all, site.Static)
		if info, err := os.Lstat(site.Static); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			if target, err := filepath.EvalSymlinks(site.Static); err == nil {
				all = append(all, target)
				beside(target)
			}
		}
	}
	for i, path := range all {
		if abs, err := filepath.Abs(path); err == nil {
			all[i] = abs
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// apartFrom refuses a site that would serve the data folder.
func apartFrom(data string, c config.Config) error {
	for _, site := range c.Sites {
		if site.Static != "" && holds(site.Static, data) {
			return withHint(fmt.Errorf("site %s would serve the data folder %s, with every key in it", site.Host, here(data)),
				"give the site a folder of its own, or the data folder another place (--data)")
		}
	}
	return nil
}

// holds reports whether path lies in the folder, or is it, by whatever links.
func holds(folder, path string) bool {
	for _, p := range []*string{&folder, &path} {
		if abs, err := filepath.Abs(*p); err == nil {
			*p = abs
		}
	}
	return (confine.Reach{Read: []string{folder}}).Covers(path)
}

// beyond refuses a configuration that asks for files which this process gave
// up when it started, and names the first.
func (b *sandbox) beyond(next config.Config, apart string) error {
	if b == nil || !b.held {
		return nil
	}
	for _, path := range filesOf(next, apart) {
		if !b.reach.Covers(path) {
			return restartFor(path)
		}
	}
	if s := next.ForwardAuth.Socket; s != "" && s != b.socket && !(confine.Reach{Write: b.reach.Write}).Covers(filepath.Dir(s)) {
		return restartFor(filepath.Dir(s))
	}
	return nil
}

func restartFor(path string) error {
	return fmt.Errorf("%s is out of reach: this process was kept to the files of the configuration it started with; restart postern to use it", path)
}

// explain adds to an error of a new configuration what the sandbox may have to
// do with it.
func (b *sandbox) explain(err error) error {
	if err == nil || b == nil || !b.held || !strings.Contains(err.Error(), fs.ErrPermission.Error()) {
		return err
	}
	return fmt.Errorf("%w (this process was kept to the files of the configuration it started with: if they may be read otherwise, restart postern)", err)
}

// advice says that the sandbox is missing, when it was meant to be there.
func (b *sandbox) advice() []string {
	if b == nil || b.why == "" {
		return nil
	}
	return []string{"the server may read and write whatever its user may: " + b.why}
}
