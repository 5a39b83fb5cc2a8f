package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/config"
	"github.com/postern-project/postern/internal/confine"
	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/telemetry"
)

// lockWait is how long 'up' waits for whoever holds the data folder.
const lockWait = 5 * time.Second

// upFlags are what 'up' adds to the configuration file.
type upFlags struct {
	listen, sites []string
	domain        string
	unconfined    bool // --no-sandbox
}

func newUp(a *app) *cobra.Command {
	var flags upFlags
	c := &cobra.Command{
		Use:   "up",
		Short: "Open the door: serve sites to those who are enrolled",
		Long: `Serve the sites of postern.yaml and of --site to those on their lists. The
first start makes the authority and prints the invitation for the first
device. A site from --site lets in everybody who is enrolled.

SIGHUP, or a change of the file, reads postern.yaml again. SIGUSR2 lets the
program at the same path take over without a refused connection.`,
		Example: `  postern up --site localhost=./examples/passwords
  postern up --site app.example.com=http://127.0.0.1:3000 --listen :443
  postern up --config /etc/postern/postern.yaml --data /var/lib/postern`,
		Args: arguments(0, 0, "", ""),
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return a.up(ctx, flags)
		},
	}
	c.Flags().StringArrayVar(&flags.sites, "site", nil, "serve `HOST=DIR|URL`; may be repeated")
	c.Flags().StringVar(&flags.domain, "trust-domain", "", trustDomainUsage)
	c.Flags().StringArrayVar(&flags.listen, "listen", nil, "the `ADDRESS` of the sites (default :8443); the public side takes the next port; may be repeated")
	c.Flags().BoolVar(&flags.unconfined, "no-sandbox", false, "do not keep the process to the files of its configuration (Linux)")
	return c
}

// upConfig returns what is to be served: what the file says, with the flags
// added.
func upConfig(text api.Text, flags upFlags) (config.Config, []config.Warning, error) {
	c, _, err := parseConfig(text)
	if err != nil {
		return config.Config{}, nil, err
	}
	if c, err = c.WithTrustDomain(flags.domain); err != nil {
		return config.Config{}, nil, &UsageError{err, ""}
	}
	if c, err = c.WithListen(flags.listen); err != nil {
		return config.Config{}, nil, &UsageError{err, ""}
	}
	for _, site := range flags.sites {
		if c, err = c.WithSite(site); err != nil {
			return config.Config{}, nil, &UsageError{err, ""}
		}
	}
	if len(c.Sites) == 0 {
		return config.Config{}, nil, usage("add one: postern up --site localhost=FOLDER, or --site HOST=http://127.0.0.1:PORT, or under 'sites:' in postern.yaml", "there is no site to serve")
	}
	return c, c.Warnings(), nil
}

// up runs until ctx ends.
func (a *app) up(ctx context.Context, flags upFlags) (err error) {
	if a.isGate() {
		return a.runGate(flags)
	}
	text, err := a.configText()
	if err != nil {
		return err
	}
	conf, warnings, err := upConfig(text, flags)
	if err != nil {
		return err
	}
	if err := apartFrom(a.data(), conf); err != nil {
		return err
	}
	a.warn(warnings)
	level := new(slog.LevelVar)
	level.Set(conf.Log.Level)
	log := telemetry.Logger(a.Stderr, conf.Log.Format, level)
	a.useMemory(memoryOfAuthority)
	if err := confine.Memory(); err != nil {
		log.Warn("other processes of this user, or a core file, may come to hold keys", "err", err)
	}
	inherited, before, err := a.inherit()
	if err != nil {
		return err
	}
	if err := before.tell(wordPrepared); err != nil {
		return fmt.Errorf("tell the process before this one: %w", err)
	}
	t := tenure{flags, text, conf, log, level, inherited, before, &sandbox{}}
	for {
		err := a.occupy(ctx, t)
		next, ok := errors.AsType[*succession](err)
		if !ok {
			return err
		}
		if next.settle(log) {
			log.Info("handed over", "process", next.cmd.Process.Pid)
			_, err := daemon.SdNotify(false, fmt.Sprintf("MAINPID=%d\n%s", next.cmd.Process.Pid, daemon.SdNotifyReady))
			return err
		}
		t.text, t.conf, t.parent = next.text, next.conf, nil
		if t.doors, err = adoptAll(next.files, next.notes); err != nil {
			return err
		}
		next.abandon()
	}
}

// A tenure is one time of having the data folder.
type tenure struct {
	flags  upFlags
	text   api.Text
	conf   config.Config // what text and flags come to
	log    *slog.Logger
	level  *slog.LevelVar
	doors  *doors  // those that there are before the configuration is looked at
	parent *parent // nil unless this process follows another
	box    *sandbox
}

// occupy takes the data folder and serves until ctx ends, or until another
// process is to follow, which it returns as a *succession.
func (a *app) occupy(ctx context.Context, t tenure) (err error) {
	wait := lockWait
	if t.parent != nil {
		wait = readyWithin // the process before this one lets its requests finish
	}
	lock, err := api.Hold(ctx, a.data(), wait)
	if err != nil {
		t.doors.close()
		return err
	}
	defer func() { leave(lock, err) }()
	opened, err := t.doors.reopen(t.conf)
	if err != nil {
		t.doors.close()
		return err
	}
	t.doors.closeUnless(opened)
	t.doors = opened
	defer opened.close()
	if err := a.foundIfNew(ctx, t.conf); err != nil {
		return err
	}
	gate, err := a.startGate(t.flags, t.doors) // it loads while the ledger is read
	if err != nil {
		return err
	}
	t.doors.close() // the gateway has copies
	house, err := OpenHouse(ctx, lock, HouseOptions{Log: t.log, Now: a.Now, Policy: policyOf(t.conf)})
	if err != nil {
		gate.drop()
		return err
	}
	defer house.Close()
	o, err := a.newOffice(ctx, house, gate, t)
	if err != nil {
		return err
	}
	return o.run()
}

// leave lets the data folder go; of one that 'up' made for nothing it leaves no
// trace.
func leave(lock *api.Lock, err error) {
	if err != nil {
		lock.Abandon()
		return
	}
	lock.Close()
}

// foundIfNew makes the authority on the first start, when the configuration is
// one that it can serve: there is no group yet.
func (a *app) foundIfNew(ctx context.Context, conf config.Config) error {
	there, err := authority.Initialised(a.data())
	if err != nil || there {
		return err
	}
	none := func(identity.Group) bool { return false }
	if err := conf.CheckGroups(none, func(g identity.Group) string {
		return "postern init" + a.sameData() + " && " + a.groupCommand(g)
	}); err != nil {
		return err
	}
	made, err := a.found(ctx, conf)
	if err != nil {
		return err
	}
	return a.showFounded(made)
}
