package cli

import (
	"fmt"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/refusal"
)

// standing is the gateway's part of a status.
func (s *server) standing() (st api.Standing, err error) {
	conf := s.inUse.Load()
	st.Status = api.Status{
		PublicURL: s.publicURL(*conf), Connections: s.gateway.Connections(), Certificate: s.sites.Load().certificateUntil(),
	}
	if st.Alarm, err = s.alarm(); err != nil {
		return st, err
	}
	if n := len(s.access.Waiting(s.app.Now())); n > 0 {
		st.Advice = append(st.Advice, count(n, "request")+" for access not answered: 'postern list requests'")
	}
	st.Advice = append(st.Advice, s.sites.Load().complaints()...)
	for _, l := range s.doors.Load().sites {
		st.Listen = append(st.Listen, l.Addr().String())
	}
	for _, site := range conf.Sites {
		st.Sites = append(st.Sites, api.SiteStatus{Host: site.Host, URL: s.siteAddress(site), Target: site.Target(), Stealth: site.Stealth})
	}
	return st, nil
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
