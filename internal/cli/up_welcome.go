package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/config"
	"github.com/postern-project/postern/internal/identity"
)

// firstDevice is invited by 'up' as long as nobody is enrolled.
const firstDevice = "owner/device-1"

// welcome says where the sites are and, while no device exists, invites the
// first one.
func (s *server) welcome(ctx context.Context) error {
	if err := sweepInvitations(ctx, s.house.Dir, s.house.Authority.Invites); err != nil {
		s.log.Warn("files of old invitations not removed", "err", err)
	}
	conf := s.inUse.Load()
	for _, site := range conf.Sites {
		say(s.app.Stdout, "Serving %s from %s", s.siteAddress(site), behindOf(site))
	}
	say(s.app.Stdout, "Public side, for invitations: %s\n", s.publicURL(*conf))
	alone, err := s.nobodyEnrolled(ctx)
	if err != nil || !alone {
		return err
	}
	return s.inviteFirst(ctx)
}

// behindOf says what stands behind a site, a folder as one would type it.
func behindOf(site config.Site) string {
	if site.Static != "" {
		return here(site.Static)
	}
	return site.Target()
}

// nobodyEnrolled reports whether no certificate but the sites' own was ever
// issued.
func (s *server) nobodyEnrolled(ctx context.Context) (bool, error) {
	some, err := s.house.Authority.Certificates(ctx, authority.CertificateFilter{NotVia: "self", Limit: 1})
	return len(some) == 0, err
}

// inviteFirst cancels the invitation of an earlier start, whose code nobody
// can show again, and makes a new one.
func (s *server) inviteFirst(ctx context.Context) error {
	name, err := identity.ParseName(firstDevice)
	if err != nil {
		return err
	}
	_, err = s.house.Authority.Revoke(ctx, authority.RevokeRequest{Name: name})
	if e, ok := errors.AsType[*authority.Error](err); err != nil && (!ok || e.Code != authority.CodeNotFound) {
		return err
	}
	old, err := filepath.Glob(filepath.Join(escapeGlob(s.house.Dir), secretsFolder, "invite-"+fileWord(firstDevice)+"-*.txt"))
	if err != nil {
		return err
	}
	for _, path := range old {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	made, err := s.house.Authority.Invite(ctx, authority.InviteRequest{Name: name})
	if err != nil {
		return err
	}
	return s.app.showInvitation(made, s.publicURL(*s.inUse.Load()))
}
