package gateway

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/postern-project/postern/internal/partner"
	"github.com/postern-project/postern/internal/refusal"
	"github.com/postern-project/postern/internal/rule"
)

// The header fields by which an upstream learns of a partner's certificate:
// under which name the site trusts the authority, the certificate's serial
// number in hexadecimal, and the SHA-256 of its key. Partners choose their own
// serial numbers, so those say something only together with the partner.
const (
	headerPartner       = "X-Postern-Partner"
	headerPartnerSerial = "X-Postern-Partner-Serial"
	headerPartnerKey    = "X-Postern-Partner-Key"
)

// A Partner is the member of a foreign authority that a request speaks for. It
// is never an enrolled identity. The zero Partner is nobody.
type Partner struct {
	Name        rule.Partner
	Certificate *x509.Certificate
}

// serial returns the certificate's serial number in hexadecimal.
func (p Partner) serial() string { return p.Certificate.SerialNumber.Text(16) }

// PartnerOf returns the partner's member that r speaks for, and false for
// anybody else.
func PartnerOf(r *http.Request) (Partner, bool) {
	x := exchangeOf(r.Context())
	if x == nil || x.client.Partner.Name.IsZero() {
		return Partner{}, false
	}
	return x.client.Partner, true
}

// An acquaintance is what a connection's chain comes to under the foreign
// authorities of its door, as they are at one moment.
type acquaintance struct {
	checkers     []*partner.Checker
	verdict      verdict
	since, until time.Time
}

// foreign reports whether a chain that came to code may be a partner's: it does
// not lead to any authority of ours.
func foreign(code refusal.Code) bool {
	return code == refusal.UnknownIssuer || code == refusal.BadChain || code == refusal.SelfSigned
}

// introduce judges a chain that is not of our authorities by those that the
// door trusts besides. own is the verdict without them.
func (g *Gateway) introduce(c *conn, own verdict, now time.Time) verdict {
	d := g.table.Load().of(c)
	if d == nil || len(d.site.Partners) == 0 || d.stealthy() {
		return own
	}
	if a := c.partner.Load(); a != nil && slices.Equal(a.checkers, d.site.Partners) && !now.Before(a.since) && now.Before(a.until) {
		return a.verdict
	}
	a := &acquaintance{checkers: d.site.Partners, verdict: own, until: now.Add(unforgiving)}
	for _, checker := range d.site.Partners {
		j := checker.Judge(c.presented, now)
		if !j.Known {
			continue
		}
		a.since, a.until = j.Since, j.Until
		a.verdict = verdict{code: j.Code, detail: j.Detail}
		if j.Code == "" {
			a.verdict.client.Partner = Partner{checker.Name(), c.presented[0]}
			break
		}
	}
	c.partner.Store(a)
	return a.verdict
}

// hints returns what clients of d are told to choose a certificate by.
func (d *door) hints() *x509.CertPool {
	if len(d.site.Partners) == 0 {
		return d.trust.hints
	}
	pool := d.trust.hints.Clone()
	for _, checker := range d.site.Partners {
		for _, root := range checker.Roots() {
			pool.AddCert(root)
		}
	}
	return pool
}

// setPartner writes the gateway's own fields about a partner into h, which
// stripRequest has cleaned.
func setPartner(h http.Header, p Partner) {
	if p.Name.IsZero() {
		return
	}
	key := sha256.Sum256(p.Certificate.RawSubjectPublicKeyInfo)
	h[headerPartner] = []string{p.Name.String()}
	h[headerPartnerSerial] = []string{p.serial()}
	h[headerPartnerKey] = []string{hex.EncodeToString(key[:])}
}

// partnerAttrs tell of a partner in the access log.
func partnerAttrs(p Partner) []slog.Attr {
	if p.Name.IsZero() {
		return nil
	}
	return []slog.Attr{
		slog.String("partner", p.Name.String()), slog.String("partner_serial", p.serial()), slog.String("partner_subject", clip(p.Certificate.Subject.String())),
	}
}
