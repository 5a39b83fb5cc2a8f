package acme

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"slices"
	"time"

	"github.com/postern-project/postern/internal/authority"
)

// newToken returns a challenge's token: 256 random bits (RFC 8555 section 8.1
// asks for 128).
func newToken() string {
	var b [32]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// standing is an authorization's status now.
func (s *Server) standing(a authority.ACMEAuthorization) string {
	if (a.Status == statusPending || a.Status == statusValid) && !s.now().Before(a.Expires) {
		if a.Status == statusPending {
			return statusInvalid
		}
		return statusExpired
	}
	return a.Status
}

func (s *Server) ownAuthorization(c *call) (kept[authority.ACMEAuthorization], error) {
	a, err := load[authority.ACMEAuthorization](c.Context(), s, authority.ACMEKindAuthorization, c.PathValue("id"))
	switch {
	case isNotFound(err):
		return a, problem(malformed, "there is no such authorization").status(http.StatusNotFound)
	case err != nil:
		return a, fault(err)
	case a.Doc.Account != c.account.ID:
		return a, problem(unauthorized, "the authorization belongs to another account")
	}
	return a, nil
}

// authorization shows an authorization, or ends it (RFC 8555 sections 7.5 and
// 7.5.2).
func (s *Server) authorization(c *call) error {
	a, err := s.ownAuthorization(c)
	if err != nil {
		return err
	}
	if !c.asGet() {
		var q struct {
			Status string `json:"status"`
		}
		if err := c.payload(&q); err != nil {
			return err
		}
		if q.Status != statusDeactivated {
			return problem(malformed, "an authorization becomes %q only", statusDeactivated)
		}
		if a.Doc.Status == statusPending || a.Doc.Status == statusValid {
			a.Doc.Status, a.Doc.Evidence = statusDeactivated, nil
			if err := s.write(c.Context(), a); err != nil {
				return err
			}
		}
	}
	s.resume(c, a)
	return c.answer(http.StatusOK, c.authorizationObject(a.Doc))
}

// authorizationObject is an authorization as RFC 8555 section 7.1.4 has it.
func (c *call) authorizationObject(a authority.ACMEAuthorization) map[string]any {
	status := c.s.standing(a)
	v := map[string]any{"identifier": a.Identifier, "status": status, "expires": a.Expires.Format(time.RFC3339)}
	if a.Wildcard {
		v["wildcard"] = true
	}
	challenges := []map[string]any{}
	for _, ch := range a.Challenges {
		// once one is tried, the others are of no use
		if status != statusPending && ch.Status == statusPending && status != statusDeactivated {
			continue
		}
		challenges = append(challenges, c.challengeObject(a, ch))
	}
	v["challenges"] = challenges
	if slices.ContainsFunc(a.Challenges, func(ch authority.ACMEChallenge) bool { return ch.Status == statusProcessing }) && status == statusPending {
		c.w.Header().Set("Retry-After", "1")
	}
	return v
}

// challengeObject is a challenge as RFC 8555 section 8 has it.
func (c *call) challengeObject(a authority.ACMEAuthorization, ch authority.ACMEChallenge) map[string]any {
	v := map[string]any{"type": ch.Type, "url": c.url("challenge", a.ID, ch.Type), "status": ch.Status, "token": ch.Token}
	if !ch.Validated.IsZero() {
		v["validated"] = ch.Validated.Format(time.RFC3339)
	}
	if ch.Error != nil {
		v["error"] = ch.Error
	}
	return v
}

// challenge shows a challenge, or has it validated (RFC 8555 section 7.5.1).
func (s *Server) challenge(c *call) error {
	a, err := s.ownAuthorization(c)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(a.Doc.Challenges, func(ch authority.ACMEChallenge) bool { return ch.Type == c.PathValue("type") })
	if i < 0 {
		return problem(malformed, "the authorization has no such challenge").status(http.StatusNotFound)
	}
	if !c.asGet() {
		if err := c.payload(&map[string]any{}); err != nil {
			return err
		}
		if s.standing(a.Doc) == statusPending {
			if a, err = s.respond(c, a, i); err != nil {
				return err
			}
		}
	}
	ch := a.Doc.Challenges[i]
	if ch.Status == statusProcessing {
		c.w.Header().Set("Retry-After", "1")
	}
	c.w.Header().Add("Link", "<"+c.url("authorization", a.Doc.ID)+`>;rel="up"`)
	return c.answer(http.StatusOK, c.challengeObject(a.Doc, ch))
}

// respond begins the validation and waits a little for its end.
func (s *Server) respond(c *call, a kept[authority.ACMEAuthorization], i int) (kept[authority.ACMEAuthorization], error) {
	f, err := s.take(c, a, i)
	if err != nil {
		return a, err
	}
	patience := time.NewTimer(s.patience)
	defer patience.Stop()
	select {
	case <-f.done:
		if f.read.Doc.Status != statusPending {
			return f.read, nil
		}
	case <-patience.C:
		f.slow(c.Context())
	case <-c.Context().Done():
	}
	now, err := load[authority.ACMEAuthorization](c.Context(), s, authority.ACMEKindAuthorization, a.Doc.ID)
	if err != nil {
		return a, fault(err)
	}
	if now.Doc.Status == statusPending { // not kept yet, and begun
		now.Doc.Challenges[i].Status = statusProcessing
	}
	return now, nil
}

// resume goes on with a validation that a restart has cut off.
func (s *Server) resume(c *call, a kept[authority.ACMEAuthorization]) {
	if s.standing(a.Doc) != statusPending {
		return
	}
	for i, ch := range a.Doc.Challenges {
		if ch.Status == statusProcessing {
			if _, err := s.take(c, a, i); err != nil {
				s.log.Warn("validation not resumed", "authorization", a.Doc.ID, "err", err)
			}
			return
		}
	}
}
