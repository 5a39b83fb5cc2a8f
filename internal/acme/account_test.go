package acme

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/permit"
)

func TestTheDirectoryAndNonces(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client(t)
	d := decodeJSON[map[string]any](t, c.read(must(c.http.Get(w.base()+"/directory"))(t)).body)
	for _, key := range []string{"newNonce", "newAccount", "newOrder", "revokeCert", "keyChange", "renewalInfo"} {
		if url, _ := d[key].(string); !strings.HasPrefix(url, w.base()+"/") {
			t.Errorf("%s is %q", key, url)
		}
	}
	if meta := d["meta"].(map[string]any); meta["externalAccountRequired"] != true || meta["profiles"].(map[string]any)["server"] == nil {
		t.Errorf("meta %v", meta)
	}
	head := c.read(must(c.http.Head(w.base() + "/new-nonce"))(t))
	get := c.read(must(c.http.Get(w.base() + "/new-nonce"))(t))
	if head.status != http.StatusOK || get.status != http.StatusNoContent || head.header.Get("Replay-Nonce") == "" || get.header.Get("Replay-Nonce") == "" ||
		get.header.Get("Cache-Control") != "no-store" || !strings.Contains(get.header.Get("Link"), `rel="index"`) {
		t.Errorf("%d %v, %d %v", head.status, head.header, get.status, get.header)
	}
	if a := c.read(must(c.http.Get(w.URL + "/acme/device/directory"))(t)); a.status != http.StatusNotFound {
		t.Errorf("a profile without names has a server: %d", a.status)
	}
}

func TestAnAccountIsFoundAgainAndChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.account(t, "services/web")
	a := c.postKey("new-account", map[string]any{"onlyReturnExisting": true})
	if a.status != http.StatusOK || a.header.Get("Location") != c.kid {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := c.postKey("new-account", map[string]any{}); a.status != http.StatusOK || a.header.Get("Location") != c.kid {
		t.Errorf("a second new-account: %d %s", a.status, a.body)
	}
	if a := w.client(t).postKey("new-account", map[string]any{"onlyReturnExisting": true}); a.kind() != accountDoesNotExist || a.status != http.StatusBadRequest {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := c.post(c.kid, map[string]any{"contact": []string{"mailto:new@example.com"}, "unknown": 1}); !strings.Contains(string(a.body), "new@example.com") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := c.post(c.kid, map[string]any{"status": "revoked"}); a.kind() != malformed {
		t.Errorf("%d %s", a.status, a.body)
	}
	for contact, kind := range map[string]string{
		"tel:+491234": unsupportedContact, "ops@example.com": unsupportedContact, "mailto:a@example.com,b@example.com": invalidContact,
		"mailto:a@example.com?subject=x": invalidContact, "mailto:nobody": invalidContact, "mailto:" + strings.Repeat("a", 400) + "@example.com": invalidContact,
	} {
		if a := c.post(c.kid, map[string]any{"contact": []string{contact}}); a.kind() != kind {
			t.Errorf("%.40s: %d %s", contact, a.status, a.body)
		}
	}
	if a := c.post(c.kid, nil); !strings.Contains(string(a.body), "new@example.com") {
		t.Errorf("a refused change left %s", a.body)
	}
	if a := c.post(c.kid, map[string]any{"contact": []string{}}); strings.Contains(string(a.body), "contact") {
		t.Errorf("an empty list of contacts left %s", a.body)
	}
}

// Nobody sees or changes what is another account's.
func TestAccountsAreKeptApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, other := w.account(t, "services/web"), w.account(t, "services/other")
	o := c.order("apart.test.internal")
	ch := c.authorization(o.Authorizations[0]).find(t, "http-01")
	leaf, _ := c.obtain("http-01", "mine.test.internal")
	done := c.order("mine.test.internal")
	for _, url := range []string{c.kid, c.kid + "/orders", o.url, o.Authorizations[0], ch.URL, done.Finalize, strings.Replace(done.url, "/order/", "/certificate/", 1)} {
		for _, payload := range []any{nil, map[string]any{"status": "deactivated"}} {
			a := other.post(url, payload)
			if a.status == http.StatusBadRequest && a.kind() == malformed && payload != nil {
				continue // nothing can be changed there, by nobody
			}
			if a.status != http.StatusForbidden || a.kind() != unauthorized {
				t.Errorf("%s, %v: %d %s", url, payload, a.status, a.body)
			}
		}
	}
	if a := other.post("revoke-cert", map[string]any{"certificate": b64(leaf.Raw)}); a.kind() != unauthorized {
		t.Errorf("another account revoked: %d %s", a.status, a.body)
	}
	if a := c.post(c.kid+"/orders", nil); !strings.Contains(string(a.body), o.url) {
		t.Errorf("%s", a.body)
	}
}

func TestAnAccountGetsAnotherKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, other := w.account(t, "services/web"), w.account(t, "services/other")
	url := w.base() + "/key-change"
	old, next := c.key, newKey(t)
	inner := func(header, payload map[string]any) []byte {
		h := map[string]any{"alg": "ES256", "url": url, "jwk": jwk(t, next)}
		p := map[string]any{"account": c.kid, "oldKey": jwk(t, old)}
		for k, v := range header {
			h[k] = v
		}
		for k, v := range payload {
			p[k] = v
		}
		return c.sign(h, c.payloadOf(p), next)
	}
	send := func(payload []byte) answer {
		return c.send(url, c.sign(map[string]any{"alg": "ES256", "nonce": c.nonce(), "url": url, "kid": c.kid}, payload, c.key))
	}
	for sentence, payload := range map[string][]byte{
		"another account":         inner(nil, map[string]any{"account": other.kid}),
		"another old key":         inner(nil, map[string]any{"oldKey": jwk(t, newKey(t))}),
		"another URL":             inner(map[string]any{"url": w.base() + "/new-order"}, nil),
		"a nonce":                 inner(map[string]any{"nonce": c.nonce()}, nil),
		"a key that did not sign": inner(map[string]any{"jwk": jwk(t, newKey(t))}, nil),
		"alg none":                inner(map[string]any{"alg": "none"}, nil),
		"nothing":                 []byte("{}"),
		"an empty payload":        nil,
	} {
		if a := send(payload); a.status < 400 || a.status >= 500 {
			t.Errorf("%s: %d %s", sentence, a.status, a.body)
		}
	}
	taken := next
	next = other.key
	if a := send(inner(nil, nil)); a.status != http.StatusConflict || a.header.Get("Location") != other.kid {
		t.Errorf("another account's key: %d %s", a.status, a.body)
	}
	next = taken
	if a := send(inner(nil, nil)); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := c.post(c.kid, nil); a.status != http.StatusBadRequest {
		t.Errorf("the old key still signs: %d %s", a.status, a.body)
	}
	c.key = next
	c.obtain("http-01", "rekeyed.test.internal")
	w.restart()
	c.http = w.Client()
	w.verify()
	if a := w.roster; a != nil {
		if acc, ok := a.Account(c.kid[strings.LastIndex(c.kid, "/")+1:]); !ok || acc.Thumbprint.IsZero() {
			t.Errorf("%+v", acc)
		}
	}
}

func TestADeactivatedAccountIsOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.account(t, "services/web")
	o := c.order("over.test.internal")
	c.respond(o, "http-01")
	if a := c.post(c.kid, map[string]any{"status": "deactivated"}); a.status != http.StatusOK || !strings.Contains(string(a.body), `"deactivated"`) {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for _, a := range []answer{c.post(c.kid, nil), c.finalize(o, c.csr(newKey(t), "over.test.internal")), c.postKey("new-account", map[string]any{})} {
		if a.kind() != unauthorized {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if w.issued() != 0 {
		t.Error("a certificate was issued")
	}
	all := must(w.authority.ACMEAccounts(t.Context()))(t)
	if len(all) != 1 || all[0].Status != "cancelled" || all[0].Orders != 1 {
		t.Errorf("%+v", all)
	}
	w.verify()
}

// The name that an account stands for rules it: suspended it gets nothing,
// revoked it is over.
func TestStandingDecides(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.account(t, "services/web")
	ready := c.order("ready.test.internal")
	c.respond(ready, "http-01")
	must(0, w.authority.Suspend(t.Context(), named(t, "services")))(t)
	if a := c.finalize(ready, c.csr(newKey(t), "ready.test.internal")); a.kind() != unauthorized || !strings.Contains(a.problem.Detail, "suspended") {
		t.Errorf("a suspended name got %d %s", a.status, a.body)
	}
	if a := c.post("new-order", map[string]any{"identifiers": ids("b.test.internal")}); a.kind() != unauthorized {
		t.Errorf("a suspended name ordered: %d %s", a.status, a.body)
	}
	must(0, w.authority.Reinstate(t.Context(), named(t, "services")))(t)
	if a := c.finalize(ready, c.csr(newKey(t), "ready.test.internal")); a.status != http.StatusOK {
		t.Errorf("a reinstated name got %d %s", a.status, a.body)
	}
	done := must(w.authority.Revoke(t.Context(), authority.RevokeRequest{Name: named(t, "services/web"), Reason: ledger.ReasonCessation}))(t)
	if len(done.Certificates) != 1 || done.ACMEKeys != 1 {
		t.Errorf("%+v", done)
	}
	if a := c.post("new-order", map[string]any{"identifiers": ids("b.test.internal")}); a.kind() != unauthorized {
		t.Errorf("a revoked name ordered: %d %s", a.status, a.body)
	}
	w.verify()
}

// A profile says who may have which names, and the client is told which rule
// keeps it from one.
func TestAProfileSaysWhoMayHaveWhat(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) {
		w.policy.Wildcards = false
		w.policy.Rules = []permit.Rule{
			{Names: patterns(t, "db.test.internal"), Identities: []identity.Name{named(t, "services/db")}},
			{Names: patterns(t, "*.web.test.internal"), Identities: []identity.Name{named(t, "services/web")}},
		}
	})
	web, db := w.account(t, "services/web"), w.account(t, "services/db/one", "db.test.internal")
	for _, k := range []struct {
		sentence string
		c        *client
		hosts    []string
		detail   string // "" for yes
	}{
		{"a name of its own", web, []string{"a.web.test.internal"}, ""},
		{"a name below the identity's", db, []string{"db.test.internal"}, ""},
		{"another's name", web, []string{"db.test.internal"}, "none of the profile's 2 rules"},
		{"a name outside of the profile", web, []string{"www.example.com"}, "not among the names of this profile (*.test.internal"},
		{"the name above all of them", web, []string{"test.internal"}, "not among the names"},
		{"a name that only ends alike", web, []string{"eviltest.internal"}, "not among the names"},
		{"a wildcard", web, []string{"*.web.test.internal"}, "wildcards: true"},
		{"an address outside", web, []string{"10.0.0.1"}, "not among the names"},
		{"a name that the key was not made for", db, []string{"a.web.test.internal"}, "that the account's key was made for (db.test.internal)"},
	} {
		a := k.c.post("new-order", map[string]any{"identifiers": ids(k.hosts...)})
		switch {
		case k.detail == "" && a.status != http.StatusCreated:
			t.Errorf("%s: %d %s", k.sentence, a.status, a.body)
		case k.detail != "" && (a.kind() != rejectedIdentifier || !strings.Contains(a.problem.Detail, k.detail)):
			t.Errorf("%s: %d %s", k.sentence, a.status, a.body)
		}
	}
	a := web.post("new-order", map[string]any{"identifiers": append(ids("a.web.test.internal", "db.test.internal", "www.example.com"), authority.ACMEIdentifier{Type: "email", Value: "x"})})
	if a.kind() != compound || len(a.problem.Subproblems) != 3 {
		t.Errorf("several at once: %d %s", a.status, a.body)
	}
	for _, s := range a.problem.Subproblems {
		if s.Identifier == nil || s.Identifier.Value == "a.web.test.internal" {
			t.Errorf("%+v", s)
		}
	}
	// what was allowed when it was ordered and is not any more is not issued
	o := web.order("late.web.test.internal")
	web.respond(o, "http-01")
	w.policy.Rules = w.policy.Rules[:1]
	w.configure()
	if a := web.finalize(o, web.csr(newKey(t), "late.web.test.internal")); a.kind() != unauthorized || w.issued() != 0 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestAnOpenProfileTakesAnybody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.policy.Open = true })
	c := w.client(t)
	if a := c.register(authority.ACMEKey{}); a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.body)
	}
	leaf, _ := c.obtain("http-01", "open.test.internal")
	if !strings.HasPrefix(leaf.URIs[0].Path, "/acme-accounts/server/") {
		t.Errorf("the certificate names %s", leaf.URIs[0])
	}
	must(0, w.authority.Suspend(t.Context(), named(t, "acme-accounts")))(t)
	if a := c.post("new-order", map[string]any{"identifiers": ids("b.test.internal")}); a.kind() != unauthorized {
		t.Errorf("%d %s", a.status, a.body)
	}
	must(0, w.authority.Reinstate(t.Context(), named(t, "acme-accounts")))(t)
	w.policy.Open = false
	w.configure()
	if a := c.post("new-order", map[string]any{"identifiers": ids("b.test.internal")}); a.kind() != unauthorized {
		t.Errorf("the profile is closed and takes orders: %d %s", a.status, a.body)
	}
	if _, err := w.authority.Invite(t.Context(), authority.InviteRequest{Name: named(t, "acme-accounts/server/x")}); err == nil {
		t.Error("somebody was invited under the names of strangers")
	}
	w.verify()
}

// What strangers make goes away by itself, and there is a limit to it.
func TestStrangersLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.policy.Open = true })
	size := must(w.store.Head(t.Context()))(t).Size
	taken := 0
	for range 130 {
		switch a := w.client(t).register(authority.ACMEKey{}); {
		case a.status == http.StatusCreated:
			taken++
		case a.kind() != rateLimited || a.header.Get("Retry-After") == "":
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	if taken > 101 {
		t.Errorf("%d accounts from one network at once", taken)
	}
	if now := must(w.store.Head(t.Context()))(t).Size; now != size {
		t.Errorf("strangers wrote %d entries into the ledger", now-size)
	}
	w.clock.forward(keepStrangers + time.Hour)
	must(w.authority.SweepACMERecords(t.Context()))(t)
	if n := len(must(w.authority.ACMEAccounts(t.Context()))(t)); n != 0 {
		t.Errorf("%d accounts are left", n)
	}
}
