package authority

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/refusal"
	"github.com/postern-project/postern/internal/store"
)

// Renew certifies a new key for the holder of a certificate: same name, same
// profile, same hosts. The holder proves by the old key that they want that;
// where they cannot, as in a browser, the gateway's word is enough for what the
// policy names, once and when it is time. A certificate that was revoked, or
// whose successor was, is not renewed, nor is one of a suspended name, nor one
// that has expired unless the policy gives it time.
//
// What the old certificate says is taken from the roster and from the
// certificate itself, whose hash is in the ledger: a changed row in a table
// gives nobody another name.
func (s *Service) Renew(ctx context.Context, r RenewRequest) (Issued, error) {
	old, err := s.store.CertificateByRef(ctx, r.Ref)
	if err != nil {
		return Issued{}, notFound(err, unknownSerial(r.Ref.Serial))
	}
	if err := s.renewable(old); err != nil {
		return Issued{}, err
	}
	want := decision{name: old.Name, profile: old.Profile, spki: r.PublicKey, via: viaRenew, from: r.Ref}
	if len(r.Proof) == 0 {
		want.via = viaUnproven
		err = s.unproven(old)
	} else {
		err = s.proved(ctx, old, r)
	}
	if err != nil {
		return Issued{}, err
	}
	if want.dns, want.ips, err = s.hostsOf(ctx, old); err != nil {
		return Issued{}, err
	}
	d, err := s.draft(want)
	if err != nil {
		return Issued{}, err
	}
	var before *store.CertificateRow // what was made of old without a proof; nil for nothing
	err = s.update(ctx, func(tx *store.Tx) error {
		// Read again: a revocation may have come in between.
		old, err := tx.CertificateByRef(ctx, r.Ref)
		if err != nil {
			return notFound(err, unknownSerial(r.Ref.Serial))
		}
		if err := s.renewable(old); err != nil {
			return err
		}
		newer, err := newerThan(ctx, tx, old)
		if err != nil {
			return err
		}
		if err := noSuccessorRevoked(newer, old); err != nil {
			return err
		}
		if err := s.unhurried(ctx, tx, old.Name, renewalsPerHour, viaRenew, viaUnproven); err != nil {
			return err
		}
		if want.via == viaUnproven {
			if before = unprovenBefore(newer, old); before != nil {
				return nil
			}
		}
		return d.record(ctx, tx)
	})
	switch {
	case err != nil:
		return Issued{}, err
	case before != nil:
		return s.onceMore(ctx, *before, r.PublicKey)
	}
	return s.finish(ctx, d)
}

// proved checks the holder's own word for a renewal, by the key in the copy of
// the certificate whose hash the ledger holds.
func (s *Service) proved(ctx context.Context, old store.CertificateRow, r RenewRequest) error {
	c, _, err := s.kept(ctx, old.TBS)
	if err != nil {
		return notFound(err, refuse(CodeNotFound, inviteAnew, "no copy of certificate %s is kept", old.Serial))
	}
	if err := invite.CheckRenewal(c, r.PublicKey, r.Proof); err != nil {
		return refuse(CodeBadRequest, "'postern renew' proves it", "certificate %s is not renewed: %v", old.Serial, err)
	}
	return nil
}

// unproven refuses to renew a certificate on nobody's word but the gateway's,
// unless it is one that a browser may hold, and its time has come: whoever
// takes a gateway over could have their own key certified like that.
func (s *Service) unproven(old store.CertificateRow) error {
	if !slices.Contains(s.policy.Load().RenewUnproven, old.Profile) {
		return refuse(CodeForbidden, "'postern renew' proves it by the old key", "a certificate of the profile %s is not renewed without a proof by its key", old.Profile)
	}
	if from := invite.DueFrom(old.NotBefore, old.NotAfter); s.now().Before(from) {
		return refuse(CodeNotYet, "wait until then, or use 'postern renew', which proves it by the old key",
			"without a proof by its key certificate %s can be renewed from %s on", old.Serial, from.UTC().Format(time.DateOnly))
	}
	return nil
}

// unprovenBefore returns what was made of a certificate without a proof, among
// those that are newer, or nil: that happens once.
func unprovenBefore(newer []store.CertificateRow, old store.CertificateRow) *store.CertificateRow {
	for i, row := range newer {
		if row.Via == viaUnproven && row.RenewedFrom == old.Ref {
			return &newer[i]
		}
	}
	return nil
}

// onceMore gives whoever lost an answer the same one, if it is for the same
// key.
func (s *Service) onceMore(ctx context.Context, row store.CertificateRow, spki []byte) (Issued, error) {
	if row.Key != sha256.Sum256(spki) || s.now().After(row.IssuedAt.Add(answerAgain)) {
		return Issued{}, refuse(CodeSpent, inviteAnew, "certificate %s was renewed without a proof by its key before, and that is done once", row.RenewedFrom.Serial)
	}
	return s.recorded(ctx, row.TBS)
}

const inviteAnew = "ask for a new invitation"

// renewable judges the old certificate by its row, which is up to date, and by
// the roster, which nobody can write to.
func (s *Service) renewable(c store.CertificateRow) error {
	v := s.roster.Check(c.Ref, c.NotBefore)
	switch {
	case c.Revoked || v.Code == refusal.Revoked:
		return refuse(CodeRevoked, inviteAnew, "certificate %s was revoked and is not renewed", c.Serial)
	case v.Code == refusal.Suspended:
		return refuse(CodeSuspended, "'postern reinstate' ends a suspension", "%s is suspended", c.Name)
	case v.Code != "":
		return fmt.Errorf("certificate %s is not renewed: the roster says %s", c.Serial, v.Code)
	case v.Name != c.Name || v.Profile != c.Profile:
		return fmt.Errorf("certificate %s is not renewed: its row is not what the ledger says: 'postern ledger verify' shows what is damaged", c.Serial)
	case !s.now().Before(c.NotAfter) && s.lapsable(c):
		return nil
	case !s.now().Before(c.NotAfter):
		return refuse(CodeExpired, inviteAnew, "certificate %s expired on %s and is not renewed", c.Serial, c.NotAfter.Format(time.DateOnly))
	}
	return nil
}

// lapsable reports whether a certificate that has ended may be renewed still:
// for a while, if the policy says so, and unless its issuer is distrusted.
func (s *Service) lapsable(c store.CertificateRow) bool {
	if !s.now().Before(c.NotAfter.Add(s.policy.Load().RenewExpired)) {
		return false
	}
	issuer, ok := s.roster.Issuer(c.Ref.Issuer)
	return !ok || !issuer.Distrusted
}

// hostsOf returns the hosts of a certificate by its kept copy.
func (s *Service) hostsOf(ctx context.Context, old store.CertificateRow) (dns []string, ips []netip.Addr, err error) {
	if len(old.DNSNames)+len(old.IPs) == 0 {
		return nil, nil, nil
	}
	c, _, err := s.kept(ctx, old.TBS)
	if err != nil {
		return nil, nil, notFound(err, refuse(CodeNotFound, "use 'postern issue'", "no copy of certificate %s is kept", old.Serial))
	}
	return c.DNSNames, addrs(c.IPAddresses), nil
}

// renewalsPerHour bounds what one name can add to the ledger by itself. Many
// machines that share a name renew at times of their own choosing.
const renewalsPerHour = 60

// unhurried refuses a name that was issued as many certificates within the last
// hour, by these doors, as there may be.
func (s *Service) unhurried(ctx context.Context, tx *store.Tx, n identity.Name, most int, doors ...string) error {
	recent, since := 0, s.now().Add(-time.Hour)
	for row, err := range tx.Certificates(ctx, store.Filter{Name: n, Limit: 4 * most}) { // newest first
		if err != nil {
			return err
		}
		if row.IssuedAt.Before(since) {
			break
		}
		if slices.Contains(doors, row.Via) {
			recent++
		}
	}
	if recent >= most {
		return refuse(CodeRateLimited, "wait an hour", "%s was issued %d certificates within an hour", n, recent)
	}
	return nil
}

// newerThan returns what the name of a certificate was issued since, newest
// first.
func newerThan(ctx context.Context, tx *store.Tx, old store.CertificateRow) (newer []store.CertificateRow, err error) {
	for row, err := range tx.Certificates(ctx, store.Filter{Name: old.Name}) {
		if err != nil {
			return nil, err
		}
		if row.Seq <= old.Seq {
			break
		}
		newer = append(newer, row)
	}
	return newer, nil
}

// noSuccessorRevoked refuses a certificate from which one was renewed, among
// those that are newer, that is revoked: its holder's access was meant to end,
// whichever generation they still have. What was revoked earlier took its
// successors along.
func noSuccessorRevoked(newer []store.CertificateRow, old store.CertificateRow) error {
	line := map[ledger.Ref]bool{old.Ref: true}
	for _, row := range slices.Backward(newer) {
		if !line[row.RenewedFrom] {
			continue
		}
		if row.Revoked {
			return refuse(CodeRevoked, inviteAnew, "certificate %s, renewed from %s, was revoked", row.Serial, old.Serial)
		}
		line[row.Ref] = true
	}
	return nil
}
