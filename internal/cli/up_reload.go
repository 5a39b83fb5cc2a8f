package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/fsnotify/fsnotify"

	"github.com/postern-project/postern/internal/config"
)

// settle is how long the file has to rest after a change before it is read:
// editors write in several steps.
const settle = 100 * time.Millisecond

// enforce puts conf in force. On an error the one before stays.
func (s *server) enforce(ctx context.Context, conf config.Config) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := conf.TrustDomain; !zero(d) && d != s.house.Roster.TrustDomain() {
		return withHint(fmt.Errorf("the trust domain is to be %s, and the ledger was begun for %s", d, s.house.Roster.TrustDomain()),
			"it is fixed by the first start: correct trust_domain or --trust-domain, or use another --data folder")
	}
	if err := conf.CheckGroups(s.house.Roster.HasGroup, s.app.groupCommand); err != nil {
		return err
	}
	if err := s.acme.Configure(ctx, acmeProfiles(conf)); err != nil {
		return err
	}
	oldDoors, old := s.doors.Load(), s.sites.Load()
	nextDoors, err := oldDoors.reopen(conf)
	if err != nil {
		return err
	}
	next, err := s.newSites(ctx, conf, old)
	if err != nil {
		nextDoors.closeUnless(oldDoors)
		return err
	}
	s.sites.Store(next)
	if err := s.gateway.Configure(s.gatewayConfig(conf, next, nextDoors)); err != nil {
		s.sites.Store(old)
		next.dropUnless(old)
		nextDoors.closeUnless(oldDoors)
		return err
	}
	s.house.Authority.Enforce(policyOf(conf))
	s.respond(ctx, conf)
	s.inUse.Store(&conf)
	s.level.Set(conf.Log.Level)
	s.move(oldDoors, nextDoors)
	old.dropUnless(next)
	select {
	case s.refilled <- struct{}{}:
	default:
	}
	return nil
}

// move takes connections at the doors of next and no more at those that only
// old has. s.mu is held.
func (s *server) move(old, next *doors) {
	s.doors.Store(next)
	known := old.all()
	for _, one := range next.all() {
		if s.open && !slices.Contains(known, one) {
			s.serve(one)
		}
	}
	old.closeUnless(next)
}

// watch reads the configuration again when the file changes and on SIGHUP.
func (s *server) watch(ctx context.Context) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	changed, stop, err := watchFile(s.inUse.Load().File)
	if err != nil {
		s.log.Warn("configuration not watched", "err", err)
	}
	defer stop()
	due := time.NewTimer(0)
	<-due.C
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hup:
			s.reload(ctx)
		case <-changed:
			due.Reset(settle)
		case <-due.C:
			s.reload(ctx)
		}
	}
}

// watchFile tells of changes of one file. It watches the folder, since most
// programs replace a file rather than write into it. Without a file it never
// tells anything.
func watchFile(path string) (changed <-chan struct{}, stop func(), err error) {
	if path == "" {
		return nil, func() {}, nil
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, func() {}, err
	}
	if err := w.Add(filepath.Dir(path)); err != nil {
		w.Close()
		return nil, func() {}, err
	}
	out := make(chan struct{}, 1)
	go func() {
		for e := range w.Events {
			if filepath.Base(e.Name) != filepath.Base(path) {
				continue
			}
			select {
			case out <- struct{}{}:
			default:
			}
		}
	}()
	return out, func() { w.Close() }, nil
}

// reload reads the file again and puts it in force; when it is wrong the old
// one stays and the log and 'status' say why.
func (s *server) reload(ctx context.Context) {
	s.notify(daemon.SdNotifyReloading)
	defer s.notify(daemon.SdNotifyReady)
	conf, warnings, err := s.app.upConfig(s.flags)
	if err == nil {
		err = s.mendable(conf)
	}
	if err == nil {
		err = s.enforce(ctx, conf)
	}
	if err != nil {
		err = s.box.explain(err)
		why := messageOf(err)
		s.wrong.Store(&why)
		s.reloads.WithLabelValues("refused").Inc()
		s.log.Error("configuration refused, the old one stays in force", "file", cmp.Or(conf.File, s.inUse.Load().File), "err", err)
		return
	}
	s.wrong.Store(nil)
	s.reloads.WithLabelValues("in-force").Inc()
	for _, w := range warnings {
		s.log.Warn("configuration warning", "warning", w.String())
	}
	s.log.Info("configuration in force", "file", conf.File, "sites", len(conf.Sites))
}

// mendable refuses a change that only a restart can put in force, and names it.
func (s *server) mendable(next config.Config) error {
	if next.Log.Format != s.inUse.Load().Log.Format {
		return errors.New("the log's format changed: restart postern to use it")
	}
	return s.box.beyond(next)
}
