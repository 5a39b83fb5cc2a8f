package cli

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/identity"
)

// A shelf is an authority with these certificates.
type shelf []authority.Certificate

func (s *shelf) Certificates(context.Context, authority.CertificateFilter) ([]authority.Certificate, error) {
	return *s, nil
}

// The status tells of the certificate that ends first, and of none whose life
// is short and not in its last third; it looks again after a while.
func TestStatusTellsOfEnds(t *testing.T) {
	now := time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	with := func(who string, life, left time.Duration) authority.Certificate {
		n, err := identity.ParseName(who)
		if err != nil {
			t.Fatal(err)
		}
		return authority.Certificate{Name: n, Status: authority.StatusGood, NotBefore: now.Add(left - life), NotAfter: now.Add(left)}
	}
	all := shelf{with("ben/phone", 365*day, 200*day), with("services/shop", day, 20*time.Hour)}
	r := &radar{auth: &all, now: func() time.Time { return now }}
	if got, err := r.advice(t.Context()); err != nil || got != nil {
		t.Fatalf("%q, %v", got, err)
	}
	all = append(all, with("anna/phone", 365*day, 20*day), with("carla/phone", 365*day, 10*day))
	if got, _ := r.advice(t.Context()); got != nil {
		t.Errorf("it looked again at once: %q", got)
	}
	now = now.Add(2 * radarEvery)
	got, err := r.advice(t.Context())
	if err != nil || len(got) != 1 || !strings.HasPrefix(got[0], "2 certificates end within 30 days, carla/phone first") {
		t.Errorf("%q, %v", got, err)
	}
}
