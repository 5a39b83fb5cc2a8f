package gateway

import (
	"sync"
	"time"

	"github.com/postern-project/postern/internal/refusal"
)

// A sentence is a connection that may not stay, with the reason.
type sentence struct {
	c    *conn
	code refusal.Code
	why  string
}

// maxCutLines is how many cuts of one occasion the log tells of one by one.
const maxCutLines = 100

// execute cuts every connection that was sentenced: first all fall silent,
// then clients of HTTP/2 are told, then all are ended for their clients, and
// only then for whoever served them, since thousands that wake up are in the
// way of the rest.
func (g *Gateway) execute(all []sentence) {
	alive := all[:0]
	for _, s := range all {
		if s.c.silence(&cutError{s.why}) {
			alive = append(alive, s)
		}
	}
	if len(alive) == 0 {
		return
	}
	var plain, told []*conn
	for _, s := range alive {
		if s.c.bell.Load() != nil {
			told = append(told, s.c)
		} else {
			plain = append(plain, s.c)
		}
	}
	share(told, func(c *conn) { c.ring() })
	rung := time.Now()
	share(plain, (*conn).sever)
	end := func() {
		share(told, (*conn).sever)
		share(told, (*conn).reset)
	}
	if left := farewell - time.Since(rung); left > 0 && len(told) > 0 {
		time.AfterFunc(left, end)
	} else {
		end()
	}
	share(alive, func(s sentence) { s.c.settle() })
	for i, s := range alive {
		g.metrics.cuts.WithLabelValues(string(s.code)).Inc()
		if i < maxCutLines {
			id, serial := s.c.spokeFor()
			g.log.Info("connection cut", "site", s.c.host, "address", address(s.c), "id", id, "serial", serial, "code", string(s.code), "why", s.why)
		}
	}
	if more := len(alive) - maxCutLines; more > 0 {
		g.log.Info("more connections cut", "left_out", more, "why", alive[0].why)
	}
}

// share calls f with everything in all, from several goroutines when there is
// much of it, and waits. The parts are small: a goroutine that takes long is
// put behind all that it has woken.
func share[T any](all []T, f func(T)) {
	const worthwhile = 128
	parts := len(all)/worthwhile + 1
	var wg sync.WaitGroup
	for i := range parts {
		wg.Go(func() {
			for _, one := range all[i*len(all)/parts : (i+1)*len(all)/parts] {
				f(one)
			}
		})
	}
	wg.Wait()
}
