package acme

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/permit"
)

// A challenge server that lies, stalls, sends elsewhere or never ends validates
// nothing, and is done with in time.
func TestChallengeServersThatMeanHarm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.account(t, "services/web")
	secret := newWeb(t) // on a port that validations do not go to
	for sentence, k := range map[string]struct {
		handler func(answer string) http.HandlerFunc
		kind    string
	}{
		"a redirect for ever": {func(string) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path+"x", http.StatusFound) }
		}, connection},
		"a redirect to a forbidden network": {func(string) http.HandlerFunc {
			return redirect("http://10.255.255.1/")
		}, connection},
		"a redirect to the metadata service": {func(string) http.HandlerFunc {
			return redirect("http://169.254.169.254/latest/meta-data/")
		}, connection},
		"a redirect to loopback in IPv6 form": {func(string) http.HandlerFunc {
			return redirect("http://[::ffff:10.255.255.1]/")
		}, connection},
		"a redirect to another port": {func(string) http.HandlerFunc {
			return redirect(fmt.Sprintf("http://127.0.0.1:%d/", secret.port))
		}, connection},
		"a redirect to another scheme": {func(string) http.HandlerFunc { return redirect("file:///etc/passwd") }, connection},
		"a redirect with a password":   {func(string) http.HandlerFunc { return redirect("http://user:pw@a.test.internal/") }, connection},
		"a redirect to nowhere":        {func(string) http.HandlerFunc { return redirect("") }, connection},
		"a redirect to no URL":         {func(string) http.HandlerFunc { return redirect("http://[::1/") }, connection},
		"a body that goes on": {func(a string) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) {
				for range 200_000 {
					if _, err := fmt.Fprint(w, a); err != nil {
						return
					}
				}
			}
		}, incorrectResponse},
		"a body with something behind": {func(a string) http.HandlerFunc { return says(a + "x") }, incorrectResponse},
		"a body with something before": {func(a string) http.HandlerFunc { return says(" " + a) }, incorrectResponse},
		"a body that lacks a letter":   {func(a string) http.HandlerFunc { return says(a[:len(a)-1]) }, incorrectResponse},
		"a body in capitals":           {func(a string) http.HandlerFunc { return says(strings.ToUpper(a)) }, incorrectResponse},
		"the token alone":              {func(a string) http.HandlerFunc { return says(a[:strings.Index(a, ".")]) }, incorrectResponse},
		"an empty body":                {func(string) http.HandlerFunc { return says("") }, incorrectResponse},
		"a right body that is an error": {func(a string) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404); fmt.Fprint(w, a) }
		}, unauthorized},
		"a right body that is partial": {func(a string) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(206); fmt.Fprint(w, a) }
		}, unauthorized},
		"a connection that is cut": {func(string) http.HandlerFunc {
			return func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
		}, connection},
		"headers that go on": {func(string) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) {
				for i := range 1000 {
					w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("x", 100))
				}
			}
		}, connection},
	} {
		t.Run(sentence, func(t *testing.T) {
			o := c.order("harm.test.internal")
			ch := c.authorization(o.Authorizations[0]).find(t, "http-01")
			w.web.handle(k.handler(c.keyAuthorization(ch.Token)))
			defer w.web.handle(nil)
			got := decodeJSON[challengeView](t, c.post(ch.URL, struct{}{}).body)
			if got.Status != statusInvalid || got.Error == nil || got.Error.Type != problemSpace+k.kind {
				t.Errorf("%s %+v", got.Status, got.Error)
			}
			if v := c.look(o); v.Status != statusInvalid || v.Error == nil {
				t.Errorf("the order is %s, %+v", v.Status, v.Error)
			}
			w.acme.limits = newLimits(w.clock.now) // so many failures would make the next one wait
		})
	}
	if n := secret.requests(); n != 0 {
		t.Errorf("the secret port was asked %d times", n)
	}
	if n := w.issued(); n != 0 {
		t.Errorf("%d certificates were issued", n)
	}
}

func redirect(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusFound)
	}
}

func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }
}

// White space at the end is ignored, and a redirect within the networks is
// followed (RFC 8555 section 8.3).
func TestChallengeServersThatMeanWell(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.account(t, "services/web")
	for sentence, handler := range map[string]func(answer string) http.HandlerFunc{
		"an end of line": func(a string) http.HandlerFunc { return says(a + "\r\n \t\n") },
		"a redirect":     nil,
		"a slow beginning": func(a string) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { time.Sleep(50 * time.Millisecond); fmt.Fprint(w, a) }
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			o := c.order("well.test.internal")
			ch := c.authorization(o.Authorizations[0]).find(t, "http-01")
			answer := c.keyAuthorization(ch.Token)
			if handler == nil {
				handler = func(string) http.HandlerFunc {
					return func(v http.ResponseWriter, r *http.Request) {
						if r.URL.Path == "/elsewhere" {
							fmt.Fprint(v, answer)
							return
						}
						http.Redirect(v, r, fmt.Sprintf("http://other.test.internal:%d/elsewhere", w.web.port), http.StatusMovedPermanently)
					}
				}
			}
			w.web.handle(handler(answer))
			defer w.web.handle(nil)
			if got := decodeJSON[challengeView](t, c.post(ch.URL, struct{}{}).body); got.Status != statusValid {
				t.Errorf("%+v", got)
			}
		})
	}
}

// A server that takes the connection and says nothing holds nobody for long.
func TestAChallengeServerThatStalls(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	t.Cleanup(func() { l.Close() })
	p := w.acme.newServed(Profile{
		Name: "server", Networks: permit.Networks{netip.MustParsePrefix("127.0.0.0/8")}, Resolver: w.dns.addr(),
		HTTPPort: uint16(l.Addr().(*net.TCPAddr).Port), TLSPort: uint16(l.Addr().(*net.TCPAddr).Port),
	}, nil)
	for _, kind := range []string{"http-01", "tls-alpn-01"} {
		ctx, cancel := contextWithin(t, 300*time.Millisecond)
		v := p.validate(ctx, time.Now, query{kind: kind, host: ids("stall.test.internal")[0], token: newToken()})
		cancel()
		if v.problem == nil || !strings.Contains(v.problem.Detail, "no answer in time") {
			t.Errorf("%s: %+v", kind, v.problem)
		}
	}
}

func TestDNSThatMeansHarm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.account(t, "services/web")
	w.dns.set(func(s *dnsServer) {
		s.addresses["forbidden.test.internal"] = []string{"10.255.255.1"}
		s.addresses["meta.test.internal"] = []string{"169.254.169.254"}
		s.addresses["nothing.test.internal"] = nil
		s.addresses["mapped.test.internal"] = []string{"::ffff:10.255.255.1"}
		s.addresses["nat.test.internal"] = []string{"64:ff9b::7f00:1"}
		s.addresses["sixtofour.test.internal"] = []string{"2002:7f00:1::1"}
		s.addresses["two.test.internal"] = []string{"10.255.255.1", "127.0.0.1"}
		s.aliases["loop.test.internal"], s.aliases["pool.test.internal"] = "pool.test.internal", "loop.test.internal"
		s.aliases["_acme-challenge.loop.test.internal"] = "_acme-challenge.loop.test.internal"
	})
	for _, k := range []struct {
		sentence, host, challenge, kind string
	}{
		{"an address in a forbidden network", "forbidden.test.internal", "http-01", connection},
		{"the metadata service", "meta.test.internal", "http-01", connection},
		{"an address in a forbidden network, by TLS", "forbidden.test.internal", "tls-alpn-01", connection},
		{"no address", "nothing.test.internal", "http-01", dnsProblem},
		{"an IPv4 address in IPv6 form", "mapped.test.internal", "http-01", connection},
		{"an IPv4 address behind NAT64", "nat.test.internal", "http-01", connection},
		{"an IPv4 address by 6to4", "sixtofour.test.internal", "http-01", connection},
		{"aliases that go round", "loop.test.internal", "http-01", dnsProblem},
		{"an alias of itself", "loop.test.internal", "dns-01", dnsProblem},
		{"no record", "norecord.test.internal", "dns-01", dnsProblem},
	} {
		t.Run(k.sentence, func(t *testing.T) {
			o := c.order(k.host)
			ch := c.authorization(o.Authorizations[0]).find(t, k.challenge)
			w.web.answer(ch.Token, c.keyAuthorization(ch.Token))
			got := decodeJSON[challengeView](t, c.post(ch.URL, struct{}{}).body)
			if got.Status != statusInvalid || got.Error == nil || got.Error.Type != problemSpace+k.kind {
				t.Errorf("%s %+v", got.Status, got.Error)
			}
		})
	}
	t.Run("two addresses of which one is forbidden", func(t *testing.T) {
		c.obtain("http-01", "two.test.internal") // the other one is dialled, and it alone
	})
	t.Run("records of which none is the answer", func(t *testing.T) {
		for range 120 {
			w.dns.addText("_acme-challenge.many.test.internal", strings.Repeat("x", 8))
		}
		o := c.order("many.test.internal")
		ch := c.authorization(o.Authorizations[0]).find(t, "dns-01")
		if got := decodeJSON[challengeView](t, c.post(ch.URL, struct{}{}).body); got.Status != statusInvalid {
			t.Errorf("%+v", got)
		}
	})
}

// A name that points to an allowed address when it is judged and to another
// when it is dialled is not dialled again: it is asked for once.
func TestAHostIsLookedUpOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.account(t, "services/web")
	c.obtain("http-01", "once.test.internal")
	var asked int
	w.dns.set(func(s *dnsServer) { asked = s.asked["once.test.internal"] })
	if asked > 2 { // one question for each family of addresses
		t.Errorf("the host was looked up %d times", asked)
	}
}

// An empty list of networks is nowhere.
func TestWithoutNetworksNothingIsDialled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.profile.Networks = nil })
	c := w.account(t, "services/web")
	o := c.order("a.test.internal", "127.0.0.1")
	for _, url := range o.Authorizations {
		for _, kind := range []string{"http-01", "tls-alpn-01"} {
			v := c.authorization(url)
			for _, ch := range v.Challenges {
				if ch.Type == kind && ch.Status == statusPending && v.Status == statusPending {
					w.web.answer(ch.Token, c.keyAuthorization(ch.Token))
					got := decodeJSON[challengeView](t, c.post(ch.URL, struct{}{}).body)
					if got.Status != statusInvalid || got.Error.Type != problemSpace+connection {
						t.Errorf("%+v", got)
					}
				}
			}
		}
	}
	if n := w.web.requests(); n != 0 {
		t.Errorf("%d requests were made", n)
	}
	c.obtain("dns-01", "b.test.internal") // needs no connection to the host
}

// The story of a validation that failed is kept for the operator.
func TestAFailedValidationExplainsItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.account(t, "services/web")
	o := c.order("story.test.internal")
	ch := c.authorization(o.Authorizations[0]).find(t, "http-01")
	w.web.answer(ch.Token, "nearly right")
	c.post(ch.URL, struct{}{})
	id := o.url[strings.LastIndex(o.url, "/")+1:]
	story := must(w.authority.ACMEOrder(t.Context(), id))(t)
	if story.Status != statusInvalid || len(story.Authorized) != 1 {
		t.Fatalf("%+v", story)
	}
	var tried authority.ACMEChallenge
	for _, x := range story.Authorized[0].Challenges {
		if x.Type == "http-01" {
			tried = x
		}
	}
	if len(tried.Attempts) != 1 {
		t.Fatalf("%+v", tried)
	}
	at := tried.Attempts[0]
	steps := strings.Join(at.Steps, "\n")
	if !strings.Contains(steps, "connected to story.test.internal at 127.0.0.1:") || !strings.Contains(steps, "answered 200 OK") ||
		at.Seen != "nearly right" || at.Expected != c.keyAuthorization(ch.Token) || at.OK {
		t.Errorf("%+v", at)
	}
	if tried.Error == nil || strings.Contains(tried.Error.Detail, "nearly right") {
		t.Errorf("the client is told %+v: what a server within the networks says is not its business", tried.Error)
	}
}
