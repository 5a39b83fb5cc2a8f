package cli

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/identity"
)

// The status tells how many certificates were not renewed and which one ends
// first; it looks again after a while.
func TestStatusTellsOfEnds(t *testing.T) {
	now := time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)
	carla, err := identity.ParseName("carla/phone")
	if err != nil {
		t.Fatal(err)
	}
	due := 0
	r := &radar{now: func() time.Time { return now }, due: func(context.Context) (int, authority.Certificate, error) {
		return due, authority.Certificate{Name: carla, NotAfter: now.Add(240 * time.Hour)}, nil
	}}
	if got, err := r.advice(t.Context()); err != nil || got != nil {
		t.Fatalf("%q, %v", got, err)
	}
	due = 2
	if got, _ := r.advice(t.Context()); got != nil {
		t.Errorf("it looked again at once: %q", got)
	}
	now = now.Add(2 * radarEvery)
	got, err := r.advice(t.Context())
	if err != nil || len(got) != 1 || !strings.HasPrefix(got[0], "2 certificates that end within 30 days were not renewed, carla/phone first") {
		t.Errorf("%q, %v", got, err)
	}
}
