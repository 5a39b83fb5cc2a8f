package acme

import (
	"context"
	"crypto/subtle"
	"fmt"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/jws"
)

// A query is what one validation has to find out.
type query struct {
	kind  string
	host  authority.ACMEIdentifier // without a wildcard
	token string
	key   jws.Key
}

// A verdict is what one validation has found out. Without a problem the host
// is validated.
type verdict struct {
	attempt authority.ACMEAttempt
	problem *problemError
	address string // that answered
}

// evidence is what the authority is shown.
func (v verdict) evidence(a authority.ACMEAuthorization, ch authority.ACMEChallenge, key jws.Key, at time.Time) *authority.ACMEEvidence {
	host := a.Identifier
	if a.Wildcard {
		host.Value = "*." + host.Value
	}
	return &authority.ACMEEvidence{
		Host: host, Challenge: ch.Type, Token: ch.Token, Key: key.Thumbprint(), Seen: v.attempt.Seen, Address: v.address, At: at,
	}
}

// A trace is the story of one validation for 'postern explain'.
type trace struct{ steps []string }

// maxSteps bounds a story; redirects and addresses have bounds below it.
const maxSteps = 64

func (t *trace) say(format string, args ...any) {
	if len(t.steps) < maxSteps {
		t.steps = append(t.steps, fmt.Sprintf(format, args...))
	}
}

// validate tries once. The answer that is expected and the one that was seen
// go into the attempt.
func (p *served) validate(ctx context.Context, now func() time.Time, q query) verdict {
	t := &trace{}
	v := verdict{attempt: authority.ACMEAttempt{At: now().UTC()}}
	want, err := authority.ExpectedAnswer(q.kind, q.token, q.key.Thumbprint())
	if err != nil {
		v.problem = fault(err)
		return v
	}
	var seen []string
	switch q.kind {
	case "http-01":
		seen, v.address, v.problem = p.askHTTP(ctx, t, q)
	case "dns-01":
		seen, v.problem = p.askDNS(ctx, t, q)
	case "tls-alpn-01":
		seen, v.address, v.problem = p.askTLS(ctx, t, q)
	}
	v.attempt.Expected = want
	if v.problem == nil {
		v.problem = v.compare(want, seen, q)
	}
	v.attempt.Steps, v.attempt.OK = t.steps, v.problem == nil
	return v
}

// maxSeen bounds what is kept of a wrong answer.
const maxSeen = 200

func (v *verdict) compare(want string, seen []string, q query) *problemError {
	for _, s := range seen {
		if subtle.ConstantTimeCompare([]byte(s), []byte(want)) == 1 {
			v.attempt.Seen = s
			return nil
		}
	}
	all := strings.Join(seen, " | ")
	if len(all) > maxSeen {
		all = all[:maxSeen] + "…"
	}
	v.attempt.Seen = strings.ToValidUTF8(all, "?")
	where := map[string]string{
		"http-01": "the file's content", "dns-01": "none of the TXT records", "tls-alpn-01": "the digest in the certificate",
	}[q.kind]
	return problem(incorrectResponse, "%s: %s is the answer to this challenge", q.host.Value, where+" ("+count(len(seen))+")")
}

func count(n int) string {
	if n == 1 {
		return "one was read, and it is another"
	}
	return fmt.Sprintf("%d were read, and each is another", n)
}
