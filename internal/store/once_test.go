package store

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/postern-project/postern/internal/ledger"
)

// I12: one of many that spend an invite at the same moment wins.
func TestAnInviteIsSpentOnce(t *testing.T) {
	w, s := started(t)
	for round := range uint64(5) {
		invite := w.invite("ben", round)
		update(t, s, invite)
		if round%2 == 1 { // with and without the ledger's word for it
			s.Vouch(map[ledger.Hash]ledger.InviteCreated{invite.Code: invite}, ledger.Anchors{})
		}
		var won, spent atomic.Int32
		var wg sync.WaitGroup
		for i := range uint64(32) {
			wg.Go(func() {
				c := w.certificate("ben", round*100+i)
				err := appendAll(s, c, ledger.InviteUsed{Code: invite.Code, Key: c.Key, TBS: c.TBS})
				switch {
				case err == nil:
					won.Add(1)
				case errors.Is(err, ErrSpent):
					spent.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 || spent.Load() != 31 {
			t.Errorf("round %d: %d spent the invite and %d were told that it is spent", round, won.Load(), spent.Load())
		}
	}
	if refs, err := s.LiveRefs(t.Context(), name("ben")); err != nil || len(refs) != 5 {
		t.Errorf("%d certificates for 5 invites, %v", len(refs), err)
	}
	sound(t, s)
}

func TestWhatCanBeAppendedOnce(t *testing.T) {
	w, s := started(t)
	used, cancelled, joined := w.invite("ben", 1), w.invite("ben", 2), ledger.GroupJoined{Group: group("ops"), Name: name("ben")}
	revoked, live := w.certificate("ben", 1), w.certificate("ben", 2)
	update(t, s, used, cancelled, joined, revoked, live, ledger.InviteUsed{Code: used.Code}, ledger.InviteCancelled{Code: cancelled.Code},
		ledger.CertificatesRevoked{Certificates: []ledger.Ref{revoked.Ref}}, ledger.IdentitySuspended{Name: name("ben/phone")})
	renewed := w.certificate("ben", 3)
	renewed.RenewedFrom = revoked.Ref
	orphan := w.certificate("ben", 4)
	orphan.RenewedFrom = w.certificate("ben", 99).Ref
	otherHash := live.Ref
	otherHash.TBS[0] ^= 1
	sameSerial := live
	sameSerial.TBS[0] ^= 1
	stranger := w.certificate("ben", 5)
	stranger.Issuer[0] ^= 1
	tests := map[string]struct {
		body ledger.Body
		want error
	}{
		"an identity again":                         {ledger.IdentityCreated{Name: name("ben")}, ErrExists},
		"an issuer again":                           {w.issuer, ErrExists},
		"a membership again":                        {joined, ErrExists},
		"a suspension again":                        {ledger.IdentitySuspended{Name: name("ben/phone")}, ErrExists},
		"an invite again":                           {used, ErrExists},
		"a certificate again":                       {live, ErrExists},
		"a serial number again":                     {sameSerial, ErrExists},
		"the use of a used invite":                  {ledger.InviteUsed{Code: used.Code}, ErrSpent},
		"the use of a cancelled invite":             {ledger.InviteUsed{Code: cancelled.Code}, ErrSpent},
		"the use of no invite":                      {ledger.InviteUsed{Code: hashOf("none", 1)}, ErrNotFound},
		"the cancelling of a used invite":           {ledger.InviteCancelled{Code: used.Code}, ErrSpent},
		"the cancelling of no invite":               {ledger.InviteCancelled{Code: hashOf("none", 1)}, ErrNotFound},
		"a revocation again":                        {ledger.CertificatesRevoked{Certificates: []ledger.Ref{revoked.Ref}}, ErrSpent},
		"one certificate revoked twice in an entry": {ledger.CertificatesRevoked{Certificates: []ledger.Ref{live.Ref, live.Ref}}, ErrSpent},
		"a revocation of another hash":              {ledger.CertificatesRevoked{Certificates: []ledger.Ref{otherHash}}, ErrNotFound},
		"a renewal of a revoked certificate":        {renewed, ErrSpent},
		"a renewal of no certificate":               {orphan, ErrNotFound},
		"a certificate of an unknown issuer":        {stranger, ErrNotFound},
		"a certificate of an unknown name":          {w.certificate("carl", 6), ErrNotFound},
		"an invite of an unknown name":              {w.invite("carl", 6), ErrNotFound},
		"a suspension of an unknown name":           {ledger.IdentitySuspended{Name: name("carl")}, ErrNotFound},
		"a membership of an unknown name":           {ledger.GroupJoined{Group: group("ops"), Name: name("carl")}, ErrNotFound},
		"a reinstatement of one not suspended":      {ledger.IdentityReinstated{Name: name("ben")}, ErrNotFound},
		"leaving a group of others":                 {ledger.GroupLeft{Group: group("ops"), Name: name("ben/phone")}, ErrNotFound},
		"distrust of an unknown issuer":             {ledger.IssuerDistrusted{Issuer: hashOf("none", 1)}, ErrNotFound},
	}
	size := len(bodies(t, s))
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			if err := appendAll(s, test.body); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
	if got := len(bodies(t, s)); got != size {
		t.Errorf("%d entries, %d before: something was appended", got, size)
	}
	update(t, s, ledger.IssuerDistrusted{Issuer: w.key})
	if err := appendAll(s, ledger.IssuerDistrusted{Issuer: w.key}); !errors.Is(err, ErrSpent) {
		t.Errorf("distrust again: %v", err)
	}
	if err := appendAll(s, w.certificate("ben", 7)); !errors.Is(err, ErrSpent) {
		t.Errorf("a certificate of a distrusted issuer: %v", err)
	}
	sound(t, s)
}

func TestAfterAHarmlessRefusalATransactionGoesOn(t *testing.T) {
	_, s := started(t)
	must(t, s.Update(t.Context(), func(tx *Tx) error {
		if err := tx.Append(ledger.IdentityCreated{Name: name("ben")}); !errors.Is(err, ErrExists) {
			t.Errorf("got %v", err)
		}
		return tx.Append(ledger.IdentityCreated{Name: name("anna")})
	}))
	if _, err := s.Identity(t.Context(), name("anna")); err != nil {
		t.Error(err)
	}
	sound(t, s)
}

func TestWhoLeftAGroupCanJoinItAgain(t *testing.T) {
	_, s := started(t)
	joined, left := ledger.GroupJoined{Group: group("ops"), Name: name("ben")}, ledger.GroupLeft{Group: group("ops"), Name: name("ben")}
	update(t, s, joined, left, joined)
	if err := appendAll(s, joined); !errors.Is(err, ErrExists) {
		t.Errorf("joining again: %v", err)
	}
	update(t, s, left)
	if ok, err := s.GroupExists(t.Context(), group("ops")); err != nil || !ok {
		t.Errorf("a group without members is forgotten: %v", err)
	}
	sound(t, s)
}

// I13: what somebody writes into the invite table gets nobody in, once the
// ledger's word was taken.
func TestAnInviteThatTheLedgerDoesNotHoldBuysNothing(t *testing.T) {
	w, s := started(t)
	mine, spent, never := w.invite("ben/phone", 1), w.invite("ben/phone", 2), w.invite("ben/phone", 3)
	mine.Name = name("ben/phone")
	update(t, s, mine, spent, ledger.InviteUsed{Code: spent.Code})
	s.Vouch(map[ledger.Hash]ledger.InviteCreated{mine.Code: mine}, ledger.Anchors{})
	tamper(t, s, "UPDATE invite SET name = 'ben', profile = 'admin' WHERE code = $1", mine.Code[:])
	tamper(t, s, "UPDATE invite SET used_at = NULL WHERE code = $1", spent.Code[:])
	tamper(t, s, "INSERT INTO invite (code, seq, name, profile, group_name, created_at, expires_at) VALUES ($1, 4, 'ben/phone', 'device', '', 0, 9999999999999)", never.Code[:])
	for what, code := range map[string]ledger.Hash{"changed": mine.Code, "opened again": spent.Code, "planted": never.Code} {
		if err := appendAll(s, ledger.InviteUsed{Code: code}); !errors.Is(err, ErrDamaged) {
			t.Errorf("an invite that was %s: %v, want ErrDamaged", what, err)
		}
	}
	fresh := w.invite("ben/phone", 4)
	update(t, s, fresh)
	update(t, s, ledger.InviteUsed{Code: fresh.Code})
}
