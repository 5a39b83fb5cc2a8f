package acme

import (
	"context"
	"slices"
	"time"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/jws"
)

// Bounds on validations.
const (
	maxFlights  = 10_000
	attemptTime = 10 * time.Second
)

// A flight is a validation under way. Nothing of it is written until it has
// ended or taken long.
type flight struct {
	s       *Server
	profile *served
	id      string // of the authorization
	kind    string // of the challenge
	key     jws.Key
	done    chan struct{} // closed when the outcome is kept

	// read is the authorization as it was read, and after done as it was
	// kept.
	read kept[authority.ACMEAuthorization]
}

// take begins a validation, or returns the one that is under way.
func (s *Server) take(c *call, a kept[authority.ACMEAuthorization], i int) (*flight, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f, ok := s.flights[a.Doc.ID]; ok {
		return f, nil
	}
	if s.closed || len(s.flights) >= maxFlights {
		return nil, problem(rateLimited, "too many validations are under way").after(5 * time.Second)
	}
	f := &flight{s: s, profile: c.profile, id: a.Doc.ID, kind: a.Doc.Challenges[i].Type, key: c.key, done: make(chan struct{}), read: a}
	s.flights[f.id] = f
	s.work.Go(func() {
		defer func() {
			s.mu.Lock()
			delete(s.flights, f.id)
			s.mu.Unlock()
			close(f.done)
		}()
		select {
		case s.slots <- struct{}{}:
			defer func() { <-s.slots }()
			f.run(s.life, a.Doc.Challenges[i].Token)
		case <-s.life.Done():
		}
	})
	return f, nil
}

// run validates, again if need be (RFC 8555 section 8.2), and keeps the
// outcome. A server that stops leaves things as they were.
func (f *flight) run(ctx context.Context, token string) {
	q := query{kind: f.kind, host: f.read.Doc.Identifier, token: token, key: f.key}
	var attempts []authority.ACMEAttempt
	for n := 0; ; n++ {
		tries, cancel := context.WithTimeout(ctx, attemptTime)
		v := f.profile.validate(tries, f.s.now, q)
		cancel()
		if ctx.Err() != nil {
			return
		}
		attempts = append(attempts, v.attempt)
		if v.problem == nil || n >= len(f.s.retries) {
			f.land(ctx, v, attempts)
			return
		}
		f.note(ctx, statusProcessing, v.problem, attempts)
		select {
		case <-time.After(f.s.retries[n]):
		case <-ctx.Done():
			return
		}
	}
}

// slow writes down that the validation goes on, so that a restart can resume
// it.
func (f *flight) slow(ctx context.Context) { f.note(ctx, statusProcessing, nil, nil) }

// note writes down how a challenge stands while it is tried. A failure to
// write costs only that.
func (f *flight) note(ctx context.Context, status string, p *problemError, attempts []authority.ACMEAttempt) {
	k, err := load[authority.ACMEAuthorization](ctx, f.s, authority.ACMEKindAuthorization, f.id)
	if err != nil || k.Doc.Status != statusPending {
		return
	}
	ch := f.challenge(&k.Doc)
	ch.Status = status
	if p != nil {
		ch.Error, ch.Attempts = &p.ACMEProblem, attempts
	}
	f.s.writeAll(ctx, k)
}

func (f *flight) challenge(a *authority.ACMEAuthorization) *authority.ACMEChallenge {
	return &a.Challenges[slices.IndexFunc(a.Challenges, func(ch authority.ACMEChallenge) bool { return ch.Type == f.kind })]
}

// land keeps the outcome: on the record as it was read first, and if somebody
// has changed that since, as it is now.
func (f *flight) land(ctx context.Context, v verdict, attempts []authority.ACMEAttempt) {
	for range 5 {
		var err error
		if f.read.Doc.Status == statusPending {
			err = f.keep(ctx, v, attempts)
		}
		if err == nil {
			return
		}
		if conflicted(err) {
			f.read, err = load[authority.ACMEAuthorization](ctx, f.s, authority.ACMEKindAuthorization, f.id)
		}
		if err != nil {
			f.s.log.Error("outcome of a validation not kept: the client has to ask again", "authorization", f.id, "err", err)
			return
		}
	}
}

func (f *flight) keep(ctx context.Context, v verdict, attempts []authority.ACMEAttempt) (err error) {
	k := f.read
	k.Doc.Challenges = slices.Clone(k.Doc.Challenges)
	defer func() {
		if err == nil {
			f.read = k
		}
	}()
	ch := f.challenge(&k.Doc)
	ch.Attempts, ch.Error = attempts, nil
	host := k.Doc.Identifier.Value
	if v.problem == nil {
		now := f.s.now().UTC()
		ch.Status, ch.Validated = statusValid, now
		k.Doc.Status, k.Doc.Expires = statusValid, now.Add(authorizedLife)
		k.Doc.Evidence = v.evidence(k.Doc, *ch, f.key, now)
		f.s.log.Info("acme host validated", "account", k.Doc.Account, "host", host, "challenge", f.kind, "order", k.Doc.Order)
		return f.s.writeAll(ctx, k)
	}
	ch.Status, ch.Error = statusInvalid, &v.problem.ACMEProblem
	k.Doc.Status = statusInvalid
	f.s.limits.failures.take(k.Doc.Account + " " + host)
	f.s.log.Info("acme host not validated", "account", k.Doc.Account, "host", host, "challenge", f.kind, "order", k.Doc.Order, "why", v.problem.Detail)
	o, err := load[authority.ACMEOrder](ctx, f.s, authority.ACMEKindOrder, k.Doc.Order)
	if err != nil || o.Doc.Status != statusPending {
		return f.s.writeAll(ctx, k)
	}
	o.Doc.Status, o.Doc.Error = statusInvalid, &v.problem.ACMEProblem
	return f.s.writeAll(ctx, k, o)
}
