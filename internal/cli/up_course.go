package cli

import (
	"context"

	"github.com/postern-project/postern/internal/gateway"
	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/ledger"
)

// visited tells who watches an invitation that its certificate was used.
func (s *server) visited(c gateway.Client, host string) {
	s.course.Visited(c.Ref, host, s.app.Now())
}

// Steps returns what happened to an invitation.
func (s *server) Steps(_ context.Context, code ledger.Hash) ([]invite.Step, error) {
	return s.course.Steps(code), nil
}

// Requests returns the keys that wait for a yes.
func (s *server) Requests(context.Context) ([]invite.Waiting, error) {
	return s.course.Waiting(s.app.Now()), nil
}
