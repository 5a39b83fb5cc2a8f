package acme

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/permit"
)

// parseCertID reads the identifier of a certificate (RFC 9773 section 4.1): the
// issuer's key identifier and the serial number.
func parseCertID(id string) (aki []byte, serial ledger.Serial, err error) {
	left, right, ok := strings.Cut(id, ".")
	wrong := problem(malformed, "%.100q is no identifier of a certificate, RFC 9773 section 4.1", id)
	if !ok || len(id) > 200 {
		return nil, serial, wrong
	}
	aki, err = base64.RawURLEncoding.Strict().DecodeString(left)
	if err != nil || len(aki) == 0 {
		return nil, serial, wrong
	}
	number, err := base64.RawURLEncoding.Strict().DecodeString(right)
	if err != nil || len(number) == 0 || number[0]&0x80 != 0 || number[0] == 0 && (len(number) == 1 || number[1]&0x80 == 0) {
		return nil, serial, wrong // not as DER has it
	}
	if serial, err = ledger.SerialFromBytes(number); err != nil {
		return nil, serial, wrong
	}
	return aki, serial, nil
}

// askAgain is when a client looks at renewal information again.
const askAgain = 6 * time.Hour

// renewalInfo tells when to renew (RFC 9773 section 4.2): in the last third of
// the lifetime, and at once when the certificate is no good any more or its
// issuer has a successor.
func (s *Server) renewalInfo(c *call) error {
	aki, serial, err := parseCertID(c.PathValue("id"))
	if err != nil {
		return err
	}
	r, err := s.authority.ACMERenewal(c.Context(), aki, serial)
	if err != nil {
		return fromAuthority(err)
	}
	start, end := renewalWindow(r, s.now())
	c.w.Header().Set("Retry-After", strconv.Itoa(seconds(askAgain)))
	return c.answer(http.StatusOK, map[string]any{"suggestedWindow": map[string]string{
		"start": start.UTC().Format(time.RFC3339), "end": end.UTC().Format(time.RFC3339),
	}})
}

// renewalWindow returns the time to renew in.
func renewalWindow(r authority.ACMERenewal, now time.Time) (start, end time.Time) {
	life := r.NotAfter.Sub(r.NotBefore)
	if r.Hurry != "" {
		return now.Add(-time.Hour), now.Add(-time.Minute)
	}
	start = r.NotBefore.Add(life * 2 / 3)
	return start, start.Add(life / 12)
}

// replaced checks which certificate an order says that it replaces: one of the
// same account, for a host of the order, that no other order has replaced (RFC
// 9773 section 5).
func (s *Server) replaced(c *call, id string, hosts []permit.Host) (string, error) {
	if id == "" {
		return "", nil
	}
	aki, serial, err := parseCertID(id)
	if err != nil {
		return "", err
	}
	r, err := s.authority.ACMERenewal(c.Context(), aki, serial)
	if err != nil {
		return "", fromAuthority(err)
	}
	if r.Account != c.account.ID {
		return "", problem(unauthorized, "the certificate that is to be replaced is another account's")
	}
	if !slices.ContainsFunc(hosts, func(h permit.Host) bool { return slices.Contains(r.Hosts, identifier(h)) }) {
		return "", problem(malformed, "the order has no host of the certificate that it is to replace")
	}
	_, err = find[authority.ACMEOrder](c.Context(), s, authority.ACMEKindOrder, id)
	switch {
	case err == nil:
		return "", problem(alreadyReplaced, "another order has replaced that certificate")
	case !isNotFound(err):
		return "", fault(err)
	}
	return id, nil
}
