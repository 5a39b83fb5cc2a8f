package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/gateway"
	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/refusal"
	"github.com/postern-project/postern/internal/roster"
	"github.com/postern-project/postern/internal/telemetry"
)

// A porter answers the authority's process for a gateway: first it takes in
// the roster, then it opens a server.
type porter struct {
	app       *app
	flags     upFlags
	lines     lines
	inherited *doors
	house     gatehouse
	level     *slog.LevelVar
	log       *slog.Logger

	mu      sync.Mutex // guards server
	server  *server    // nil until it is opened
	running sync.WaitGroup

	ended chan struct{} // closed once the process has nothing more to do
	end   func()
}

// A gatehouse is what the gateway has of the house: its own part of the data
// folder, a copy of the roster, and a window to the authority.
type gatehouse struct {
	Dir       string
	Roster    *roster.Roster
	Authority api.Window
}

func newPorter(a *app, flags upFlags, l lines, inherited *doors) *porter {
	ended := make(chan struct{})
	level := new(slog.LevelVar)
	return &porter{
		app: a, flags: flags, lines: l, inherited: inherited, level: level, log: telemetry.Logger(a.Stderr, telemetry.Text, level),
		house: gatehouse{Dir: a.data(), Roster: roster.New(), Authority: api.DialWindow(l.window)},
		ended: ended, end: sync.OnceFunc(func() { close(ended) }),
	}
}

// Begin takes in the roster.
func (p *porter) Begin(_ context.Context, snapshot io.Reader) error {
	draft, err := roster.ReadSnapshot(snapshot)
	if err != nil {
		return fmt.Errorf("the roster cannot be read: %w", err)
	}
	return p.house.Roster.Adopt(draft)
}

// Apply follows the ledger.
func (p *porter) Apply(_ context.Context, c api.Commit) error {
	entries := make([]ledger.Entry, len(c.Entries))
	for i, data := range c.Entries {
		var err error
		if entries[i], err = ledger.Unmarshal(data); err != nil {
			return fmt.Errorf("ledger entry %d: %w", c.First+uint64(i), err)
		}
	}
	return p.house.Roster.Apply(c.First, entries)
}

// Condemn lets nobody in any more.
func (p *porter) Condemn(context.Context) error {
	p.house.Roster.Condemn()
	return nil
}

// Open serves.
func (p *porter) Open(_ context.Context, o api.Opening) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server != nil {
		return errors.New("this gateway is open already")
	}
	conf, _, err := upConfig(o.Text, p.flags)
	if err != nil {
		return portable(err)
	}
	p.level.Set(conf.Log.Level)
	p.log = telemetry.Logger(p.app.Stderr, conf.Log.Format, p.level)
	// What stops it is the authority's word, not the end of this call.
	s, err := p.app.newServer(context.Background(), p.house, opening{flags: p.flags, conf: conf, follows: o.Follows, log: p.log, level: p.level, doors: p.inherited})
	if err != nil {
		return portable(err)
	}
	s.openDoors()
	p.server = s
	p.running.Go(func() {
		defer p.end()
		s.run()
	})
	return nil
}

// gone ends the server when there is nobody left to tell it of revocations.
func (p *porter) gone() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server != nil {
		p.server.end(errors.New("the authority's process is gone"))
	}
}

// close waits for the server's end.
func (p *porter) close() error {
	p.running.Wait()
	p.inherited.close()
	return nil
}

// served returns the server once it is open.
func (p *porter) served() (*server, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server == nil {
		return nil, errors.New("the gateway is not open yet")
	}
	return p.server, nil
}

// Reload puts another configuration in force.
func (p *porter) Reload(_ context.Context, t api.Text) error {
	s, err := p.served()
	if err != nil {
		return err
	}
	return portable(s.reload(t))
}

// Doors gives copies of the listening sockets away.
func (p *porter) Doors(context.Context) ([]api.Socket, error) {
	s, err := p.served()
	if err != nil {
		return nil, err
	}
	files, notes, err := s.doors.Load().copies()
	defer closeAll(files)
	if err != nil {
		return nil, err
	}
	return notes, p.lines.doors.Send(files...)
}

// End stops serving.
func (p *porter) End(_ context.Context, handover bool) error {
	s, err := p.served()
	if err != nil {
		p.end()
		return nil
	}
	why := errStopping
	if handover {
		why = gateway.ErrHandover
	}
	s.end(why)
	return nil
}

var errStopping = errors.New("stopping")

// Standing says how the gateway is.
func (p *porter) Standing(context.Context) (api.Standing, error) {
	s, err := p.served()
	if err != nil {
		return api.Standing{}, err
	}
	return s.standing()
}

// Believes reports whether the gateway has taken in an issuer.
func (p *porter) Believes(_ context.Context, issuer ledger.KeyID) (bool, error) {
	s, err := p.served()
	if err != nil {
		return false, err
	}
	return s.gateway.Believes(issuer), nil
}

// Refusals returns the newest refusals, newest first.
func (p *porter) Refusals(_ context.Context, limit int) ([]api.Refused, error) {
	s, err := p.served()
	if err != nil {
		return nil, err
	}
	return s.journal.Recent(limit)
}

// Refusal returns one refusal by its reference.
func (p *porter) Refusal(_ context.Context, ref refusal.Reference) (api.Refused, error) {
	s, err := p.served()
	if err != nil {
		return api.Refused{}, err
	}
	r, ok, err := s.journal.Find(ref)
	if err != nil {
		return api.Refused{}, err
	}
	if !ok {
		return api.Refused{}, &authority.Error{
			Code: authority.CodeNotFound, Msg: "refusal " + ref.String() + " is not on record",
			Hint: "the newest 100,000 refusals of seven days are kept; 'postern list refusals' shows them",
		}
	}
	return r, nil
}

// Steps returns what happened to an invitation.
func (p *porter) Steps(_ context.Context, code ledger.Hash) ([]invite.Step, error) {
	s, err := p.served()
	if err != nil {
		return nil, err
	}
	return s.course.Steps(code), nil
}

// Requests returns the keys that wait for a yes.
func (p *porter) Requests(context.Context) ([]invite.Waiting, error) {
	s, err := p.served()
	if err != nil {
		return nil, err
	}
	return s.course.Waiting(p.app.Now()), nil
}

// AccessRequests returns the requests for access that nobody has answered.
func (p *porter) AccessRequests(context.Context) ([]invite.AccessRequest, error) {
	s, err := p.served()
	if err != nil {
		return nil, err
	}
	return s.access.Waiting(p.app.Now()), nil
}

// AnswerAccess hands an invitation to the browser that asked.
func (p *porter) AnswerAccess(_ context.Context, q api.AccessAnswer) error {
	s, err := p.served()
	if err != nil {
		return err
	}
	return s.access.Grant(q.Words, p.app.Now(), func(invite.AccessRequest) (string, error) {
		if q.Fragment == "" {
			return "", errOnlyAsked
		}
		return q.Fragment, nil
	})
}

// errOnlyAsked keeps a request waiting whose invitation is yet to be made.
var errOnlyAsked = &authority.Error{Code: authority.CodePending, Msg: "this request waits for its answer"}

// DenyAccess turns a request for access down.
func (p *porter) DenyAccess(_ context.Context, words string) error {
	s, err := p.served()
	if err != nil {
		return err
	}
	return s.access.Deny(words, p.app.Now())
}

// portable returns err in a form that keeps its hint on the way to another
// process.
func portable(err error) error {
	if err == nil {
		return nil
	}
	return &authority.Error{Code: cmp.Or(authority.CodeOf(err), authority.CodeBadRequest), Msg: messageOf(err), Hint: hintOf(err)}
}

var _ api.Porter = (*porter)(nil)
