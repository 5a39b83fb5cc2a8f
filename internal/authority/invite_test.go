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
			if strings.Count(err.Error(), "compare it") > 1 {
				t.Errorf("the advice is given twice: %v", err)
			}
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

// A key that the server made is certified for an invite that says so and for
// no other, and the ledger tells which those are.
func TestAKeyMadeByTheServerIsMarked(t *testing.T) {
	h := newHouse(t, "")
	plain := h.invite("anna/phone")
	_, err := h.Redeem(t.Context(), RedeemRequest{Code: plain.Code, PublicKey: newSPKI(t), ServerKey: true})
	wantCode(t, err, CodeNotFound)
	guarded, err := h.Invite(t.Context(), InviteRequest{Name: named(t, "anna/watch"), Approve: true})
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.Redeem(t.Context(), RedeemRequest{Code: guarded.Code, PublicKey: newSPKI(t), ServerKey: true})
	wantCode(t, err, CodeNotFound)
	_, err = h.Invite(t.Context(), InviteRequest{Name: named(t, "anna/watch"), Approve: true, ServerKey: true})
	wantCode(t, err, CodeBadRequest)

	for serverKey, via := range map[bool]string{true: viaServerKey, false: viaInvite} {
		made, err := h.Invite(t.Context(), InviteRequest{Name: named(t, "anna/frame"), ServerKey: true})
		if err != nil {
			t.Fatal(err)
		}
		issued, err := h.Redeem(t.Context(), RedeemRequest{Code: made.Code, PublicKey: newSPKI(t), ServerKey: serverKey})
		if err != nil {
			t.Fatal(err)
		}
		all, err := h.Certificates(t.Context(), CertificateFilter{Serial: issued.Serial})
		if err != nil || len(all) != 1 || all[0].Via != via {
			t.Errorf("%+v, %v; want it through %s", all, err, via)
		}
		_, err = h.Redeem(t.Context(), RedeemRequest{Code: made.Code, PublicKey: newSPKI(t), ServerKey: serverKey})
		wantCode(t, err, CodeSpent)
	}
}
