package gateway

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/postern-project/postern/internal/refusal"
)

// A Refused is the record of one refusal, as the operator will see it.
type Refused struct {
	Reference refusal.Reference `json:"reference,omitzero"`
	Time      time.Time         `json:"time"`
	Code      refusal.Code      `json:"code"`
	// Detail says what exactly was wrong, for the operator.
	Detail string `json:"detail,omitzero"`
	Site   string `json:"site,omitzero"`
	Host   string `json:"host,omitzero"`
	Method string `json:"method,omitzero"`
	Path   string `json:"path,omitzero"`
	// Audit says that it was let in all the same, in audit mode.
	Audit   bool   `json:"audit,omitzero"`
	Address string `json:"address,omitzero"`
	// Client is what the certificate that was shown says.
	Client Shown `json:"client,omitzero"`
	// Suppressed counts the refusals with the same code from the same
	// network that were not written since the last one that was.
	Suppressed int `json:"suppressed,omitzero"`
}

// A Shown is what a refused client's certificate says. None of it need be
// true: anybody can write a certificate.
type Shown struct {
	Name        string    `json:"name,omitzero"`
	Claims      string    `json:"claims,omitzero"` // the whole URI, when the ledger does not bear out Name
	Serial      string    `json:"serial,omitzero"`
	Subject     string    `json:"subject,omitzero"`
	Issuer      string    `json:"issuer,omitzero"`
	IssuerKeyID string    `json:"issuer_key_id,omitzero"`
	NotBefore   time.Time `json:"not_before,omitzero"`
	NotAfter    time.Time `json:"not_after,omitzero"`
}

// Bounds of a record's fields, in bytes: what identifies, and what explains.
const (
	maxField  = 512
	maxDetail = 2048
)

// presentable returns r with every text of it safe to show on a terminal.
func (r Refused) presentable() Refused {
	r.Detail = presentable(r.Detail, maxDetail)
	for _, s := range []*string{
		(*string)(&r.Code), &r.Site, &r.Host, &r.Method, &r.Path, &r.Address, &r.Client.Name, &r.Client.Claims,
		&r.Client.Serial, &r.Client.Subject, &r.Client.Issuer, &r.Client.IssuerKeyID,
	} {
		*s = presentable(*s, maxField)
	}
	return r
}

// presentable escapes what is not printable and shortens what is too long.
func presentable(s string, limit int) string {
	long := len(s) > limit
	if long {
		for limit > 0 && !utf8.RuneStart(s[limit]) {
			limit--
		}
		s = s[:limit]
	}
	if strings.IndexFunc(s, unprintable) >= 0 {
		quoted := strconv.Quote(s)
		s = strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
	}
	if long {
		s += "…"
	}
	return s
}

func unprintable(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }

// A ring holds the newest records.
type ring struct {
	records []Refused
	next    int
}

func newRing(size int) ring { return ring{records: make([]Refused, 0, size)} }

func (r *ring) add(rec Refused) {
	if len(r.records) < cap(r.records) {
		r.records = append(r.records, rec)
		return
	}
	r.records[r.next] = rec
	r.next = (r.next + 1) % len(r.records)
}

func (r *ring) find(ref refusal.Reference) (Refused, bool) { return findIn(r.records, ref) }

func findIn(list []Refused, ref refusal.Reference) (Refused, bool) {
	i := slices.IndexFunc(list, func(r Refused) bool { return r.Reference == ref })
	if i < 0 {
		return Refused{}, false
	}
	return list[i], true
}
