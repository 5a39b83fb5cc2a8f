package explain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/postern-project/postern/internal/chain"
	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/refusal"
)

// passed says, for the causes that come before others, what held when the
// cause was not found.
var passed = map[refusal.Code]string{
	refusal.UnknownHost:      "the host is one of this gateway's sites",
	refusal.Misdirected:      "the request is for the site of its connection",
	refusal.BadRequest:       "the request follows the rules of HTTP",
	refusal.AmbiguousPath:    "the path can be read in one way only",
	refusal.NoCertificate:    "a certificate was shown",
	refusal.BadCertificate:   "the certificate can be read",
	refusal.SelfSigned:       "it is not signed by itself",
	refusal.UnknownIssuer:    "its issuer is known",
	refusal.BadChain:         "its chain leads to the root without a break",
	refusal.WrongPurpose:     "it is a client's certificate",
	refusal.NotYetValid:      "it has begun",
	refusal.Expired:          "it has not ended",
	refusal.StaleRoster:      "the ledger is complete here",
	refusal.IssuerDistrusted: "its issuer is trusted",
	refusal.NotInLedger:      "the ledger says that it was issued",
	refusal.Revoked:          "it is not revoked",
	refusal.Suspended:        "its name is not suspended",
	refusal.NoIdentity:       "it names somebody in this trust domain",
	refusal.NotOnList:        "the name is on the site's list",
	refusal.Condition:        "the condition holds",
}

// alone are the causes that say nothing about the others.
var alone = []refusal.Code{refusal.HandshakeAbandoned, refusal.NotConfigured, refusal.MethodNotServed, refusal.OriginNotAllowed, refusal.RateLimited, refusal.RevocationUnknown,
	refusal.PlainHTTP, refusal.OldTLS, refusal.HeaderTooLarge, refusal.NotEnrolled}

// Refusal tells a recorded refusal: what was seen, the checks in their order
// up to the one that failed, and the remedy.
func Refusal(rec Record) Report {
	info := refusal.Lookup(rec.Code)
	name := rec.Name
	if rec.Claims != "" {
		name = "" // whoever made the certificate chose it
	}
	steps := []chain.Step{seen(rec)}
	for _, earlier := range before(rec) {
		steps = append(steps, good(passed[earlier], ""))
	}
	steps = append(steps, chain.Step{
		Title: string(rec.Code), Code: rec.Code, Remedy: fill(info.OperatorRemedy, name, rec.Serial),
		Detail: info.Sentence + dash(rec.Detail),
	})
	return report(fmt.Sprintf("refusal %s: %s", rec.Reference, info.Title), steps)
}

// fill puts what is known into the commands of a remedy. What could mean
// anything to a shell stays out.
func fill(remedy, name, serial string) string {
	if n, err := identity.ParseName(name); err == nil {
		remedy = strings.NewReplacer("NAME/DEVICE'", n.String()+"'", " NAME'", " "+n.String()+"'").Replace(remedy)
	}
	if s, err := ledger.ParseSerial(serial); err == nil {
		remedy = strings.ReplaceAll(remedy, " SERIAL'", " "+s.String()+"'")
	}
	return remedy
}

func dash(detail string) string {
	if detail == "" {
		return ""
	}
	return " Seen: " + chain.Printable(detail)
}

// before returns the causes that were looked for before rec's and not found.
// Without a certificate nothing is said about one.
func before(rec Record) []refusal.Code {
	if slices.Contains(alone, rec.Code) {
		return nil
	}
	bare := rec.Serial == "" && rec.Subject == ""
	var codes []refusal.Code
	about := false // the certificate
	for _, i := range refusal.All() {
		if i.Code == rec.Code {
			return codes
		}
		about = about || i.Code == refusal.NoCertificate
		if passed[i.Code] != "" && !(bare && about && afterCertificate(rec.Code)) {
			codes = append(codes, i.Code)
		}
	}
	return nil
}

// afterCertificate reports whether the cause can be met without a certificate
// although it is looked for after those about one.
func afterCertificate(c refusal.Code) bool {
	return c == refusal.Condition || c == refusal.UpstreamDown || c == refusal.UpstreamTimeout
}

// seen tells who asked for what.
func seen(rec Record) chain.Step {
	var facts []chain.Step
	add := func(title, detail string) {
		if detail != "" {
			facts = append(facts, good(title, chain.Printable(detail)))
		}
	}
	if !rec.Time.IsZero() {
		add("time", rec.Time.UTC().Format("2006-01-02 15:04:05 UTC"))
	}
	add("site", cmp.Or(rec.Site, rec.Host))
	if rec.Method != "" {
		add("request", rec.Method+" "+rec.Path)
	}
	add("from", rec.Address)
	if rec.Audit {
		add("let in all the same", "that part of the site is in audit mode")
	}
	if rec.Claims != "" {
		add("claims", rec.Claims)
	} else {
		add("name", rec.Name)
	}
	add("subject", rec.Subject)
	add("serial", rec.Serial)
	add("issuer", rec.Issuer)
	add("issuer's key id", rec.IssuerKeyID)
	if !rec.NotAfter.IsZero() {
		add("ends", chain.When(rec.NotAfter))
	}
	return group("what was seen", "", facts...)
}
