package acme

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/ledger"
)

func TestOrdersThatAreNotTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.account(t, "services/web")
	many := make([]string, 101)
	for i := range many {
		many[i] = "h" + strconv.Itoa(i) + ".test.internal"
	}
	for sentence, k := range map[string]struct {
		payload any
		kind    string
	}{
		"no identifiers":             {map[string]any{"identifiers": []any{}}, malformed},
		"nothing":                    {map[string]any{}, malformed},
		"101 identifiers":            {map[string]any{"identifiers": ids(many...)}, malformed},
		"an identifier of no type":   {map[string]any{"identifiers": []any{map[string]string{"type": "uri", "value": "x"}}}, unsupportedIdentifier},
		"a name that is none":        {map[string]any{"identifiers": ids("a_b.test.internal")}, rejectedIdentifier},
		"a name with a dot behind":   {map[string]any{"identifiers": ids("a.test.internal.")}, rejectedIdentifier},
		"a name in Unicode":          {map[string]any{"identifiers": ids("bücher.test.internal")}, rejectedIdentifier},
		"an address as a name":       {map[string]any{"identifiers": []any{map[string]string{"type": "dns", "value": "127.0.0.1"}}}, rejectedIdentifier},
		"a name as an address":       {map[string]any{"identifiers": []any{map[string]string{"type": "ip", "value": "a.test.internal"}}}, rejectedIdentifier},
		"an address in IPv6 form":    {map[string]any{"identifiers": []any{map[string]string{"type": "ip", "value": "::ffff:127.0.0.1"}}}, rejectedIdentifier},
		"an address not in its form": {map[string]any{"identifiers": []any{map[string]string{"type": "ip", "value": "127.0.0.01"}}}, rejectedIdentifier},
		"a wildcard in the middle":   {map[string]any{"identifiers": ids("a.*.test.internal")}, rejectedIdentifier},
		"two wildcards":              {map[string]any{"identifiers": ids("*.*.test.internal")}, rejectedIdentifier},
		"a wildcard of all":          {map[string]any{"identifiers": ids("*")}, rejectedIdentifier},
		"a date of the client's":     {map[string]any{"identifiers": ids("a.test.internal"), "notAfter": "2030-01-01T00:00:00Z"}, malformed},
		"another profile":            {map[string]any{"identifiers": ids("a.test.internal"), "profile": "device"}, invalidProfile},
		"a certificate that is none": {map[string]any{"identifiers": ids("a.test.internal"), "replaces": "x.y"}, malformed},
		"an unknown certificate":     {map[string]any{"identifiers": ids("a.test.internal"), "replaces": "AAAA.AQID"}, malformed},
		"a number for a list":        {map[string]any{"identifiers": 7}, malformed},
	} {
		t.Run(sentence, func(t *testing.T) {
			a := c.post("new-order", k.payload)
			if a.kind() != k.kind || a.status < 400 || a.status >= 500 {
				t.Errorf("%d %s, want %s", a.status, a.body, k.kind)
			}
		})
	}
	if a := c.post("new-order", map[string]any{"identifiers": ids("a.test.internal", "A.test.internal", "a.test.internal"), "profile": "server"}); a.status != http.StatusCreated || len(decodeJSON[orderView](t, a.body).Authorizations) != 1 {
		t.Errorf("the same host three times: %d %s", a.status, a.body)
	}
}

// The certificate request gives a key, and its names are the order's, or
// nothing is issued. An order that gets a bad one stays ready.
func TestCertificateRequestsThatAreNotTheOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.account(t, "services/web")
	hosts := []string{"one.test.internal", "two.test.internal"}
	o := c.order(hosts...)
	if a := c.finalize(o, c.csr(newKey(t), hosts...)); a.kind() != orderNotReady || a.status != http.StatusForbidden {
		t.Errorf("a pending order: %d %s", a.status, a.body)
	}
	c.respond(o, "http-01")
	if v := c.look(o); v.Status != statusReady || v.Certificate != "" {
		t.Fatalf("%+v", v)
	}
	key := newKey(t)
	make := func(key crypto.Signer, change func(*x509.CertificateRequest)) []byte {
		r := &x509.CertificateRequest{DNSNames: hosts}
		change(r)
		return must(x509.CreateCertificateRequest(rand.Reader, r, key))(t)
	}
	good := c.csr(key, hosts...)
	forged := append([]byte{}, good...)
	forged[len(forged)-3] ^= 1
	for sentence, csr := range map[string][]byte{
		"another name":            c.csr(key, "one.test.internal", "three.test.internal"),
		"one name less":           c.csr(key, "one.test.internal"),
		"one name more":           c.csr(key, append(hosts, "three.test.internal")...),
		"a wildcard more":         c.csr(key, append(hosts, "*.test.internal")...),
		"an address more":         c.csr(key, append(hosts, "127.0.0.1")...),
		"no names":                c.csr(key),
		"a common name more":      make(key, func(r *x509.CertificateRequest) { r.Subject = pkix.Name{CommonName: "bank.example"} }),
		"a mail address":          make(key, func(r *x509.CertificateRequest) { r.EmailAddresses = []string{"a@example.com"} }),
		"a URI":                   make(key, func(r *x509.CertificateRequest) { r.URIs = []*url.URL{{Scheme: "spiffe", Host: "x", Path: "/y"}} }),
		"an address in its place": make(key, func(r *x509.CertificateRequest) { r.DNSNames, r.IPAddresses = hosts[:1], []net.IP{{127, 0, 0, 1}} }),
		"the account's key":       c.csr(c.key, hosts...),
		"another's signature":     forged,
		"no request":              []byte("nonsense"),
		"nothing":                 nil,
	} {
		t.Run(sentence, func(t *testing.T) {
			if a := c.finalize(o, csr); a.kind() != badCSR || a.status != http.StatusBadRequest {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	if w.issued() != 0 {
		t.Fatal("a certificate was issued")
	}
	// a common name of the order's is fine, and so is every order of names
	a := c.finalize(o, make(key, func(r *x509.CertificateRequest) {
		r.Subject, r.DNSNames = pkix.Name{CommonName: "two.test.internal", Organization: []string{"Somebody else"}}, []string{"TWO.test.internal", "one.test.internal"}
	}))
	if a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	leaf := c.fetch(decodeJSON[orderView](t, a.body))
	if strings.Join(leaf.DNSNames, " ") != "one.test.internal two.test.internal" || len(leaf.Subject.Organization) != 0 {
		t.Errorf("%s, subject %s", leaf.DNSNames, leaf.Subject)
	}
	if a := c.finalize(o, good); a.status != http.StatusOK || w.issued() != 1 {
		t.Errorf("the same key again: %d %s, %d certificates", a.status, a.body, w.issued())
	}
	if a := c.finalize(o, c.csr(newKey(t), hosts...)); a.kind() != unauthorized || w.issued() != 1 {
		t.Errorf("another key: %d %s, %d certificates", a.status, a.body, w.issued())
	}
}

func TestAuthorizationsEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.account(t, "services/web")
	o := c.order("end.test.internal")
	c.respond(o, "http-01")
	if a := c.post(o.Authorizations[0], map[string]string{"status": "deactivated"}); !strings.Contains(string(a.body), `"status":"deactivated"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := c.finalize(o, c.csr(newKey(t), "end.test.internal")); a.kind() != orderNotReady {
		t.Errorf("a deactivated authorization: %d %s", a.status, a.body)
	}
	if v := c.look(o); v.Status != statusInvalid {
		t.Errorf("the order is %s", v.Status)
	}
	o = c.order("late.test.internal")
	c.respond(o, "http-01")
	w.clock.forward(authorizedLife + time.Minute)
	if v := c.authorization(o.Authorizations[0]); v.Status != statusExpired {
		t.Errorf("the authorization is %s", v.Status)
	}
	if a := c.finalize(o, c.csr(newKey(t), "late.test.internal")); a.kind() != orderNotReady || w.issued() != 0 {
		t.Errorf("%d %s", a.status, a.body)
	}
	w.clock.forward(keepOrders)
	must(w.authority.SweepACMERecords(t.Context()))(t)
	if a := c.post(o.url, nil); a.status != http.StatusNotFound {
		t.Errorf("an old order: %d %s", a.status, a.body)
	}
}

// A wildcard is proved by dns-01 alone, an address never by it.
func TestChallengesThatAreOffered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.account(t, "services/web")
	for host, want := range map[string]string{
		"a.test.internal": "http-01 dns-01 tls-alpn-01", "*.a.test.internal": "dns-01", "127.0.0.1": "http-01 tls-alpn-01",
	} {
		v := c.authorization(c.order(host).Authorizations[0])
		var got []string
		for _, ch := range v.Challenges {
			got = append(got, ch.Type)
			if len(ch.Token) < 22 || strings.ContainsAny(ch.Token, "+/=") {
				t.Errorf("token %q", ch.Token)
			}
		}
		if strings.Join(got, " ") != want || v.Wildcard != strings.HasPrefix(host, "*.") || v.Identifier.Value != strings.TrimPrefix(host, "*.") {
			t.Errorf("%s: %+v", host, v)
		}
	}
	w.profile.Challenges = []string{"http-01"}
	w.configure()
	if a := c.post("new-order", map[string]any{"identifiers": ids("*.a.test.internal")}); a.kind() != rejectedIdentifier {
		t.Errorf("a wildcard that nothing can prove: %d %s", a.status, a.body)
	}
}

func TestRevocationByAccountAndByKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, other := w.account(t, "services/web"), w.account(t, "services/other")
	status := func(leaf *x509.Certificate) string {
		serial := must(ledger.SerialFromBytes(leaf.SerialNumber.Bytes()))(t)
		all := must(w.authority.Certificates(t.Context(), authority.CertificateFilter{Serial: serial}))(t)
		return all[0].Status + " " + all[0].Reason
	}
	byAccount, _ := c.obtain("http-01", "a.test.internal")
	for reason, kind := range map[int]string{2: badRevocationReason, 6: badRevocationReason, 8: badRevocationReason, 11: badRevocationReason, -1: badRevocationReason, 257: badRevocationReason} {
		if a := c.post("revoke-cert", map[string]any{"certificate": b64(byAccount.Raw), "reason": reason}); a.kind() != kind {
			t.Errorf("reason %d: %d %s", reason, a.status, a.body)
		}
	}
	if a := c.post("revoke-cert", map[string]any{"certificate": b64(byAccount.Raw), "reason": 4}); a.status != http.StatusOK || status(byAccount) != "revoked superseded" {
		t.Errorf("%d %s, %s", a.status, a.body, status(byAccount))
	}
	if a := c.post("revoke-cert", map[string]any{"certificate": b64(byAccount.Raw)}); a.kind() != alreadyRevoked {
		t.Errorf("twice: %d %s", a.status, a.body)
	}
	byKey, key := c.obtain("http-01", "b.test.internal")
	signer := w.client(t)
	if a := signer.postKey("revoke-cert", map[string]any{"certificate": b64(byKey.Raw)}); a.kind() != unauthorized {
		t.Errorf("a key of nobody: %d %s", a.status, a.body)
	}
	signer.key = key
	if a := signer.postKey("revoke-cert", map[string]any{"certificate": b64(byKey.Raw), "reason": 1}); a.status != http.StatusOK || status(byKey) != "revoked key-compromise" {
		t.Errorf("%d %s, %s", a.status, a.body, status(byKey))
	}
	taken, _ := c.obtain("http-01", "c.test.internal", "d.test.internal")
	other.respond(other.order("c.test.internal"), "http-01")
	if a := other.post("revoke-cert", map[string]any{"certificate": b64(taken.Raw)}); a.kind() != unauthorized {
		t.Errorf("with half of the names validated: %d %s", a.status, a.body)
	}
	other.respond(other.order("d.test.internal"), "http-01")
	if a := other.post("revoke-cert", map[string]any{"certificate": b64(taken.Raw)}); a.status != http.StatusOK || status(taken) != "revoked unspecified" {
		t.Errorf("with all names validated: %d %s", a.status, a.body)
	}
	stranger := alpnCertificate(t, "x", nil, "c.test.internal").Certificate[0]
	for _, der := range [][]byte{stranger, w.roster.Root().Raw, []byte("nonsense"), nil} {
		if a := signer.postKey("revoke-cert", map[string]any{"certificate": b64(der)}); a.status < 400 || a.status >= 500 {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	w.verify()
}

func TestRenewalInformation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, other := w.account(t, "services/web"), w.account(t, "services/other")
	leaf, _ := c.obtain("http-01", "ari.test.internal")
	id := authority.ACMECertID(leaf.AuthorityKeyId, leaf.SerialNumber.Bytes())
	window := func() (start, end time.Time) {
		a := c.read(must(c.http.Get(w.base() + "/renewal-info/" + id))(t))
		if a.status != http.StatusOK || a.header.Get("Retry-After") != "21600" {
			t.Fatalf("%d %s", a.status, a.body)
		}
		v := decodeJSON[struct {
			SuggestedWindow struct{ Start, End time.Time }
		}](t, a.body)
		return v.SuggestedWindow.Start, v.SuggestedWindow.End
	}
	start, end := window()
	if !start.After(leaf.NotBefore.Add(50*24*time.Hour)) || !end.After(start) || !end.Before(leaf.NotAfter) {
		t.Errorf("a fresh certificate is to be renewed between %s and %s", start, end)
	}
	for _, wrong := range []string{"AAAA." + strings.Split(id, ".")[1], "x", strings.Split(id, ".")[0] + ".AQ", id + "AA", "..", strings.Replace(id, ".", ".AA", 1)} {
		if a := c.read(must(c.http.Get(w.base() + "/renewal-info/" + wrong))(t)); a.status != http.StatusNotFound && a.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", wrong, a.status, a.body)
		}
	}
	replace := func(c *client, hosts ...string) answer {
		return c.post("new-order", map[string]any{"identifiers": ids(hosts...), "replaces": id})
	}
	if a := replace(other, "ari.test.internal"); a.kind() != unauthorized {
		t.Errorf("another account: %d %s", a.status, a.body)
	}
	if a := replace(c, "unrelated.test.internal"); a.kind() != malformed {
		t.Errorf("no host in common: %d %s", a.status, a.body)
	}
	a := replace(c, "ari.test.internal")
	o := decodeJSON[orderView](t, a.body)
	o.url = a.header.Get("Location")
	if a.status != http.StatusCreated || o.Replaces != id {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := replace(c, "ari.test.internal"); a.status != http.StatusCreated {
		t.Errorf("while the first is not done another may try: %d %s", a.status, a.body)
	}
	c.respond(o, "http-01")
	next := c.fetch(decodeJSON[orderView](t, c.finalize(o, c.csr(newKey(t), "ari.test.internal")).body))
	serial := must(ledger.SerialFromBytes(next.SerialNumber.Bytes()))(t)
	record := must(w.authority.Certificates(t.Context(), authority.CertificateFilter{Serial: serial}))(t)[0]
	if record.RenewedFrom.String() != must(ledger.SerialFromBytes(leaf.SerialNumber.Bytes()))(t).String() {
		t.Errorf("the ledger does not link them: %+v", record)
	}
	if a := replace(c, "ari.test.internal"); a.kind() != alreadyReplaced || a.status != http.StatusConflict {
		t.Errorf("twice: %d %s", a.status, a.body)
	}
	// revoking what was replaced, as clients do, leaves what came after it
	if a := c.post("revoke-cert", map[string]any{"certificate": b64(leaf.Raw), "reason": 4}); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.body)
	}
	if again := must(w.authority.Certificates(t.Context(), authority.CertificateFilter{Serial: serial}))(t)[0]; again.Status != "good" {
		t.Errorf("the successor is %s", again.Status)
	}
	if start, end := window(); start.After(w.clock.now()) || end.After(w.clock.now()) {
		t.Errorf("a revoked certificate is to be renewed between %s and %s", start, end)
	}
	w.verify()
}

// Whoever fails again and again has to wait, and is told how long.
func TestFailingForEverIsSlowedDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.account(t, "services/web")
	failed := 0
	for range 15 {
		a := c.post("new-order", map[string]any{"identifiers": ids("never.test.internal")})
		if a.kind() == rateLimited {
			if n, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || n < 1 || a.status != http.StatusTooManyRequests {
				t.Errorf("%d, Retry-After %q", a.status, a.header.Get("Retry-After"))
			}
			break
		}
		o := decodeJSON[orderView](t, a.body)
		c.post(c.authorization(o.Authorizations[0]).find(t, "http-01").URL, struct{}{})
		failed++
	}
	if failed < 5 || failed > 11 {
		t.Errorf("slowed down after %d failures", failed)
	}
	c.obtain("http-01", "other.test.internal") // another host is no worse off
	w.profile.OrdersPerHour = 3
	w.configure()
	for range 3 {
		c.order("few.test.internal")
	}
	if a := c.post("new-order", map[string]any{"identifiers": ids("few.test.internal")}); a.kind() != rateLimited {
		t.Errorf("%d %s", a.status, a.body)
	}
}
