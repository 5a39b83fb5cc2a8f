package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/config"
	"github.com/postern-project/postern/internal/identity"
)

// firstDevice is invited by 'up' as long as nobody is enrolled.
const firstDevice = "owner/device-1"

// welcome says where the sites are and, while no device exists, invites the
// first one.
func (o *office) welcome(ctx context.Context, st api.Standing) error {
	if err := sweepInvitations(ctx, o.house.Dir, o.house.Authority.Invites); err != nil {
		o.log.Warn("files of old invitations not removed", "err", err)
	}
	for i, site := range o.inUse.Load().conf.Sites {
		say(o.app.Stdout, "Serving %s from %s", st.Sites[i].URL, behindOf(site))
	}
	say(o.app.Stdout, "Public side, for invitations: %s\n", st.PublicURL)
	alone, err := o.nobodyEnrolled(ctx)
	if err != nil || !alone {
		return err
	}
	return o.inviteFirst(ctx, st.PublicURL)
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
func (o *office) nobodyEnrolled(ctx context.Context) (bool, error) {
	some, err := o.house.Authority.Certificates(ctx, authority.CertificateFilter{NotVia: "self", Limit: 1})
	return len(some) == 0, err
}

// inviteFirst cancels the invitation of an earlier start, whose code nobody
// can show again, and makes a new one.
func (o *office) inviteFirst(ctx context.Context, publicURL string) error {
	name, err := identity.ParseName(firstDevice)
	if err != nil {
		return err
	}
	_, err = o.house.Authority.Revoke(ctx, authority.RevokeRequest{Name: name})
	if e, ok := errors.AsType[*authority.Error](err); err != nil && (!ok || e.Code != authority.CodeNotFound) {
		return err
	}
	old, err := filepath.Glob(filepath.Join(escapeGlob(o.house.Dir), secretsFolder, "invite-"+fileWord(firstDevice)+"-*.txt"))
	if err != nil {
		return err
	}
	for _, path := range old {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	made, err := o.house.Authority.Invite(ctx, authority.InviteRequest{Name: name})
	if err != nil {
		return err
	}
	return o.app.showInvitation(made, publicURL)
}
