package authority

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/profile"
	"github.com/postern-project/postern/internal/store"
)

// How long invites last, unless asked otherwise.
const (
	inviteTTL        = 15 * time.Minute
	inviteTTLService = 24 * time.Hour
	minInviteTTL     = time.Second
	maxInviteTTL     = 30 * day

	day = 24 * time.Hour
)

// days writes a duration as people say it when it is one of whole days.
func days(d time.Duration) string {
	if d >= 2*day && d%day == 0 {
		return fmt.Sprintf("%d days", d/day)
	}
	return d.String()
}

// answerAgain is how long a spent invite gives the same certificate to the
// same key, for an answer that was lost on its way.
const answerAgain = 10 * time.Minute

// Invite makes a one-time code for one certificate. The name is created at its
// first mention.
func (s *Service) Invite(ctx context.Context, r InviteRequest) (Invitation, error) {
	if r.Name.IsZero() {
		return Invitation{}, refuse(CodeBadRequest, "a name looks like ben/phone or services/checkout", "no name is given")
	}
	if err := place(r.Name, viaInvite); err != nil {
		return Invitation{}, err
	}
	p, ttl, err := s.inviteTerms(r)
	if err != nil {
		return Invitation{}, err
	}
	code := invite.New()
	hash := ledger.Hash(code.Hash())
	switch {
	case r.Approve && r.ServerKey:
		return Invitation{}, refuse(CodeBadRequest, "choose one of the two", "a key that the server makes shows no words to approve")
	case r.Approve:
		hash = code.GuardedHash()
	case r.ServerKey:
		hash = code.ServerKeyHash()
	}
	expires := s.now().Add(ttl).UTC().Truncate(time.Millisecond)
	err = s.update(ctx, func(tx *store.Tx) error {
		if err := inGoodStanding(ctx, tx, r.Name); err != nil {
			return err
		}
		if err := mention(tx, r.Name); err != nil {
			return err
		}
		return tx.Append(ledger.InviteCreated{
			Code: hash, Name: r.Name, Profile: p.Name(), Group: r.Group, Expires: expires,
		})
	})
	if err != nil {
		return Invitation{}, err
	}
	s.log.Info("invite created", "id", r.Name, "profile", p.Name(), "expires", expires)
	return Invitation{
		Code: code.String(), Name: r.Name, Profile: p.Name(), Group: r.Group, Expires: expires, Approve: r.Approve, ServerKey: r.ServerKey, Hash: hash,
	}, nil
}

func (s *Service) inviteTerms(r InviteRequest) (profile.Profile, time.Duration, error) {
	p, err := s.findProfile(r.Profile)
	if err != nil {
		return p, 0, err
	}
	if p.Usage() == profile.Server {
		return p, 0, refuse(CodeBadRequest, "use 'postern issue' with --dns", "an invite holds no host names, so it gives no certificate of profile %s", p.Name())
	}
	ttl := r.TTL
	if ttl == 0 {
		ttl = inviteTTL
		if p.Name() == "service" {
			ttl = inviteTTLService
		}
	}
	if ttl < minInviteTTL || ttl > maxInviteTTL {
		return p, 0, refuse(CodeBadRequest, "15m or 24h are usual", "an invite lasts from a second to %d days, not %s", maxInviteTTL/day, days(ttl))
	}
	return p, ttl, nil
}

// Redeem spends an invite on a key. The same code with the same key gets the
// same certificate for ten minutes.
func (s *Service) Redeem(ctx context.Context, r RedeemRequest) (Issued, error) {
	code, err := invite.Parse(r.Code)
	if err != nil {
		return Issued{}, &Error{Code: CodeMistyped, Msg: err.Error()} // it says what to do
	}
	hash := ledger.Hash(code.Hash())
	via := viaInvite
	if r.ServerKey {
		hash, via = code.ServerKeyHash(), viaServerKey
	}
	row, err := s.store.Invite(ctx, hash)
	if errors.Is(err, store.ErrNotFound) && !r.ServerKey {
		// A device that can make its key may, whatever the operator expected.
		row, err = s.store.Invite(ctx, code.ServerKeyHash())
		if errors.Is(err, store.ErrNotFound) {
			return s.redeemGuarded(ctx, code, r.PublicKey)
		}
	}
	if errors.Is(err, store.ErrNotFound) {
		return Issued{}, refuse(CodeNotFound, inviteAnew, "this is no invitation with which the server makes the key")
	}
	if err != nil {
		return Issued{}, err
	}
	return s.redeem(ctx, row, r.PublicKey, via)
}

// redeem spends an invite that needs nobody's approval, or that has it.
func (s *Service) redeem(ctx context.Context, row store.InviteRow, spki []byte, via string) (Issued, error) {
	if used(row) {
		return s.again(ctx, row, spki)
	}
	if err := usable(row, s.now()); err != nil {
		return Issued{}, err
	}
	d, err := s.draft(decision{name: row.Name, profile: row.Profile, spki: spki, via: via})
	if err != nil {
		return Issued{}, err
	}
	err = s.update(ctx, func(tx *store.Tx) error { return s.spend(ctx, tx, row.Code, d) })
	if CodeOf(err) == CodeSpent {
		// Another request with this code came first, maybe for this key.
		if row, err = s.store.Invite(ctx, row.Code); err != nil {
			return Issued{}, err
		}
		return s.again(ctx, row, spki)
	}
	if err != nil {
		return Issued{}, err
	}
	return s.finish(ctx, d)
}

// spend records the certificate, the use of the invite and the group, or
// nothing.
func (s *Service) spend(ctx context.Context, tx *store.Tx, hash ledger.Hash, d *draft) error {
	row, err := tx.Invite(ctx, hash)
	if err != nil {
		return notFound(err, unknownInvite())
	}
	if err := usable(row, s.now()); err != nil {
		return err
	}
	if row.Name != d.body.Name || row.Profile != d.body.Profile {
		return errors.New("the invite changed while it was used: 'postern ledger verify' shows what is damaged")
	}
	if err := d.record(ctx, tx); err != nil {
		return err
	}
	if err := tx.Append(ledger.InviteUsed{Code: hash, Key: d.body.Key, TBS: d.body.TBS}); err != nil {
		return err
	}
	return joinOnce(tx, row.Group, row.Name)
}

func unknownInvite() *Error {
	return refuse(CodeNotFound, inviteAnew, "this invitation is not known here")
}

func used(i store.InviteRow) bool { return !i.UsedAt.IsZero() }

func cancelled(i store.InviteRow) bool { return !i.CancelledAt.IsZero() }

func usable(i store.InviteRow, now time.Time) error {
	switch {
	case used(i):
		return refuse(CodeSpent, inviteAnew, "this invitation has been used")
	case cancelled(i):
		return refuse(CodeCancelled, inviteAnew, "this invitation was withdrawn")
	case !now.Before(i.Expires):
		return refuse(CodeExpired, inviteAnew, "this invitation expired at %s", i.Expires.UTC().Format("15:04 UTC on 2006-01-02"))
	}
	return nil
}
