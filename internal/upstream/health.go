package upstream

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// Health is how an application is asked whether it is well. An answer from 200
// to 399 says so.
type Health struct {
	// Path is what is asked for with GET; "" asks nothing.
	Path string
	// Host is the Host of the request; the member's address by default.
	Host string
	// Every is how often; 10 s by default.
	Every time.Duration
	// Timeout is how long an answer may take; 5 s by default.
	Timeout time.Duration
}

// watch checks every member until the function that it returns is called.
func (g *Group) watch() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for i := range g.pools {
		running.Go(func() { g.check(ctx, i) })
	}
	return func() { cancel(); running.Wait() }
}

func (g *Group) check(ctx context.Context, i int) {
	m, via := g.circle.members[i], g.pools[i].handler(collect)
	watchMember(ctx, m, cmp.Or(g.options.Health.Every, 10*time.Second), g.log, func(ctx context.Context) error {
		return g.options.Health.ask(ctx, via, m.spec)
	})
}

// watchMember checks a member until ctx ends.
func watchMember(ctx context.Context, m *member, every time.Duration, log *slog.Logger, check func(context.Context) error) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		err := check(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case !m.checked(err == nil):
		case err != nil:
			log.Warn("upstream taken out: it fails its health checks", "upstream", m.spec, "err", err)
		default:
			log.Info("upstream back: it passes its health checks", "upstream", m.spec)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// ask makes one check, by the way that requests go.
func (h Health) ask(ctx context.Context, via http.Handler, spec string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(h.Timeout, 5*time.Second))
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://upstream"+h.Path, nil)
	if err != nil {
		return err
	}
	r.Host = cmp.Or(h.Host, r.Host)
	r.Header.Set("User-Agent", "postern-health")
	answer := &statusOnly{header: http.Header{}}
	a := &attempt{ResponseWriter: answer}
	defer func() {
		if p := recover(); p != nil {
			if p != http.ErrAbortHandler {
				panic(p)
			}
			err = cmp.Or(ctx.Err(), fmt.Errorf("%s: the answer broke off", spec))
		}
	}()
	via.ServeHTTP(a, r)
	switch {
	case a.failed:
		return fmt.Errorf("%s", a.detail)
	case answer.status < 200 || answer.status > 399:
		return fmt.Errorf("%s answers %d", h.Path, answer.status)
	}
	return nil
}

// statusOnly keeps of an answer what it came to.
type statusOnly struct {
	header http.Header
	status int
}

func (s *statusOnly) Header() http.Header { return s.header }

func (s *statusOnly) WriteHeader(status int) {
	if status >= 200 {
		s.status = status
	}
}

func (s *statusOnly) Write(b []byte) (int, error) {
	s.status = cmp.Or(s.status, http.StatusOK)
	return len(b), nil
}
