package cli

import (
	"errors"
	"fmt"
	"io/fs"
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
	why   string // why it is not held though it was meant to be; "" otherwise
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

// confine keeps the process to the files of the configuration in use, before
// anybody outside is listened to.
func (s *server) confine(socket net.Listener) error {
	if s.app.Confine == nil || s.flags.unconfined || s.box.held {
		return nil
	}
	reach, err := s.reach(socket)
	if err != nil {
		return err
	}
	switch err := s.app.Confine(reach); {
	case errors.Is(err, confine.ErrUnsupported):
		s.box.why = err.Error()
		s.log.Info("not confined to its files", "why", err)
	case err != nil:
		return withHint(fmt.Errorf("keep this process to its files: %w", err), "'postern up --no-sandbox' does without")
	default:
		s.box.reach, s.box.held = reach, true
		s.log.Debug("kept to its files")
	}
	return nil
}

// reach returns what this server does with files.
func (s *server) reach(socket net.Listener) (confine.Reach, error) {
	state, err := follow.StateDir()
	if err != nil {
		return confine.Reach{}, err
	}
	program, err := os.Executable()
	if err != nil {
		return confine.Reach{}, err
	}
	conf := s.inUse.Load()
	r := confine.Reach{
		Read:  slices.Concat(systemReads, filesOf(*conf)),
		Write: []string{s.house.Dir, state, filepath.Dir(socket.Addr().String()), "/dev/null", "/dev/tpmrm0", "/dev/tpm0", conf.IssuerTPM},
		Run:   append(systemRuns, filepath.Dir(program)), // SIGUSR2 starts what is there then
	}
	for _, variable := range []string{"SSL_CERT_FILE", "SSL_CERT_DIR"} {
		for path := range strings.SplitSeq(s.app.Getenv(variable), ":") {
			if path != "" {
				r.Read = append(r.Read, path)
			}
		}
	}
	if target, err := filepath.EvalSymlinks("/etc/resolv.conf"); err == nil {
		r.Read = append(r.Read, filepath.Dir(target))
	}
	if conf.ForwardAuth.Socket != "" {
		r.Write = append(r.Write, filepath.Dir(conf.ForwardAuth.Socket))
	}
	return r, nil
}

// filesOf returns the folders that a configuration has the server read. A
// program that replaces a file puts a new one in its place, so its folder has
// to be named; and a site that is a symbolic link is moved by another link, so
// what lies beside its folder is named as well.
func filesOf(c config.Config) []string {
	var all []string
	files := c.Reads
	if c.File != "" {
		files = append(slices.Clone(files), c.File)
	}
	for _, file := range files {
		all = append(all, filepath.Dir(file))
		if target, err := filepath.EvalSymlinks(file); err == nil {
			all = append(all, filepath.Dir(target))
		}
	}
	for _, site := range c.Sites {
		if site.Static == "" {
			continue
		}
		all = append(all, site.Static)
		if info, err := os.Lstat(site.Static); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			if target, err := filepath.EvalSymlinks(site.Static); err == nil {
				all = append(all, filepath.Dir(target))
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

// beyond refuses a configuration that asks for files which this process gave
// up when it started, and names the first.
func (b *sandbox) beyond(next config.Config) error {
	if b == nil || !b.held {
		return nil
	}
	for _, path := range filesOf(next) {
		if !b.reach.Covers(path) {
			return restartFor(path)
		}
	}
	if s := next.ForwardAuth.Socket; s != "" && !(confine.Reach{Write: b.reach.Write}).Covers(filepath.Dir(s)) {
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
	if b == nil || !b.held || !strings.Contains(err.Error(), fs.ErrPermission.Error()) {
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
