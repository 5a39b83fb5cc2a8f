package cli

import (
	"context"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/enroll"
	"github.com/postern-project/postern/internal/invite"
)

// accessSites returns the sites that offer strangers to ask for access.
func (s *server) accessSites() []string {
	conf := s.inUse.Load()
	if conf == nil {
		return nil
	}
	var hosts []string
	for _, site := range conf.Sites {
		if site.AccessRequests {
			hosts = append(hosts, site.Host)
		}
	}
	return hosts
}

// AccessRequests returns the requests for access that nobody has answered.
func (s *server) AccessRequests(context.Context) ([]invite.AccessRequest, error) {
	return s.access.Waiting(s.app.Now()), nil
}

// GrantAccess answers a request for access with an invitation, which only the
// browser learns that asked.
func (s *server) GrantAccess(ctx context.Context, g api.AccessGrant) (api.AccessGranted, error) {
	var made authority.Invitation
	err := s.access.Grant(g.Words, s.app.Now(), func(invite.AccessRequest) (string, error) {
		var err error
		made, err = s.house.Authority.Invite(ctx, authority.InviteRequest{Name: g.Name, Profile: g.Profile, Group: g.Group, TTL: enroll.AccessFor})
		if err != nil {
			return "", err
		}
		return made.Code + "." + invite.PinOf(s.house.Roster.Root()).String(), nil
	})
	if err != nil {
		return api.AccessGranted{}, err
	}
	s.log.Info("access granted", "id", made.Name, "expires", made.Expires)
	return api.AccessGranted{Name: made.Name, Profile: made.Profile, Expires: made.Expires}, nil
}

// DenyAccess turns a request for access down.
func (s *server) DenyAccess(_ context.Context, words string) error {
	return s.access.Deny(words, s.app.Now())
}
