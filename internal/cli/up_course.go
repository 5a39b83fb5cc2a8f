package cli

import "github.com/postern-project/postern/internal/gateway"

// visited tells who watches an invitation that its certificate was used.
func (s *server) visited(c gateway.Client, host string) {
	s.course.Visited(c.Ref, host, s.app.Now())
}
