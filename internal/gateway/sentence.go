package gateway

import (
	"runtime"
	"sync"

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
// then all are closed, then it is written down.
func (g *Gateway) execute(all []sentence) {
	alive := all[:0]
	for _, s := range all {
		if s.c.silence(&cutError{s.why}) {
			alive = append(alive, s)
		}
	}
	share(alive, func(s sentence) { s.c.sever() })
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
// much of it, and waits.
func share[T any](all []T, f func(T)) {
	const worthwhile = 128
	parts := min(runtime.GOMAXPROCS(0), len(all)/worthwhile+1)
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
