package acme

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/authority"
)

// A taken is an ACME server in the hands of an attacker: what it asks of the
// authority is not what its clients have asked for.
type taken struct {
	*authority.Service
	change func(*authority.ACMEIssueRequest)
}

func (t *taken) IssueACME(ctx context.Context, r authority.ACMEIssueRequest) (authority.Issued, error) {
	r.Hosts, r.Evidence = slices.Clone(r.Hosts), slices.Clone(r.Evidence)
	if t.change != nil {
		t.change(&r)
	}
	return t.Service.IssueACME(ctx, r)
}

// Whoever takes the ACME server over gets no certificate that a client has not
// signed for, that nothing was validated for, or that the policy does not allow.
func TestTheAuthorityBelievesNothingThatTheServerSays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	evil := &taken{Service: w.authority}
	w.acme.authority = evil
	c, other := w.account(t, "services/web"), w.account(t, "services/other", "other.test.internal")
	earlier := c.order("web.test.internal")
	c.respond(earlier, "http-01")
	open := func(r *authority.ACMEIssueRequest, account *client) authority.ACMEIssueRequest {
		// what the server has of another account: everything but its key
		q := *r
		q.Account = account.kid[strings.LastIndex(account.kid, "/")+1:]
		q.Key = jwk(t, account.key)
		return q
	}
	for sentence, change := range map[string]func(*authority.ACMEIssueRequest){
		"another host": func(r *authority.ACMEIssueRequest) { r.Hosts[0].Value = "bank.test.internal" },
		"another host, with its evidence": func(r *authority.ACMEIssueRequest) {
			r.Hosts[0].Value, r.Evidence[0].Host.Value = "bank.test.internal", "bank.test.internal"
		},
		"a host more": func(r *authority.ACMEIssueRequest) { r.Hosts = append(r.Hosts, ids("bank.test.internal")...) },
		"no host":     func(r *authority.ACMEIssueRequest) { r.Hosts, r.Evidence = nil, nil },
		"no evidence": func(r *authority.ACMEIssueRequest) { r.Evidence = nil },
		"old evidence": func(r *authority.ACMEIssueRequest) {
			r.Evidence[0].At = time.Now().Add(-authority.MaxEvidenceAge - time.Hour)
		},
		"evidence of tomorrow":             func(r *authority.ACMEIssueRequest) { r.Evidence[0].At = time.Now().Add(24 * time.Hour) },
		"evidence that saw something else": func(r *authority.ACMEIssueRequest) { r.Evidence[0].Seen = "x" },
		"evidence of no challenge":         func(r *authority.ACMEIssueRequest) { r.Evidence[0].Challenge = "none" },
		"evidence with a short token":      func(r *authority.ACMEIssueRequest) { r.Evidence[0].Token = "x" },
		"the same evidence twice":          func(r *authority.ACMEIssueRequest) { r.Evidence = append(r.Evidence, r.Evidence[0]) },
		"another order":                    func(r *authority.ACMEIssueRequest) { r.Order = "order-00000000000000000000" },
		"another account":                  func(r *authority.ACMEIssueRequest) { *r = open(r, other) },
		"another account's identifier":     func(r *authority.ACMEIssueRequest) { r.Account = other.kid[strings.LastIndex(other.kid, "/")+1:] },
		"an account that nobody invited":   func(r *authority.ACMEIssueRequest) { r.Account = "open-0123456789abcdef01234567" },
		"another key":                      func(r *authority.ACMEIssueRequest) { r.Key = jwk(t, newKey(t)) },
		"a profile without a server":       func(r *authority.ACMEIssueRequest) { r.Profile = "device" },
		"a request for another place":      func(r *authority.ACMEIssueRequest) { r.URL = strings.Replace(r.URL, "https://", "https://evil.", 1) },
		"a request of its own": func(r *authority.ACMEIssueRequest) {
			r.Message = c.sign(map[string]any{"alg": "ES256", "nonce": "x", "url": r.URL, "kid": c.kid},
				must(json.Marshal(map[string]string{"csr": b64(c.csr(newKey(t), "web.test.internal"))}))(t), newKey(t))
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			o := c.order("web.test.internal")
			c.respond(o, "http-01")
			evil.change = change
			a := c.finalize(o, c.csr(newKey(t), "web.test.internal"))
			evil.change = nil
			if a.status < 400 || w.issued() != 0 {
				t.Errorf("%d %s: %d certificates", a.status, a.body, w.issued())
			}
		})
	}
	t.Run("the signature for an earlier order", func(t *testing.T) {
		o := c.order("web.test.internal")
		c.respond(o, "http-01")
		evil.change = func(r *authority.ACMEIssueRequest) {
			r.Order = earlier.url[strings.LastIndex(earlier.url, "/")+1:]
		}
		if a := c.finalize(o, c.csr(newKey(t), "web.test.internal")); a.status < 400 || w.issued() != 0 {
			t.Errorf("%d %s", a.status, a.body)
		}
		evil.change = nil
	})
	if a := c.finalize(earlier, c.csr(newKey(t), "web.test.internal")); a.status != 200 || w.issued() != 1 {
		t.Errorf("what was asked for honestly: %d %s", a.status, a.body)
	}
	w.verify()
}
