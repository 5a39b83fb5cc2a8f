package authority

import (
	"bytes"
	"crypto"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/keys"
	"github.com/postern-project/postern/internal/ledger"
)

func (h *house) redeem(code string, spki []byte) (Issued, error) {
	h.t.Helper()
	return h.Redeem(h.t.Context(), RedeemRequest{Code: code, PublicKey: spki})
}

func TestInviteBecomesACertificate(t *testing.T) {
	h := newHouse(t, "")
	from := uint64(len(h.entries(0)))
	invited, err := h.Invite(t.Context(), InviteRequest{Name: named(t, "anna/phone"), Group: grouped(t, "family")})
	if err != nil {
		t.Fatal(err)
	}
	spki := newSPKI(t)
	i, err := h.redeem(invited.Code, spki)
	if err != nil {
		t.Fatal(err)
	}
	h.examine(IssueRequest{Name: invited.Name, PublicKey: spki}, i)
	if !slices.Contains(h.roster.Groups(i.Name), grouped(t, "family")) {
		t.Error("not in the group of the invite")
	}
	want := []ledger.Kind{ledger.KindIdentityCreated, ledger.KindInviteCreated, ledger.KindCertificateIssued, ledger.KindInviteUsed, ledger.KindGroupJoined}
	if got := kinds(h.entries(from)); !slices.Equal(got, want) {
		t.Errorf("entries %v, want %v", got, want)
	}
	h.verify()
}

// lastCertificate returns the newest entry about a certificate.
func (h *house) lastCertificate() ledger.CertificateIssued {
	h.t.Helper()
	for _, e := range slices.Backward(h.entries(0)) {
		if b, ok := e.Body.(ledger.CertificateIssued); ok {
			return b
		}
	}
	h.t.Fatal("no certificate in the ledger")
	return ledger.CertificateIssued{}
}

func TestInviteTerms(t *testing.T) {
	h := newHouse(t, "")
	for name, c := range map[string]struct {
		r    InviteRequest
		ttl  time.Duration
		code string
	}{
		"a device has fifteen minutes":  {InviteRequest{}, 15 * time.Minute, ""},
		"a service has a day":           {InviteRequest{Profile: "service"}, 24 * time.Hour, ""},
		"an admin has fifteen minutes":  {InviteRequest{Profile: "admin"}, 15 * time.Minute, ""},
		"or as long as asked":           {InviteRequest{TTL: time.Hour}, time.Hour, ""},
		"a server cannot be invited":    {InviteRequest{Profile: "server"}, 0, CodeBadRequest},
		"nor an unknown profile":        {InviteRequest{Profile: "root"}, 0, CodeUnknownProfile},
		"nor for a year":                {InviteRequest{TTL: 365 * 24 * time.Hour}, 0, CodeBadRequest},
		"nor for less than nothing":     {InviteRequest{TTL: -time.Hour}, 0, CodeBadRequest},
		"nor nobody, by the zero name.": {InviteRequest{Group: grouped(t, "zero")}, 0, CodeBadRequest},
	} {
		if c.r.Group.IsZero() {
			c.r.Name = named(t, "anna/phone")
		}
		i, err := h.Invite(t.Context(), c.r)
		if CodeOf(err) != c.code || c.code == "" && err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if left := time.Until(i.Expires); c.code == "" && (left > c.ttl || left < c.ttl-time.Minute) {
			t.Errorf("%s: %s left", name, left)
		}
	}
}

func TestRedeemRefuses(t *testing.T) {
	cases := map[string]struct {
		before func(h *house, code string, spki []byte) (string, []byte)
		code   string
	}{
		"one letter wrong": {func(_ *house, code string, spki []byte) (string, []byte) {
			other := "0"
			if code[3:4] == other {
				other = "1"
			}
			return code[:3] + other + code[4:], spki
		}, CodeMistyped},
		"nothing":            {func(_ *house, _ string, spki []byte) (string, []byte) { return "", spki }, CodeMistyped},
		"a code nobody made": {func(h *house, _ string, spki []byte) (string, []byte) { return strangersCode, spki }, CodeNotFound},
		"a used code": {func(h *house, code string, spki []byte) (string, []byte) {
			h.mustRedeem(code)
			return code, spki
		}, CodeSpent},
		"an expired code": {func(h *house, code string, spki []byte) (string, []byte) {
			h.clock.forward(15 * time.Minute)
			return code, spki
		}, CodeExpired},
		"a cancelled code": {func(h *house, code string, spki []byte) (string, []byte) { h.revokeName("anna"); return code, spki }, CodeCancelled},
		"a suspended name": {func(h *house, code string, spki []byte) (string, []byte) { h.suspend("anna"); return code, spki }, CodeSuspended},
		"a weak key":       {func(_ *house, code string, _ []byte) (string, []byte) { return code, []byte{0x30, 0} }, CodeWeakKey},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, "")
			code := h.invite("anna/phone").Code
			code, spki := c.before(h, code, newSPKI(t))
			size := len(h.entries(0))
			_, err := h.redeem(code, spki)
			wantCode(t, err, c.code)
			if len(h.entries(0)) != size {
				t.Error("the refusal left an entry")
			}
		})
	}
}

// strangersCode is a well-formed code that no test draws.
const strangersCode = "0000000000000000000000000000"

func (h *house) mustRedeem(code string) Issued {
	h.t.Helper()
	i, err := h.redeem(code, newSPKI(h.t))
	if err != nil {
		h.t.Fatal(err)
	}
	return i
}

func TestAWeakKeyDoesNotSpendTheInvite(t *testing.T) {
	h := newHouse(t, "")
	code := h.invite("anna").Code
	_, err := h.redeem(code, []byte("weak"))
	wantCode(t, err, CodeWeakKey)
	h.mustRedeem(code)
}

func TestALostAnswerIsGivenAgain(t *testing.T) {
	h := newHouse(t, "")
	code, spki := h.invite("anna").Code, newSPKI(t)
	first, err := h.redeem(code, spki)
	if err != nil {
		t.Fatal(err)
	}
	h.clock.forward(9 * time.Minute)
	size := len(h.entries(0))
	again, err := h.redeem(code, spki)
	if err != nil || again.Ref != first.Ref || !bytes.Equal(again.Chain[0], first.Chain[0]) {
		t.Errorf("nine minutes later: %s, %v, want %s", again.Serial, err, first.Serial)
	}
	if len(h.entries(0)) != size {
		t.Error("the second answer left an entry")
	}
	_, err = h.redeem(code, newSPKI(t))
	wantCode(t, err, CodeSpent) // another key
	h.clock.forward(2 * time.Minute)
	_, err = h.redeem(code, spki)
	wantCode(t, err, CodeSpent)
}

func TestALostAnswerIsNotGivenAgainToTheRevoked(t *testing.T) {
	for name, c := range map[string]struct {
		take func(h *house, i Issued)
		code string
	}{
		"revoked":   {func(h *house, i Issued) { h.revokeSerial(i.Serial) }, CodeRevoked},
		"suspended": {func(h *house, _ Issued) { h.suspend("anna") }, CodeSuspended},
	} {
		h := newHouse(t, "")
		code, spki := h.invite("anna").Code, newSPKI(t)
		i, err := h.redeem(code, spki)
		if err != nil {
			t.Fatal(err)
		}
		c.take(h, i)
		_, err = h.redeem(code, spki)
		if CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Killed between the commit and the signature, the certificate is in the
// ledger and nobody has it; the same request then gets it signed.
func TestACrashBeforeTheSignatureLosesNothing(t *testing.T) {
	h := newHouse(t, "")
	code, spki := h.invite("anna").Code, newSPKI(t)
	h.issuers[0].key = refuser{h.issuers[0].key}
	if i, err := h.redeem(code, spki); err == nil {
		t.Fatalf("signed without a key: %s", i.Serial)
	}
	ref := h.lastCertificate().Ref
	h.store.Close()
	h.open() // the next start
	i, err := h.redeem(code, spki)
	if err != nil || i.Ref != ref {
		t.Fatalf("%s, %v, want %s", i.Serial, err, ref.Serial)
	}
	if err := leafOf(t, i).CheckSignatureFrom(h.issuers[0].Certificate); err != nil {
		t.Error(err)
	}
	h.verify()
}

func TestAForgedCopyIsSignedAnew(t *testing.T) {
	h := newHouse(t, "")
	code, spki := h.invite("anna").Code, newSPKI(t)
	first, err := h.redeem(code, spki)
	if err != nil {
		t.Fatal(err)
	}
	h.store.Close()
	h.open()
	h.tamper("UPDATE certificate_copy SET der = CAST(substr(der, 1, length(der) - 1) || x'00' AS BLOB) WHERE der IS NOT NULL")
	again, err := h.redeem(code, spki)
	if err != nil || again.Ref != first.Ref {
		t.Fatalf("%v", err)
	}
	if err := leafOf(t, again).CheckSignatureFrom(h.issuers[0].Certificate); err != nil {
		t.Errorf("a forged copy was handed out: %v", err)
	}
}

// A refuser is a key that signs nothing.
type refuser struct{ crypto.Signer }

func (refuser) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("killed")
}

// I12: one invite, one certificate, however many ask at once.
func TestParallelRedeem(t *testing.T) {
	h := newHouse(t, "")
	for _, same := range []bool{false, true} {
		code, shared := h.invite("anna").Code, newSPKI(t)
		from := uint64(len(h.entries(0)))
		var wg sync.WaitGroup
		var mu sync.Mutex
		refs, spent := map[ledger.Ref]int{}, 0
		for range 10 {
			spki := shared
			if !same {
				spki = newSPKI(t)
			}
			wg.Go(func() {
				i, err := h.redeem(code, spki)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					refs[i.Ref]++
				case CodeOf(err) == CodeSpent:
					spent++
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if len(refs) != 1 || same && spent != 0 || !same && spent != 9 {
			t.Errorf("same key %t: %d certificates, %d refused", same, len(refs), spent)
		}
		want := []ledger.Kind{ledger.KindCertificateIssued, ledger.KindInviteUsed}
		if got := kinds(h.entries(from)); !slices.Equal(got, want) {
			t.Errorf("same key %t: entries %v", same, got)
		}
	}
	h.verify()
}

// I13: a row put into the table is no invite, and a changed one buys nothing.
func TestAnInviteThatOnlyTheTableKnowsBuysNothing(t *testing.T) {
	for name, change := range map[string]string{
		"another name":    "UPDATE invite SET name = 'ben'",
		"another profile": "UPDATE invite SET profile = 'admin'",
		"another group":   "UPDATE invite SET group_name = 'ops'",
		"a longer life":   "UPDATE invite SET expires_at = expires_at + 3600000",
		"used once more":  "UPDATE invite SET used_at = NULL, key_hash = NULL, tbs = NULL",
	} {
		h := newHouse(t, "")
		h.issue("ben")
		code := h.invite("eve").Code
		if name == "used once more" {
			h.mustRedeem(code)
		}
		h.tamper(change)
		if i, err := h.redeem(code, newSPKI(t)); err == nil {
			t.Errorf("%s: eve became %s", name, i.Name)
		}
	}
}

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
	all, err := h.Identities(t.Context())
	if err != nil || len(all) != 7 || all[0].Name.String() != "anna" || all[0].Certificates != 1 {
		t.Errorf("identities %+v, %v", all, err)
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
	if _, err := keys.Unseal(dir+"/"+RootKeyFile, h.wrong()); err != nil {
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
