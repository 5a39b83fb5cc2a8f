package cli

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postern-project/postern/internal/authority"
)

// expiringSoon is how long before their end certificates are talked about.
const expiringSoon = 30 * 24 * time.Hour

// certificateLister is all that looking for ends asks of the authority.
type certificateLister interface {
	Certificates(context.Context, authority.CertificateFilter) ([]authority.Certificate, error)
}

// expiring returns the good certificates that end soon and were not renewed,
// the soonest first. What lives for a day is not near its end for all of its
// life: the last third of it counts.
func expiring(ctx context.Context, auth certificateLister, now time.Time) ([]authority.Certificate, error) {
	all, err := auth.Certificates(ctx, authority.CertificateFilter{Status: authority.StatusGood, Limit: math.MaxInt32})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(authority.Ending(all, now, expiringSoon), func(c authority.Certificate) bool {
		return c.NotAfter.Sub(now) > c.NotAfter.Sub(c.NotBefore)/3
	}), nil
}

// A radar counts the certificates that end soon. To count them all takes
// looking at all, so the answer is kept for a while.
type radar struct {
	auth certificateLister
	now  func() time.Time

	mu    sync.Mutex // guards what follows
	asked time.Time
	count int
	first authority.Certificate // the one that ends first
	err   error
}

// radarEvery is for how long a count is kept.
const radarEvery = time.Minute

// look returns how many certificates end soon, and the first of them.
func (r *radar) look(ctx context.Context) (int, authority.Certificate, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := r.now(); now.Sub(r.asked) >= radarEvery || now.Before(r.asked) {
		all, err := expiring(ctx, r.auth, now)
		r.asked, r.count, r.first, r.err = now, len(all), authority.Certificate{}, err
		if len(all) > 0 {
			r.first = all[0]
		}
	}
	return r.count, r.first, r.err
}

// gauge is how many certificates end soon, for the metrics.
func (r *radar) gauge() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "postern_certificates_ending", Help: "Good certificates that end within 30 days and have no successor yet.",
	}, func() float64 {
		n, _, err := r.look(context.Background())
		if err != nil {
			return math.NaN()
		}
		return float64(n)
	})
}

// advice says what somebody should do about certificates that end soon.
func (r *radar) advice(ctx context.Context) ([]string, error) {
	n, first, err := r.look(ctx)
	if err != nil || n == 0 {
		return nil, err
	}
	verb := "end"
	if n == 1 {
		verb = "ends"
	}
	return []string{fmt.Sprintf("%s %s within 30 days, %s first, at %s: 'postern list certificates --expires-within 30d --status good'",
		count(n, "certificate"), verb, first.Name, moment(first.NotAfter))}, nil
}
