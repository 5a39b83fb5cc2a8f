package authority

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/keys"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/refusal"
)

func (h *house) revokeName(name string) Revocation {
	h.t.Helper()
	r, err := h.Revoke(h.t.Context(), RevokeRequest{Name: named(h.t, name), Reason: ledger.ReasonKeyCompromise})
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

func TestRenewedCertificateIsLinkedToTheOldOne(t *testing.T) {
	h := newHouse(t, "")
	old := h.issue("services/checkout")
	i := h.renew(old)
	all := h.entries(0)
	if e := all[len(all)-1].Body.(ledger.CertificateIssued); e.RenewedFrom != old.Ref || e.Name != old.Name || e.Profile != old.Profile || e.Via != viaRenew {
		t.Errorf("recorded %+v", e)
	}
	if h.judge(old) != "" || h.judge(i) != "" || i.Serial == old.Serial {
		t.Error("after a renewal both certificates are good, and two")
	}
}

func TestRenewKeepsTheHosts(t *testing.T) {
	h := newHouse(t, "")
	old, err := h.Issue(t.Context(), IssueRequest{Name: named(t, "door"), Profile: "server", DNSNames: []string{"a.example.com"}, PublicKey: newSPKI(t)})
	if err != nil {
		t.Fatal(err)
	}
	if c := leafOf(t, h.renew(old)); len(c.DNSNames) != 1 || c.DNSNames[0] != "a.example.com" {
		t.Errorf("hosts %q", c.DNSNames)
	}
}

func TestRenewRefuses(t *testing.T) {
	cases := map[string]struct {
		before func(h *house, i Issued) Issued // returns the one to renew
		code   string
	}{
		"a revoked certificate":        {func(h *house, i Issued) Issued { h.revokeName("ben"); return i }, CodeRevoked},
		"a successor of a revoked one": {func(h *house, i Issued) Issued { n := h.renew(i); h.revokeSerial(i.Serial); return n }, CodeRevoked},
		"one whose successor was revoked": {func(h *house, i Issued) Issued {
			h.revokeSerial(h.renew(h.renew(i)).Serial)
			return i
		}, CodeRevoked},
		"one of a suspended name":       {func(h *house, i Issued) Issued { h.suspend("ben/phone"); return i }, CodeSuspended},
		"one below a suspended name":    {func(h *house, i Issued) Issued { h.suspend("ben"); return i }, CodeSuspended},
		"an expired one":                {func(h *house, i Issued) Issued { h.clock.forward(366 * 24 * time.Hour); return i }, CodeExpired},
		"one that the ledger never saw": {func(h *house, i Issued) Issued { i.Ref.TBS[0] ^= 1; return i }, CodeNotFound},
		"one of another issuer":         {func(h *house, i Issued) Issued { i.Ref.Issuer[0] ^= 1; return i }, CodeNotFound},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, "")
			i := c.before(h, h.issue("ben/phone"))
			size := len(h.entries(0))
			_, err := h.Renew(t.Context(), proved(t, i, newSPKI(t)))
			wantCode(t, err, c.code)
			if len(h.entries(0)) != size {
				t.Error("the refused renewal left an entry")
			}
		})
	}
	h := newHouse(t, "")
	_, err := h.Renew(t.Context(), proved(t, h.issue("ben"), []byte{1}))
	wantCode(t, err, CodeWeakKey)
}

// What has ended is renewed for as long as the policy says, and then no more;
// one of an issuer that is distrusted not at all.
func TestRenewAfterTheEnd(t *testing.T) {
	h := newHouse(t, "")
	old, other := h.issue("ben/phone"), h.issue("ben/laptop")
	h.Enforce(Policy{RenewExpired: 14 * 24 * time.Hour})
	h.clock.forward(365*24*time.Hour + 13*24*time.Hour)
	if i := h.renew(old); i.Name != old.Name || h.judge(i) != "" {
		t.Errorf("renewed as %+v", i)
	}
	h.suspend("ben/phone")
	_, err := h.Renew(t.Context(), proved(t, old, newSPKI(t)))
	wantCode(t, err, CodeSuspended)
	h.clock.forward(2 * 24 * time.Hour)
	_, err = h.Renew(t.Context(), proved(t, other, newSPKI(t)))
	wantCode(t, err, CodeExpired)
	h.Enforce(Policy{RenewExpired: 90 * 24 * time.Hour})
	h.append(ledger.IssuerDistrusted{Issuer: other.Ref.Issuer, Reason: ledger.ReasonKeyCompromise})
	_, err = h.Renew(t.Context(), proved(t, other, newSPKI(t)))
	wantCode(t, err, CodeExpired)
}

// The old certificate and its successor are both good until the old one ends.
func TestOldAndNewOverlap(t *testing.T) {
	h := newHouse(t, "")
	old := h.issue("ben/phone")
	h.clock.forward(340 * 24 * time.Hour)
	renewed := h.renew(old)
	for name, i := range map[string]Issued{"the old one": old, "the new one": renewed} {
		if code := h.judge(i); code != "" || !h.clock.now().Before(i.NotAfter) {
			t.Errorf("%s is refused: %s", name, code)
		}
	}
	if !renewed.NotAfter.After(old.NotAfter) {
		t.Errorf("the new one ends %s, the old one %s", renewed.NotAfter, old.NotAfter)
	}
}

// I13: whoever can write to the tables, and not sign the ledger, renews
// nobody into another name.
func TestAChangedRowGivesNobodyAnotherName(t *testing.T) {
	for name, change := range map[string]string{
		"name":       "UPDATE certificate SET name = 'anna'",
		"profile":    "UPDATE certificate SET profile = 'admin'",
		"revocation": "UPDATE certificate SET revoked_at = NULL, reason = NULL",
	} {
		h := newHouse(t, "")
		h.issue("anna")
		eve := h.issue("eve")
		if name == "revocation" {
			h.revokeName("eve")
		}
		h.tamper(change)
		if i, err := h.Renew(t.Context(), proved(t, eve, newSPKI(t))); err == nil {
			t.Errorf("with a changed %s eve became %s", name, i.Name)
		}
	}
}

func (h *house) suspend(name string) {
	h.t.Helper()
	if err := h.Suspend(h.t.Context(), named(h.t, name)); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) revokeSerial(s ledger.Serial) Revocation {
	h.t.Helper()
	r, err := h.Revoke(h.t.Context(), RevokeRequest{Serial: s, Reason: ledger.ReasonSuperseded})
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

func TestRevokingASerialTakesItsSuccessorsAlong(t *testing.T) {
	h := newHouse(t, "")
	first := h.issue("ben/phone")
	second := h.renew(first)
	third := h.renew(second)
	other := h.issue("ben/phone")
	r := h.revokeSerial(second.Serial)
	if len(r.Certificates) != 2 || r.Certificates[0].Status != StatusRevoked || r.Certificates[0].Reason != "superseded" {
		t.Errorf("withdrew %+v", r.Certificates)
	}
	for i, want := range map[string]struct {
		c    Issued
		code refusal.Code
	}{"first": {first, ""}, "second": {second, refusal.Revoked}, "third": {third, refusal.Revoked}, "other": {other, ""}} {
		if got := h.judge(want.c); got != want.code {
			t.Errorf("%s: %q, want %q", i, got, want.code)
		}
	}
	if again := h.revokeSerial(second.Serial); len(again.Certificates) != 0 {
		t.Error("revoked twice")
	}
	h.verify()
}

func TestRevokingANameCoversAllBelowIt(t *testing.T) {
	h := newHouse(t, "")
	phone, laptop, benno := h.issue("ben/phone"), h.issue("ben/laptop/work"), h.issue("benno")
	renewed := h.renew(phone)
	open, other := h.invite("ben/tablet"), h.invite("benno/phone")
	r := h.revokeName("ben")
	if len(r.Certificates) != 3 || r.Invites != 1 {
		t.Errorf("withdrew %d certificates and %d invites", len(r.Certificates), r.Invites)
	}
	for _, i := range []Issued{phone, laptop, renewed} {
		if got := h.judge(i); got != refusal.Revoked {
			t.Errorf("%s: %q", i.Name, got)
		}
	}
	if got := h.judge(benno); got != "" {
		t.Errorf("benno: %q", got)
	}
	_, err := h.Redeem(t.Context(), RedeemRequest{Code: open.Code, PublicKey: newSPKI(t)})
	wantCode(t, err, CodeCancelled)
	if _, err := h.Redeem(t.Context(), RedeemRequest{Code: other.Code, PublicKey: newSPKI(t)}); err != nil {
		t.Error(err)
	}
	if again := h.revokeName("ben"); len(again.Certificates)+again.Invites != 0 {
		t.Error("revoked twice")
	}
	h.verify()
}

func TestRevokeRefuses(t *testing.T) {
	h := newHouse(t, "")
	i := h.issue("ben/phone")
	unknown, err := ledger.ParseSerial("0123456789")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		r    RevokeRequest
		code string
	}{
		"an unknown name":    {RevokeRequest{Name: named(t, "bem")}, CodeNotFound},
		"an unknown serial":  {RevokeRequest{Serial: unknown}, CodeNotFound},
		"neither":            {RevokeRequest{}, CodeBadRequest},
		"both":               {RevokeRequest{Name: i.Name, Serial: i.Serial}, CodeBadRequest},
		"a reason of no RFC": {RevokeRequest{Name: i.Name, Reason: 7}, CodeBadRequest},
	} {
		_, err := h.Revoke(t.Context(), c.r)
		if CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	if h.judge(i) != "" {
		t.Error("a refused revocation revoked")
	}
}

// Whatever comes first, no good certificate is left once both are done.
func TestRevocationAndRenewalAtTheSameMoment(t *testing.T) {
	h := newHouse(t, "")
	for range 12 {
		old := h.issue("ben/phone")
		var wg sync.WaitGroup
		renewed := make([]Issued, 4)
		for n := range renewed {
			wg.Go(func() {
				i, err := h.Renew(t.Context(), proved(t, old, newSPKI(t)))
				if err != nil && CodeOf(err) != CodeRevoked {
					t.Error(err)
				}
				renewed[n] = i
			})
		}
		wg.Go(func() { h.revokeName("ben") })
		wg.Wait()
		for _, i := range append(renewed, old) {
			if !i.Ref.IsZero() && h.judge(i) != refusal.Revoked {
				t.Errorf("certificate %s escaped", i.Serial)
			}
		}
	}
	if good, err := h.Certificates(t.Context(), CertificateFilter{Status: StatusGood}); err != nil || len(good) != 0 {
		t.Errorf("%d good certificates, %v", len(good), err)
	}
	h.verify()
}

func TestSuspensionIsLifted(t *testing.T) {
	h := newHouse(t, "")
	i := h.issue("ben/phone")
	h.suspend("ben") // stands only above a known name
	h.suspend("ben") // changes nothing
	if got := h.judge(i); got != refusal.Suspended {
		t.Errorf("suspended: %q", got)
	}
	_, err := h.Issue(t.Context(), IssueRequest{Name: named(t, "ben/tablet"), PublicKey: newSPKI(t)})
	wantCode(t, err, CodeSuspended)
	_, err = h.Invite(t.Context(), InviteRequest{Name: named(t, "ben/tablet")})
	wantCode(t, err, CodeSuspended)
	err = h.Reinstate(t.Context(), named(t, "ben/phone"))
	wantCode(t, err, CodeSuspended) // by the name above it
	if err := errors.Join(h.Reinstate(t.Context(), named(t, "ben")), h.Reinstate(t.Context(), named(t, "ben"))); err != nil {
		t.Error(err)
	}
	if got := h.judge(i); got != "" {
		t.Errorf("reinstated: %q", got)
	}
	wantCode(t, h.Suspend(t.Context(), named(t, "bem")), CodeNotFound)
	wantCode(t, h.Reinstate(t.Context(), named(t, "bem")), CodeNotFound)
	h.verify()
}

// Somebody who may write to the database marks the row as if it were dealt
// with: revoking the name ends the certificate all the same.
func TestRevokingANameEndsWhatTheTableHides(t *testing.T) {
	h := newHouse(t, keys.ECDSAP256)
	i := h.issue("ben/laptop")
	h.tamper("UPDATE certificate SET revoked_at = 1, reason = 0")
	if done := h.revokeName("ben"); len(done.Certificates) != 0 {
		t.Fatalf("the table hid nothing: %v", done.Certificates)
	}
	if code := h.judge(i); code != refusal.Revoked {
		t.Errorf("the roster says %q", code)
	}
}

// The names of the sites' own certificates are nobody else's, so revoking a
// person closes no site.
func TestNamesOfSitesAreTheServersOwn(t *testing.T) {
	h := newHouse(t, keys.ECDSAP256)
	for _, name := range []string{"sites", "sites/localhost"} {
		_, err := h.Invite(t.Context(), InviteRequest{Name: named(t, name)})
		wantCode(t, err, CodeBadRequest)
		_, err = h.Issue(t.Context(), IssueRequest{Name: named(t, name), PublicKey: newSPKI(t)})
		wantCode(t, err, CodeBadRequest)
	}
	_, err := h.Issue(t.Context(), IssueRequest{Name: named(t, "ben"), PublicKey: newSPKI(t), Profile: "server", DNSNames: []string{"localhost"}, Via: "self"})
	wantCode(t, err, CodeBadRequest)
	if _, err := h.Invite(t.Context(), InviteRequest{Name: named(t, "siteservices/a")}); err != nil {
		t.Errorf("a name that only begins like it: %v", err)
	}
}

// One device cannot fill the ledger by renewing without end, and an hour later
// it may again.
func TestRenewalsAreBounded(t *testing.T) {
	h := newHouse(t, keys.ECDSAP256)
	i := h.issue("ben/laptop")
	for range renewalsPerHour {
		i = h.renew(i)
	}
	_, err := h.Renew(t.Context(), proved(t, i, newSPKI(t)))
	wantCode(t, err, CodeRateLimited)
	h.clock.forward(61 * time.Minute)
	h.renew(i)
}
