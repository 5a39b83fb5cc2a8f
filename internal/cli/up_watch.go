package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/fsnotify/fsnotify"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/config"
)

// settle is how long the file has to rest after a change before it is read:
// editors write in several steps.
const settle = 100 * time.Millisecond

// watch reads the configuration again when the file changes and on SIGHUP.
func (o *office) watch(ctx context.Context) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	changed, stop, err := watchFile(o.inUse.Load().conf.File)
	if err != nil {
		o.log.Warn("configuration not watched", "err", err)
	}
	defer stop()
	due := time.NewTimer(0)
	<-due.C
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hup:
			o.reload(ctx)
		case <-changed:
			due.Reset(settle)
		case <-due.C:
			o.reload(ctx)
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

// reload reads the file again and puts it in force in both processes; when it
// is wrong the old one stays and the log and 'status' say why.
func (o *office) reload(ctx context.Context) {
	o.notify(daemon.SdNotifyReloading)
	defer o.notify(daemon.SdNotifyReady)
	next, warnings, err := o.read()
	if err == nil {
		err = o.tryOn(ctx, next)
	} else {
		o.gate.Reload(ctx, api.Text{Wrong: messageOf(err)}) // which counts it
	}
	if err != nil {
		err = o.box.explain(err)
		why := messageOf(err)
		o.wrong.Store(&why)
		o.log.Error("configuration refused, the old one stays in force", "file", cmp.Or(next.conf.File, o.inUse.Load().conf.File), "err", err)
		return
	}
	o.wrong.Store(nil)
	for _, w := range warnings {
		o.log.Warn("configuration warning", "warning", w.String())
	}
	o.log.Info("configuration in force", "file", next.conf.File, "sites", len(next.conf.Sites))
}

func (o *office) read() (declared, []config.Warning, error) {
	text, err := o.app.configText()
	if err != nil {
		return declared{}, nil, err
	}
	conf, warnings, err := upConfig(text, o.flags)
	if err == nil {
		err = apartFrom(o.house.Dir, conf)
	}
	if err == nil {
		err = o.fits(conf)
	}
	if err == nil {
		err = o.box.beyond(conf, "")
	}
	return declared{text, conf}, warnings, err
}

// fits refuses a configuration that is not for this ledger.
func (o *office) fits(conf config.Config) error {
	if d := conf.TrustDomain; !zero(d) && d != o.house.Roster.TrustDomain() {
		return withHint(fmt.Errorf("the trust domain is to be %s, and the ledger was begun for %s", d, o.house.Roster.TrustDomain()),
			"it is fixed by the first start: correct trust_domain or --trust-domain, or use another --data folder")
	}
	return conf.CheckGroups(o.house.Roster.HasGroup, o.app.groupCommand)
}

// tryOn has the gateway serve another configuration, and puts in force what it
// says of certificates once the gateway does.
func (o *office) tryOn(ctx context.Context, next declared) error {
	o.trial.Store(&next)
	defer o.trial.Store(nil)
	if err := o.gate.Reload(ctx, next.text); err != nil {
		if errors.Is(err, api.ErrNoAnswer) { // it may serve what was to end
			o.follows(err)
		}
		return err
	}
	o.enforce(ctx, next)
	return nil
}
