package explain

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/postern-project/postern/internal/chain"
	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/refusal"
)

// A Standing is what an authority's ledger says of a certificate.
type Standing struct {
	// Ours says that an issuer of the authority signed it.
	Ours bool
	// Issued is zero when the ledger holds no such certificate.
	Issued time.Time
	// Revoked is zero for a certificate that was not; Reason says why it was.
	Revoked time.Time
	Reason  string
	// SuspendedBy is the suspended name, the certificate's or one above it; zero
	// for none.
	SuspendedBy identity.Name
}

const ledgerTitle = "ledger"

// ledgerSteps tells what the ledger says of the leaf among certs. About a
// certificate of another authority without a spiffe:// name there is nothing
// to say.
func ledgerSteps(certs []*x509.Certificate, o Options) []chain.Step {
	i := slices.IndexFunc(certs, isLeaf)
	if i < 0 {
		return nil
	}
	c := certs[i]
	id, idErr := identity.FromURIs(c.URIs)
	var s Standing
	why := ""
	if o.Ledger != nil {
		var err error
		if s, err = o.Ledger(c); err != nil {
			why = " (" + chain.Printable(err.Error()) + ")"
		}
	}
	switch {
	case s.Ours || !s.Issued.IsZero():
		return []chain.Step{standing(s, id.Name())}
	case idErr != nil:
		return nil
	}
	return []chain.Step{note(ledgerTitle, "not asked"+why+"; only the server knows whether it was revoked")}
}

func standing(s Standing, n identity.Name) chain.Step {
	step := chain.Step{Title: ledgerTitle}
	switch {
	case s.Issued.IsZero():
		step.Code, step.Detail = refusal.NotInLedger, "the ledger holds no such certificate: it was not issued here"
		step.Remedy = "The signature is real: unless the ledger was put back to an earlier state, somebody else holds the issuer's key. Treat it as stolen: replace the issuer and keep this file as evidence."
	case !s.Revoked.IsZero():
		step.Code, step.Detail = refusal.Revoked, fmt.Sprintf("revoked on %s (%s)", chain.When(s.Revoked), s.Reason)
		step.Remedy = fmt.Sprintf("To let it in again, invite it: 'postern invite %s'.", cmp.Or(n.String(), "NAME"))
	case !s.SuspendedBy.IsZero():
		step.Code, step.Detail = refusal.Suspended, fmt.Sprintf("issued on %s, and %s is suspended", chain.When(s.Issued), s.SuspendedBy)
		step.Remedy = fill(refusal.Lookup(refusal.Suspended).OperatorRemedy, s.SuspendedBy.String(), "")
	default:
		return good(ledgerTitle, "issued on "+chain.When(s.Issued)+", not revoked")
	}
	return step
}

// unasked reports whether some step says that the ledger was not asked.
func unasked(steps []chain.Step) bool {
	return slices.ContainsFunc(steps, func(s chain.Step) bool {
		return s.Title == ledgerTitle && s.Warning || unasked(s.Children)
	})
}
