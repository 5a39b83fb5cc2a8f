package authority

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/keys"
)

func TestGroups(t *testing.T) {
	h := newHouse(t, "")
	phone := h.issue("anna/phone")
	family, ops := grouped(t, "family"), grouped(t, "ops")
	change := func(c GroupChange) error { return h.ChangeGroup(t.Context(), c) }
	if err := errors.Join(
		change(GroupChange{Group: family, Add: []identity.Name{named(t, "anna"), named(t, "ben")}}),
		change(GroupChange{Group: family, Add: []identity.Name{named(t, "anna")}}), // again
		change(GroupChange{Group: ops, Add: []identity.Name{named(t, "ben")}}),
	); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(h.roster.Groups(phone.Name), family) {
		t.Error("what stands below a member is no member")
	}
	wantCode(t, change(GroupChange{Group: ops, Add: []identity.Name{named(t, "carl")}, Remove: []identity.Name{named(t, "anna")}}), CodeNotFound)
	wantCode(t, change(GroupChange{Group: ops}), CodeBadRequest)
	wantCode(t, change(GroupChange{Add: []identity.Name{named(t, "anna")}}), CodeBadRequest)
	if err := change(GroupChange{Group: family, Remove: []identity.Name{named(t, "ben")}}); err != nil {
		t.Fatal(err)
	}
	groups, err := h.Groups(t.Context())
	if err != nil || len(groups) != 2 || groups[0].Name != family || !slices.Equal(groups[0].Members, []identity.Name{named(t, "anna")}) {
		t.Errorf("groups %v, %v", groups, err)
	}
	if _, err := h.Identity(t.Context(), named(t, "carl")); CodeOf(err) != CodeNotFound {
		t.Errorf("half of a refused change was kept: %v", err)
	}
	h.verify()
}

func TestLists(t *testing.T) {
	h := newHouse(t, "")
	h.issue("ben/phone")
	lost := h.issue("ben/laptop")
	h.revokeSerial(lost.Serial)
	service, err := h.Issue(t.Context(), IssueRequest{Name: named(t, "services/checkout"), Profile: "service", PublicKey: newSPKI(t)})
	if err != nil {
		t.Fatal(err)
	}
	h.issue("carl")
	h.suspend("carl")
	h.mustRedeem(h.invite("anna").Code)
	h.invite("dora")
	h.clock.forward(25 * time.Hour)
	h.invite("emil")
	for status, want := range map[string]int{"": 5, StatusGood: 2, StatusRevoked: 1, StatusExpired: 1, StatusSuspended: 1} {
		got, err := h.Certificates(t.Context(), CertificateFilter{Status: status})
		if err != nil || len(got) != want {
			t.Errorf("%d certificates %q, %v, want %d", len(got), status, err, want)
		}
	}
	if got, err := h.Certificates(t.Context(), CertificateFilter{Name: named(t, "ben"), Limit: 1}); err != nil || len(got) != 1 || got[0].Serial != lost.Serial {
		t.Errorf("the newest of ben: %v, %v", got, err)
	}
	if got, err := h.Certificates(t.Context(), CertificateFilter{Serial: service.Serial}); err != nil || len(got) != 1 || got[0].Status != StatusExpired || got[0].Issuer != firstClients {
		t.Errorf("by serial: %v, %v", got, err)
	}
	_, err = h.Certificates(t.Context(), CertificateFilter{Status: "fine"})
	wantCode(t, err, CodeBadRequest)
	invites, err := h.Invites(t.Context())
	if err != nil || len(invites) != 3 || invites[0].Status != StatusOpen || invites[1].Status != StatusExpired || invites[2].Status != StatusUsed {
		t.Errorf("invites %+v, %v", invites, err)
	}
	all, err := h.Identities(t.Context(), IdentityFilter{})
	if err != nil || len(all) != 7 || all[0].Name.String() != "anna" || all[0].Certificates != 1 {
		t.Errorf("identities %+v, %v", all, err)
	}
	for sentence, c := range map[string]struct {
		f    IdentityFilter
		want []Identity
	}{
		"a page":                  {IdentityFilter{Limit: 2}, all[:2]},
		"the next page":           {IdentityFilter{After: all[1].Name, Limit: 2}, all[2:4]},
		"a name and all below it": {IdentityFilter{Name: named(t, "ben")}, all[1:3]},
		"that, after its first":   {IdentityFilter{Name: named(t, "ben"), After: all[1].Name}, all[2:3]},
		"nobody of that name":     {IdentityFilter{Name: named(t, "be")}, nil},
		"after the last of all":   {IdentityFilter{After: all[6].Name}, nil},
	} {
		if got, err := h.Identities(t.Context(), c.f); err != nil || !slices.EqualFunc(got, c.want, func(a, b Identity) bool { return a.Name == b.Name }) {
			t.Errorf("%s: %v, %v, want %v", sentence, got, err, c.want)
		}
	}
	for _, i := range all {
		one, err := h.Identity(t.Context(), i.Name)
		if err != nil || one.Certificates != i.Certificates || one.Suspended != i.Suspended || one.Suspended != (i.Name.String() == "carl") {
			t.Errorf("%s: %+v, %v", i.Name, one, err)
		}
	}
	issuers, err := h.Issuers(t.Context())
	if err != nil || len(issuers) != 2 || issuers[0].Use != "clients" || issuers[1].Use != "servers" {
		t.Errorf("issuers %v, %v", issuers, err)
	}
	head, err := h.Head(t.Context())
	if err != nil || head.Size != uint64(len(h.entries(0))) || !strings.HasPrefix(string(head.Note), "example.com/ledger/0\n") {
		t.Errorf("head %+v, %v", head, err)
	}
}

func TestVerifyNamesAChangedRow(t *testing.T) {
	h := newHouse(t, "")
	h.issue("ben/phone")
	h.verify()
	h.tamper("UPDATE certificate SET name = 'anna' WHERE 1 = 0 OR profile = 'device'")
	if v, err := h.Verify(t.Context()); err != nil || v.OK || !strings.Contains(v.Fault, "certificate") {
		t.Errorf("%+v, %v", v, err)
	}
}

// I14: whatever happens, no secret is logged.
func TestNoSecretIsEverLogged(t *testing.T) {
	dir, log := t.TempDir(), newTape()
	r, err := Init(t.Context(), InitOptions{Dir: dir, TrustDomain: domain(t), Log: log.logger(), Show: func(p keys.Passphrase) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, dir: dir, clock: &clock{}, log: log}
	h.open()
	code, wasted := h.invite("anna").Code, h.invite("ben").Code
	h.mustRedeem(code)
	var said []string
	for _, attempt := range []string{code, code[:5], code[:5] + "!" + code[6:], strangersCode} {
		if _, err := h.redeem(attempt, newSPKI(t)); err != nil {
			said = append(said, err.Error())
		}
	}
	h.revokeName("ben")
	if _, err := h.redeem(wasted, newSPKI(t)); err != nil {
		said = append(said, err.Error())
	}
	if _, err := keys.Unseal(filepath.Join(dir, RootKeyFile), h.wrong()); err != nil {
		said = append(said, err.Error())
	}
	h.log.logger().Info("results", "init", r, "invitation", wasted[:0], "said", said)
	if len(said) < 5 || !strings.Contains(h.log.String(), "invite created") {
		t.Fatalf("the attempts were not refused, or not logged: %v", said)
	}
	h.noSecret(r.Passphrase.Reveal(), code, wasted, strings.ToUpper(code), code[:20], wasted[:20])
}

func (h *house) wrong() keys.Passphrase {
	h.t.Helper()
	p, err := keys.ParsePassphrase("not the passphrase")
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}
