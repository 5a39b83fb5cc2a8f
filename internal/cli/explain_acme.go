package cli

import (
	"context"
	"regexp"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/explain"
)

// looksLikeOrder reports whether a word is the identifier of an ACME order.
func looksLikeOrder(word string) bool {
	ok, _ := regexp.MatchString(`^order-[0-9a-f]{20}$`, word)
	return ok
}

// explainOrder tells what became of an ACME order.
func (a *app) explainOrder(ctx context.Context, id string) (explain.Report, error) {
	auth, done, err := a.open(ctx)
	if err != nil {
		return explain.Report{}, err
	}
	defer done()
	story, err := auth.ACMEOrder(ctx, id)
	if err != nil {
		return explain.Report{}, err
	}
	return explain.Order(orderRecord(story)), nil
}

func orderRecord(s authority.ACMEOrderStory) explain.OrderRecord {
	o := explain.OrderRecord{ID: s.ID, Account: s.Account, Profile: s.Profile, Status: s.Status, Created: s.Created, Serial: s.Serial.String()}
	for _, authz := range s.Authorized {
		h := explain.HostRecord{Host: authz.Identifier.Value, Status: authz.Status}
		if authz.Wildcard {
			h.Host = "*." + h.Host
		}
		for _, ch := range authz.Challenges {
			c := explain.ChallengeRecord{Type: ch.Type}
			if ch.Error != nil {
				c.Problem = ch.Error.Detail
			}
			for _, at := range ch.Attempts {
				c.Attempts = append(c.Attempts, explain.AttemptRecord{At: at.At, Steps: at.Steps, Expected: at.Expected, Seen: at.Seen, OK: at.OK})
			}
			if len(c.Attempts) > 0 {
				h.Challenges = append(h.Challenges, c)
			}
		}
		o.Hosts = append(o.Hosts, h)
	}
	return o
}
