package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/config"
	"github.com/postern-project/postern/internal/enroll"
	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/refusal"
	"github.com/postern-project/postern/internal/roster"
)

// An office is the authority's side of one run of 'up': the house with its
// keys, the socket for commands, and the gateway, which is a process of its
// own and may ask only what a window says.
type office struct {
	app     *app
	house   *House
	flags   upFlags
	log     *slog.Logger
	level   *slog.LevelVar
	parent  *parent // nil unless this process follows another
	box     *sandbox
	started time.Time
	gate    *gate
	radar   *radar
	unawait func() // no switch of issuers waits for the gateway any more

	alive context.Context // ends when the office closes, with the cause
	end   context.CancelCauseFunc
	tasks sync.WaitGroup // everything that alive keeps running

	responders responders

	mu    sync.Mutex // held while responders change
	inUse atomic.Pointer[declared]
	trial atomic.Pointer[declared] // what the gateway is trying on; nil for nothing
	wrong atomic.Pointer[string]   // why the newest file is not in force
	ready atomic.Bool
}

// A declared configuration is what an operator wrote, and what it comes to with
// the flags.
type declared struct {
	text api.Text
	conf config.Config
}

// newOffice gives a gateway the roster; what it is to serve it learns in run.
// The gateway ends with the office, and with an error.
func (a *app) newOffice(ctx context.Context, house *House, g *gate, t tenure) (*office, error) {
	o := &office{app: a, house: house, gate: g, flags: t.flags, log: t.log, level: t.level, parent: t.parent, box: t.box, started: a.Now()}
	o.inUse.Store(&declared{t.text, t.conf})
	o.radar = &radar{due: house.Authority.Due, now: a.Now}
	o.alive, o.end = context.WithCancelCause(ctx)
	if err := o.prepare(ctx, t.conf); err != nil {
		g.drop()
		return nil, err
	}
	return o, nil
}

func (o *office) prepare(ctx context.Context, conf config.Config) error {
	if err := o.fits(conf); err != nil {
		return err
	}
	if err := o.makeFolders(); err != nil {
		return err
	}
	if err := o.begin(ctx); err != nil {
		return o.gate.blame(err)
	}
	return nil
}

// The parts of the data folder that are the gateway's: the keys that it shows
// to others, its record of refusals, and what public authorities gave it.
var gatesFolders = []string{servedFolder, upstreamFolder, publicFolder, assertionsFolder, registrationFolder, refusalsFolder}

// makeFolders makes them, since the gateway can make nothing beside them.
func (o *office) makeFolders() error {
	for _, name := range gatesFolders {
		if err := os.MkdirAll(o.house.path(name), 0o700); err != nil {
			return err
		}
	}
	return settleRefusals(o.house.Dir)
}

// begin gives the gateway the roster, and has it follow every commit from then
// on. Nobody can commit anything before.
func (o *office) begin(ctx context.Context) error {
	moment, ok := o.house.Roster.Snapshot()
	if !ok {
		return errors.New("the roster is not complete")
	}
	read, write := io.Pipe()
	go func() { write.CloseWithError(moment.Write(write)) }()
	defer read.Close()
	if err := o.gate.Begin(ctx, read); err != nil {
		return fmt.Errorf("give the gateway its roster: %w", err)
	}
	tell := o.tell
	o.house.follower.Store(&tell)
	return nil
}

// tell has the gateway follow. One that does not is ended: it would let in who
// may come in no more.
func (o *office) tell(first uint64, entries []ledger.Entry) {
	c := api.Commit{First: first, Entries: make([][]byte, len(entries))}
	for i, e := range entries {
		c.Entries[i] = e.Marshal()
	}
	o.follows(o.gate.Apply(context.Background(), c))
}

// follows ends the gateway unless it could be told.
func (o *office) follows(err error) {
	if err != nil {
		o.end(fmt.Errorf("the gateway is ended: %w", err))
		o.gate.kill()
	}
}

// watchRoster ends what the gateway lets in when this roster turns out to be
// made of damaged entries.
func (o *office) watchRoster() (stop func()) {
	check := func() {
		if !o.house.Roster.Ready() {
			o.follows(o.gate.Condemn(o.alive))
		}
	}
	stop = o.house.Roster.Watch(func(c roster.Change) {
		if c.Trust {
			check()
		}
	})
	check()
	return stop
}

// run serves until the context it was made with ends or a part of it cannot go
// on, and then closes it.
func (o *office) run() error {
	defer o.log.Info("stopped")
	defer o.close()
	o.part("gateway", func(context.Context) error {
		<-o.gate.done
		if o.alive.Err() != nil {
			return nil
		}
		return o.gate.ended()
	})
	o.part("window", func(ctx context.Context) error {
		err := api.ServeWindow(ctx, o.gate.window, api.WindowHandler(window{o.house.Authority, o}, o.log), o.log)
		if errors.Is(err, io.EOF) || errors.Is(err, os.ErrClosed) {
			return nil // with the gateway's end, which is heard elsewhere
		}
		return err
	})
	socket, err := api.Listen(o.house.Lock, o.log)
	if err != nil {
		return err
	}
	defer socket.Close()
	if err := o.confine(socket); err != nil {
		return err
	}
	now := o.inUse.Load()
	if err := o.gate.Open(o.alive, api.Opening{Text: now.text, Follows: o.parent != nil}); err != nil {
		if o.alive.Err() != nil {
			return o.why()
		}
		return o.gate.blame(err)
	}
	defer o.watchRoster()()
	o.unawait = o.house.Authority.Await(o)
	o.mu.Lock()
	o.respond(o.alive, now.conf)
	o.mu.Unlock()
	o.part("commands", func(ctx context.Context) error {
		return api.Serve(ctx, socket, socket.Guard(api.Handler(o.house.Authority, o, o.log)), o.log)
	})
	o.part("configuration", o.watch)
	o.part("responders", o.followIssuers)
	o.part("upgrade", o.succeed)
	st, err := o.gate.Standing(o.alive)
	if err != nil {
		return err
	}
	o.ready.Store(true)
	if err := o.welcome(o.alive, st); err != nil {
		return err
	}
	o.notifyReady(st.Listen[0])
	if err := o.parent.tell(wordReady); err != nil {
		return fmt.Errorf("tell the process before this one: %w", err)
	}
	<-o.alive.Done()
	o.ready.Store(false)
	return o.why()
}

// why returns with what the office ends; nil when somebody stopped it.
func (o *office) why() error {
	why := context.Cause(o.alive)
	if _, ok := errors.AsType[*succession](why); !ok {
		o.notify(daemon.SdNotifyStopping)
	}
	if errors.Is(why, context.Canceled) { // it names the signal
		o.log.Info("stopping", "why", why.Error())
		return nil
	}
	return why
}

// part runs one part of the office; when it fails, the office ends.
func (o *office) part(name string, run func(context.Context) error) {
	o.tasks.Go(func() {
		if err := run(o.alive); err != nil {
			o.end(fmt.Errorf("%s: %w", name, err))
		}
	})
}

// close ends the gateway, which gives requests their grace, and every part, and
// waits for them.
func (o *office) close() error {
	_, handover := errors.AsType[*succession](context.Cause(o.alive))
	o.end(nil)
	o.gate.finish(handover)
	o.house.follower.Store(nil)
	o.tasks.Wait()
	if o.unawait != nil {
		o.unawait()
	}
	return nil
}

// enforce puts in force what a configuration says of certificates.
func (o *office) enforce(ctx context.Context, next declared) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.house.Authority.Enforce(policyOf(next.conf))
	o.inUse.Store(&next)
	o.respond(ctx, next.conf)
	o.level.Set(next.conf.Log.Level)
}

// A window is the office as the gateway reaches it. Certificates for the server
// itself are for what the configuration says, as this process has read it.
type window struct {
	*authority.Service
	office *office
}

// declares reports whether a configuration that is in force, or is being tried on,
// fulfils a condition.
func (w window) declares(is func(config.Config) bool) bool {
	for _, d := range []*declared{w.office.inUse.Load(), w.office.trial.Load()} {
		if d != nil && is(d.conf) {
			return true
		}
	}
	return false
}

// IssueServed certifies a key for a host that is served.
func (w window) IssueServed(ctx context.Context, q api.OwnRequest) (authority.Issued, error) {
	if !w.declares(func(c config.Config) bool { return slices.Contains(hosts(c), q.Host) }) {
		return authority.Issued{}, notDeclared(q.Host)
	}
	name, err := serverName(q.Host)
	if err != nil {
		return authority.Issued{}, err
	}
	r := authority.IssueRequest{Name: name, Profile: "server", Via: "self", PublicKey: q.PublicKey}
	if ip, err := netip.ParseAddr(q.Host); err == nil {
		r.IPs = []netip.Addr{ip}
	} else {
		r.DNSNames = []string{q.Host}
	}
	return w.Issue(ctx, r)
}

// IssueUpstream certifies a key by which a site's application knows the
// gateway.
func (w window) IssueUpstream(ctx context.Context, q api.OwnRequest) (authority.Issued, error) {
	if !w.declares(func(c config.Config) bool {
		site, ok := c.Site(q.Host)
		return ok && site.Upstream.Certificate.Own
	}) {
		return authority.Issued{}, notDeclared(q.Host)
	}
	base, err := serverName(q.Host)
	if err != nil {
		return authority.Issued{}, err
	}
	name, err := identity.ParseName(base.String() + "/upstream")
	if err != nil {
		return authority.Issued{}, err
	}
	return w.Issue(ctx, authority.IssueRequest{Name: name, Profile: "service", Via: "self", PublicKey: q.PublicKey})
}

// ReadFile returns a file that the configuration has a gateway read.
func (w window) ReadFile(_ context.Context, path string) ([]byte, error) {
	if !w.declares(func(c config.Config) bool { return slices.Contains(c.Reads, path) }) {
		return nil, &authority.Error{Code: authority.CodeForbidden, Msg: fmt.Sprintf("the configuration names no file %q", path)}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxGiven+1))
	if err == nil && len(data) > maxGiven {
		err = &authority.Error{Code: authority.CodeBadRequest, Msg: fmt.Sprintf("%s has more than %d bytes", path, maxGiven)}
	}
	return data, err
}

// RevocationList returns a list as it is published.
func (w window) RevocationList(ctx context.Context, q authority.ListRequest) (authority.RevocationList, error) {
	q.All = false // which may be as long as the ledger
	return w.Service.RevocationList(ctx, q)
}

// ACMERecordsOf returns documents, at most so many as a list shows.
func (w window) ACMERecordsOf(ctx context.Context, kind, owner string, limit int) ([]authority.ACMERecord, error) {
	return w.Service.ACMERecordsOf(ctx, kind, owner, min(max(limit, 0), maxRecords))
}

// maxRecords bounds the ACME documents that the gateway is given at once.
const maxRecords = 1000

// maxGiven bounds a file that is read for the gateway, in bytes.
const maxGiven = 64 << 20

func notDeclared(host string) error {
	return &authority.Error{Code: authority.CodeForbidden, Msg: fmt.Sprintf("the configuration asks for no such certificate for %q", host)}
}

// Status says how the server is.
func (o *office) Status(ctx context.Context) (api.Status, error) {
	head, err := o.house.Authority.Head(ctx)
	if err != nil {
		return api.Status{}, err
	}
	if err := sweepInvitations(ctx, o.house.Dir, o.house.Authority.Invites); err != nil {
		o.log.Warn("files of old invitations not removed", "err", err)
	}
	st, err := o.gate.Standing(ctx)
	if err != nil {
		return api.Status{}, err
	}
	status := st.Status
	status.Version, status.PID, status.Started, status.TrustDomain = thisBuild().Version, os.Getpid(), o.started, head.TrustDomain
	status.Ready, status.Config = o.ready.Load(), o.inUse.Load().conf.File
	status.Ledger = api.LedgerStatus{Epoch: head.Epoch, Size: head.Size, Root: head.Root}
	ending, err := o.radar.advice(ctx)
	if err != nil {
		return api.Status{}, err
	}
	status.Advice = slices.Compact(slices.Concat(st.Alarm, o.house.Authority.Advice(), ending, o.box.advice(), st.Advice))
	if why := o.wrong.Load(); why != nil {
		status.ConfigError = *why
	}
	return status, nil
}

// Holders says whether the gateway has taken in an issuer, so that no
// certificate is issued under one that it would refuse.
func (o *office) Holders(ctx context.Context, issuer ledger.KeyID) ([]authority.Holder, error) {
	has, err := o.gate.Believes(ctx, issuer)
	return []authority.Holder{{Name: "this server", Kind: "gateway", Has: has, Needed: true}}, err
}

// GrantAccess answers a request for access with an invitation, which only the
// browser learns that asked.
func (o *office) GrantAccess(ctx context.Context, g api.AccessGrant) (api.AccessGranted, error) {
	err := o.gate.AnswerAccess(ctx, api.AccessAnswer{Words: g.Words})
	if authority.CodeOf(err) != errOnlyAsked.Code {
		return api.AccessGranted{}, err
	}
	made, err := o.house.Authority.Invite(ctx, authority.InviteRequest{Name: g.Name, Profile: g.Profile, Group: g.Group, TTL: enroll.AccessFor})
	if err != nil {
		return api.AccessGranted{}, err
	}
	err = o.gate.AnswerAccess(ctx, api.AccessAnswer{Words: g.Words, Fragment: made.Code + "." + invite.PinOf(o.house.Roster.Root()).String()})
	if err != nil { // somebody else was faster
		return api.AccessGranted{}, errors.Join(err, o.withdraw(ctx, made))
	}
	o.log.Info("access granted", "id", made.Name, "expires", made.Expires)
	return api.AccessGranted{Name: made.Name, Profile: made.Profile, Expires: made.Expires}, nil
}

func (o *office) withdraw(ctx context.Context, made authority.Invitation) error {
	code, err := invite.Parse(made.Code)
	if err != nil {
		return err
	}
	return o.house.Authority.CancelInvite(ctx, ledger.Hash(code.Hash()))
}

// Refusals returns the newest refusals, newest first.
func (o *office) Refusals(ctx context.Context, limit int) ([]api.Refused, error) {
	return o.gate.Refusals(ctx, limit)
}

// Refusal returns one refusal by its reference.
func (o *office) Refusal(ctx context.Context, ref refusal.Reference) (api.Refused, error) {
	return o.gate.Refusal(ctx, ref)
}

// Steps returns what happened to an invitation.
func (o *office) Steps(ctx context.Context, code ledger.Hash) ([]invite.Step, error) {
	return o.gate.Steps(ctx, code)
}

// Requests returns the keys that wait for a yes.
func (o *office) Requests(ctx context.Context) ([]invite.Waiting, error) { return o.gate.Requests(ctx) }

// AccessRequests returns the requests for access that nobody has answered.
func (o *office) AccessRequests(ctx context.Context) ([]invite.AccessRequest, error) {
	return o.gate.AccessRequests(ctx)
}

// DenyAccess turns a request for access down.
func (o *office) DenyAccess(ctx context.Context, words string) error {
	return o.gate.DenyAccess(ctx, words)
}
