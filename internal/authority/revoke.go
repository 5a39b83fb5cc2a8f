package authority

import (
	"context"
	"slices"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/store"
)

// maxRefs bounds one revoking entry; more certificates take several.
const maxRefs = 1000

// Revoke withdraws certificates and all that was renewed from them; by name,
// those of every name below it as well, and the open invites. All of it
// happens in one transaction, so that a renewal at the same moment is either
// withdrawn with the rest or refused.
func (s *Service) Revoke(ctx context.Context, r RevokeRequest) (Revocation, error) {
	if r.Name.IsZero() == r.Serial.IsZero() {
		return Revocation{}, refuse(CodeBadRequest, "give one of them", "a revocation is of a name or of a serial number")
	}
	if _, err := ledger.ParseReason(r.Reason.String()); err != nil {
		return Revocation{}, badRequest(err)
	}
	var done Revocation
	err := s.update(ctx, func(tx *store.Tx) (err error) {
		if r.Serial.IsZero() {
			done, err = s.revokeName(ctx, tx, r.Name, r.Reason)
		} else {
			done, err = s.revokeSerial(ctx, tx, r.Serial, r.Reason)
		}
		return err
	})
	if err != nil {
		return Revocation{}, err
	}
	for _, c := range done.Certificates {
		s.log.Info("certificate revoked", "id", c.Name, "serial", c.Serial, "reason", r.Reason.String())
	}
	return done, nil
}

func (s *Service) revokeSerial(ctx context.Context, tx *store.Tx, serial ledger.Serial, why ledger.Reason) (Revocation, error) {
	row, err := tx.Certificate(ctx, serial)
	if err != nil {
		return Revocation{}, notFound(err, unknownSerial(serial))
	}
	family, err := tx.Family(ctx, row.Ref)
	if err != nil {
		return Revocation{}, err
	}
	return s.withdraw(ctx, tx, identity.Name{}, family, why)
}

func (s *Service) revokeName(ctx context.Context, tx *store.Tx, n identity.Name, why ledger.Reason) (Revocation, error) {
	if err := known(ctx, tx, n); err != nil {
		return Revocation{}, err
	}
	refs, err := tx.LiveRefs(ctx, n)
	if err != nil {
		return Revocation{}, err
	}
	done, err := s.withdraw(ctx, tx, n, refs, why)
	if err != nil {
		return Revocation{}, err
	}
	invites, err := tx.OpenInvites(ctx, n)
	if err != nil {
		return Revocation{}, err
	}
	for _, i := range invites {
		if err := tx.Append(ledger.InviteCancelled{Code: i.Code}); err != nil {
			return Revocation{}, err
		}
	}
	done.Invites = len(invites)
	if done.ACMEKeys, err = cancelACMEKeys(ctx, tx, n); err != nil {
		return Revocation{}, err
	}
	done.Tokens, err = revokeTokens(ctx, tx, n)
	return done, err
}

// withdraw appends the revocation of refs and returns their records. A whole
// name is revoked by an entry of its own, also when the view lists nothing: it
// ends what the ledger holds and not what a table shows.
func (s *Service) withdraw(ctx context.Context, tx *store.Tx, n identity.Name, refs []ledger.Ref, why ledger.Reason) (Revocation, error) {
	if len(refs) == 0 && !n.IsZero() {
		if err := tx.Append(ledger.CertificatesRevoked{Name: n, Reason: why}); err != nil {
			return Revocation{}, err
		}
	}
	for chunk := range slices.Chunk(refs, maxRefs) {
		if err := tx.Append(ledger.CertificatesRevoked{Name: n, Reason: why, Certificates: chunk}); err != nil {
			return Revocation{}, err
		}
	}
	done := Revocation{Certificates: []Certificate{}}
	for _, ref := range refs {
		row, err := tx.CertificateByRef(ctx, ref)
		if err != nil {
			return Revocation{}, err
		}
		done.Certificates = append(done.Certificates, certificate(row, false, s.now()))
	}
	return done, nil
}

func unknownSerial(serial ledger.Serial) *Error {
	return refuse(CodeNotFound, "'postern list certificates' shows those there are", "the ledger holds no certificate %s", serial)
}
