package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/refusal"
)

// Status says how the server is.
func (s *server) Status(ctx context.Context) (api.Status, error) {
	head, err := s.house.Authority.Head(ctx)
	if err != nil {
		return api.Status{}, err
	}
	if err := sweepInvitations(ctx, s.house.Dir, s.house.Authority.Invites); err != nil {
		s.log.Warn("files of old invitations not removed", "err", err)
	}
	conf := s.inUse.Load()
	status := api.Status{
		Version: thisBuild().Version, PID: os.Getpid(), Started: s.started, TrustDomain: head.TrustDomain,
		Ready: s.ready.Load(), Config: conf.File, PublicURL: s.publicURL(*conf),
		Connections: s.gateway.Connections(),
		Ledger:      api.LedgerStatus{Epoch: head.Epoch, Size: head.Size, Root: head.Root},
		Certificate: s.sites.Load().certificateUntil(),
	}
	if status.Advice, err = s.alarm(); err != nil {
		return api.Status{}, err
	}
	status.Advice = append(status.Advice, s.house.Authority.Advice()...)
	ending, err := s.radar.advice(ctx)
	if err != nil {
		return api.Status{}, err
	}
	status.Advice = append(status.Advice, ending...)
	if n := len(s.access.Waiting(s.app.Now())); n > 0 {
		status.Advice = append(status.Advice, count(n, "request")+" for access not answered: 'postern list requests'")
	}
	status.Advice = append(status.Advice, s.box.advice()...)
	status.Advice = append(status.Advice, s.sites.Load().complaints()...)
	if why := s.wrong.Load(); why != nil {
		status.ConfigError = *why
	}
	for _, l := range s.doors.Load().sites {
		status.Listen = append(status.Listen, l.Addr().String())
	}
	for _, site := range conf.Sites {
		status.Sites = append(status.Sites, api.SiteStatus{Host: site.Host, URL: s.siteAddress(site), Target: site.Target(), Stealth: site.Stealth})
	}
	return status, nil
}

// recentRefusals is how many refusals a status looks at for an alarm.
const recentRefusals = 1000

// alarm tells of the newest theft among the recent refusals, if there is one.
func (s *server) alarm() ([]string, error) {
	recent, err := s.journal.Recent(recentRefusals)
	if err != nil {
		return nil, err
	}
	for _, r := range recent {
		if refusal.Lookup(r.Code).Alarm {
			return []string{fmt.Sprintf("a forged certificate was refused at %s: an issuer's key is in strange hands; 'postern explain %s'",
				moment(r.Time), r.Reference)}, nil
		}
	}
	return nil, nil
}

// Refusals returns the newest refusals, newest first.
func (s *server) Refusals(_ context.Context, limit int) ([]api.Refused, error) {
	return s.journal.Recent(limit)
}

// Refusal returns one refusal by its reference.
func (s *server) Refusal(_ context.Context, ref refusal.Reference) (api.Refused, error) {
	r, ok, err := s.journal.Find(ref)
	if err != nil {
		return api.Refused{}, err
	}
	if !ok {
		return api.Refused{}, &authority.Error{
			Code: authority.CodeNotFound, Msg: "refusal " + ref.String() + " is not on record",
			Hint: "the newest 100,000 refusals of seven days are kept; 'postern list refusals' shows them",
		}
	}
	return r, nil
}
