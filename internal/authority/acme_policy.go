package authority

import (
	"context"

	"github.com/postern-project/postern/internal/permit"
)

// acmePolicy returns what the ACME server of a profile issues.
func (s *Service) acmePolicy(profile string) (permit.Policy, error) {
	if p, ok := s.policy.Load().ACME[profile]; ok {
		return p, nil
	}
	return permit.Policy{}, refuse(CodeForbidden, "list its names under 'acme:' in postern.yaml", "profile %s issues nothing by ACME", profile)
}

// ACMEPermits decides whether an account may have certificates at all, and
// which of the hosts: a decision for each of them, in order.
func (s *Service) ACMEPermits(_ context.Context, a ACMEAsk) ([]permit.Decision, error) {
	policy, err := s.acmePolicy(a.Profile)
	if err != nil {
		return nil, err
	}
	holder, err := s.holder(a.Profile, policy, a.Account, a.Key)
	if err != nil {
		return nil, err
	}
	if by, suspended := s.roster.Suspended(holder.Name); suspended {
		return nil, suspendedName(holder.Name, by)
	}
	who := permit.Requester{Name: holder.Name, Account: holder.Account, Hosts: holder.Hosts, From: a.From}
	decisions := make([]permit.Decision, len(a.Hosts))
	for i, id := range a.Hosts {
		h, err := permit.ParseHost(id.Type, id.Value)
		if err != nil {
			decisions[i] = permit.Decision{Detail: err.Error()}
			continue
		}
		decisions[i] = policy.Decide(who, h)
	}
	return decisions, nil
}
