package authority

import (
	"crypto/sha256"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/ledger"
)

// Nothing but an operator's yes to exactly this key spends an invitation that
// was made to be approved.
func TestAGuardedInviteNeedsAYes(t *testing.T) {
	h := newHouse(t, "")
	invited, err := h.Invite(t.Context(), InviteRequest{Name: named(t, "anna/phone"), Approve: true})
	if err != nil {
		t.Fatal(err)
	}
	mine, thief := newSPKI(t), newSPKI(t)
	from := uint64(len(h.entries(0)))
	for range 3 {
		for _, key := range [][]byte{mine, thief} {
			if _, err := h.redeem(invited.Code, key); CodeOf(err) != CodePending {
				t.Fatalf("before the yes: %v", err)
			}
		}
	}
	if got := h.entries(from); len(got) != 0 {
		t.Fatalf("asking wrote %v", kinds(got))
	}
	approved, err := h.Approve(t.Context(), ApproveRequest{Hash: invited.Hash, PublicKey: mine})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := h.redeem(invited.Code, mine); err != nil || got.Serial != approved.Serial {
		t.Errorf("after the yes: %v, %v", got.Serial, err)
	}
	if _, err := h.redeem(invited.Code, thief); CodeOf(err) != CodeSpent {
		t.Errorf("another key after the yes: %v", err)
	}
	if _, err := h.Approve(t.Context(), ApproveRequest{Hash: invited.Hash, PublicKey: thief}); CodeOf(err) != CodeSpent {
		t.Errorf("a second yes, to another key: %v", err)
	}
	h.verify()
}

func TestAGuardedInviteEnds(t *testing.T) {
	h := newHouse(t, "")
	ask := func() string {
		i, err := h.Invite(t.Context(), InviteRequest{Name: named(t, "anna/phone"), Approve: true})
		if err != nil {
			t.Fatal(err)
		}
		return i.Code
	}
	hash := func(code string) ledger.Hash {
		c, err := invite.Parse(code)
		if err != nil {
			t.Fatal(err)
		}
		return c.GuardedHash()
	}
	denied := ask()
	if err := h.CancelInvite(t.Context(), hash(denied)); err != nil {
		t.Fatal(err)
	}
	if _, err := h.redeem(denied, newSPKI(t)); CodeOf(err) != CodeCancelled {
		t.Errorf("after a no: %v", err)
	}
	if _, err := h.Approve(t.Context(), ApproveRequest{Hash: hash(denied), PublicKey: newSPKI(t)}); CodeOf(err) != CodeCancelled {
		t.Errorf("a yes after a no: %v", err)
	}
	if err := h.CancelInvite(t.Context(), hash(denied)); CodeOf(err) != CodeCancelled {
		t.Errorf("a second no: %v", err)
	}
	if err := h.CancelInvite(t.Context(), sha256.Sum256([]byte("none"))); CodeOf(err) != CodeNotFound {
		t.Errorf("a no to no invitation: %v", err)
	}
	late := ask()
	h.clock.forward(16 * time.Minute)
	if _, err := h.redeem(late, newSPKI(t)); CodeOf(err) != CodeExpired {
		t.Errorf("after its time: %v", err)
	}
	if _, err := h.Approve(t.Context(), ApproveRequest{Hash: hash(late), PublicKey: newSPKI(t)}); CodeOf(err) != CodeExpired {
		t.Errorf("a yes after its time: %v", err)
	}
}
