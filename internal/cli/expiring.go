package cli

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postern-project/postern/internal/authority"
)

// A radar counts the certificates that should have been renewed and were not.
// Many are looked at for that, so the answer is kept for a while.
type radar struct {
	due func(context.Context) (n int, first authority.Certificate, err error)
	now func() time.Time

	mu    sync.Mutex // guards what follows
	asked time.Time
	count int
	first authority.Certificate // the one that ends first
	err   error
}

// radarEvery is for how long a count is kept.
const radarEvery = time.Minute

// look returns how many certificates are due for renewal, and the first to end.
func (r *radar) look(ctx context.Context) (int, authority.Certificate, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := r.now(); now.Sub(r.asked) >= radarEvery || now.Before(r.asked) {
		r.asked = now
		r.count, r.first, r.err = r.due(ctx)
	}
	return r.count, r.first, r.err
}

// gauge is how many certificates are due for renewal, for the metrics.
func (r *radar) gauge() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "postern_certificates_ending", Help: "Good certificates in the last third of their life that end within 30 days and have no successor yet.",
	}, func() float64 {
		n, _, err := r.look(context.Background())
		if err != nil {
			return math.NaN()
		}
		return float64(n)
	})
}

// advice says what somebody should do about certificates that were not renewed.
func (r *radar) advice(ctx context.Context) ([]string, error) {
	n, first, err := r.look(ctx)
	if err != nil || n == 0 {
		return nil, err
	}
	which := "that end within 30 days were"
	if n == 1 {
		which = "that ends within 30 days was"
	}
	return []string{fmt.Sprintf("%s %s not renewed, %s first, at %s: 'postern list certificates --due'",
		count(n, "certificate"), which, first.Name, moment(first.NotAfter))}, nil
}
