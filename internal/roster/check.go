package roster

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/refusal"
)

// backdating is how far before its signing a certificate begins, so one from
// the first minute after a lost entry begins before it. A certificate's dates
// are in whole seconds, so it may be one more.
const backdating = time.Minute + time.Second

// A Verdict is what the ledger says of a certificate. The zero Code means
// that it is good; Name and Profile are set whenever the ledger holds it.
type Verdict struct {
	Code    refusal.Code
	Name    identity.Name
	Profile string
	// Alarm marks what means theft.
	Alarm bool
	// Detail says more to the operator.
	Detail string
}

// KeyIDOf returns the key id under which c is known as an issuer.
func KeyIDOf(c *x509.Certificate) ledger.KeyID { return sha256.Sum256(c.RawSubjectPublicKeyInfo) }

// RefOf returns the ref of leaf, whose signature by issuer was checked.
func RefOf(leaf, issuer *x509.Certificate) (ledger.Ref, error) {
	if leaf.SerialNumber.Sign() <= 0 {
		return ledger.Ref{}, fmt.Errorf("serial number %s is not positive", leaf.SerialNumber)
	}
	serial, err := ledger.SerialFromBytes(leaf.SerialNumber.Bytes())
	if err != nil {
		return ledger.Ref{}, err
	}
	return ledger.Ref{Issuer: KeyIDOf(issuer), Serial: serial, TBS: sha256.Sum256(leaf.RawTBSCertificate)}, nil
}

// Check returns the ledger's verdict on the certificate that ref names and
// that begins at notBefore. Causes are looked for in the order ledger,
// distrust, revoked, suspended.
func (r *Roster) Check(ref ledger.Ref, notBefore time.Time) Verdict {
	if !r.ready.Load() {
		return Verdict{Code: refusal.StaleRoster, Detail: "this server does not have the ledger in full"}
	}
	t := r.trust.Load()
	issuer, ok := t.byKey[ref.Issuer]
	if !ok {
		return t.unrecorded(ref, notBefore, nil)
	}
	item, c, ok := r.certificates.find(issuer, ref.Serial)
	if !ok {
		return t.unrecorded(ref, notBefore, &t.issuers[issuer])
	}
	if c.tbs != ref.TBS {
		return forged(ref, &t.issuers[issuer], "the ledger holds another certificate with serial number %s by issuer %s")
	}
	v := Verdict{Name: r.names.nodes.at(c.name).name, Profile: r.words.at(c.profile)}
	m := mark(c.mark.Load())
	if m == 0 {
		m, _ = r.names.withdrawal(c.name, item)
	}
	switch {
	case m.void():
		v.Code, v.Alarm = refusal.IssuerDistrusted, true
		v.Detail = fmt.Sprintf("it was recorded after its issuer %s had been distrusted", t.issuers[issuer].Name)
		return v
	case m.revoked():
		v.Code = refusal.Revoked
		v.Detail = fmt.Sprintf("revoked on %s: %s", m.day().Format(time.DateOnly), m.reason())
		return v
	}
	if name, ok := r.names.suspender(c.name); ok {
		v.Code, v.Detail = refusal.Suspended, name.String()+" is suspended"
	}
	return v
}

// unrecorded is the verdict on a certificate whose number the ledger has never
// given out. The issuer is nil when the ledger does not know it either.
func (t *trust) unrecorded(ref ledger.Ref, notBefore time.Time, issuer *Issuer) Verdict {
	for _, l := range t.lost {
		distrusted := issuer != nil && issuer.Distrusted
		if !distrusted && !notBefore.Before(l.from.Add(-backdating)) && !notBefore.After(l.to) {
			return Verdict{Code: refusal.StaleRoster, Detail: fmt.Sprintf("it begins %s, in the part of the ledger that was lost between %s and %s",
				notBefore.UTC().Format(time.RFC3339), l.from.Format(time.RFC3339), l.to.Format(time.RFC3339))}
		}
	}
	if issuer == nil {
		return Verdict{Code: refusal.NotInLedger, Alarm: true, Detail: fmt.Sprintf("its issuer, with key id %s, was never added to the ledger", ref.Issuer)}
	}
	return forged(ref, issuer, "the ledger holds no certificate with serial number %s by issuer %s")
}

// forged is the verdict on a certificate that somebody else made with the
// issuer's key.
func forged(ref ledger.Ref, issuer *Issuer, detail string) Verdict {
	v := Verdict{Code: refusal.NotInLedger, Alarm: true, Detail: fmt.Sprintf(detail, ref.Serial, issuer.Name)}
	if issuer.Distrusted {
		v.Code = refusal.IssuerDistrusted
		v.Detail += ", from before that issuer was distrusted"
	}
	return v
}
