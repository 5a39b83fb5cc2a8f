package gateway

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/postern-project/postern/internal/refusal"
)

// How many lines of strangers the log takes in a minute: of one code from one
// network, and in all.
const (
	hushFirst = 30
	hushTotal = 1000
)

// A hush keeps strangers from filling the log: of many lines alike it lets the
// first few through, and the next one tells how many were left out. It is safe
// for concurrent use.
type hush struct {
	mu      sync.Mutex // guards what follows
	sampler sampler
	leftOut int
}

func newHush() *hush {
	s := newSampler()
	s.first, s.most = hushFirst, hushTotal
	return &hush{sampler: s}
}

// take reports whether to write a line about a stranger, and how many were
// left out before it. An alarm is always written.
func (h *hush) take(code refusal.Code, address string, now time.Time) (write bool, leftOut int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !refusal.Lookup(code).Alarm {
		if keep, _ := h.sampler.take(code, address, now); !keep {
			h.leftOut++
			return false, 0
		}
	}
	leftOut, h.leftOut = h.leftOut, 0
	return true, leftOut
}

// tell writes a line about a stranger, unless there were too many of them.
func (g *Gateway) tell(level slog.Level, message string, code refusal.Code, address string, attrs ...slog.Attr) {
	if !g.log.Enabled(context.Background(), level) {
		return
	}
	write, leftOut := g.hush.take(code, address, g.now())
	if !write {
		g.metrics.leftOut.WithLabelValues(string(code)).Inc()
		return
	}
	if leftOut > 0 {
		attrs = append(attrs, slog.Int("left_out", leftOut))
	}
	g.log.LogAttrs(context.Background(), level, message, attrs...)
}

// tellRest writes how many lines were left out since the last one.
func (g *Gateway) tellRest() {
	g.hush.mu.Lock()
	defer g.hush.mu.Unlock()
	if g.hush.leftOut > 0 {
		g.log.Info("lines about strangers left out", "left_out", g.hush.leftOut)
		g.hush.leftOut = 0
	}
}
