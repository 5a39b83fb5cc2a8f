package gateway

import (
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/ledger"
)

func TestTheRateOfAParty(t *testing.T) {
	l := newLimiter(Limit{Count: 60, Interval: time.Minute, Burst: 3})
	now := time.Unix(1000, 0)
	ben, anna := []party{{name: name(t, "ben")}}, []party{{name: name(t, "anna")}}
	for i := range 3 {
		if _, ok := l.take(ben, now); !ok {
			t.Fatalf("request %d of the burst is refused", i)
		}
	}
	if wait, ok := l.take(ben, now); ok || wait != time.Second {
		t.Errorf("the fourth: wait %v, %v", wait, ok)
	}
	if _, ok := l.take(anna, now); !ok {
		t.Error("somebody else is refused")
	}
	if _, ok := l.take(append(anna, ben...), now); ok {
		t.Error("one of two parties has nothing left")
	}
	now = now.Add(time.Second)
	if _, ok := l.take(ben, now); !ok {
		t.Error("a second later one more is allowed")
	}
	if _, ok := l.take(ben, now); ok {
		t.Error("and only one")
	}
	if _, ok := l.take(ben, now.Add(-time.Hour)); ok {
		t.Error("a clock that goes back gives nothing")
	}
	now = now.Add(time.Hour)
	allowed := 0
	for range 10 {
		if _, ok := l.take(ben, now); ok {
			allowed++
		}
	}
	if allowed != 3 {
		t.Errorf("after a rest %d, want the burst", allowed)
	}
}

// However many parties come, what is kept of them is bounded, and those who
// came too late share what one may have.
func TestPartiesAreBounded(t *testing.T) {
	l := newLimiter(Limit{Count: 1, Interval: time.Hour, Concurrent: 1})
	now := time.Unix(1000, 0)
	allowed := 0
	for i := range maxParties + 1000 {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		if _, ok := l.take([]party{{address: household(a)}}, now); ok {
			allowed++
		}
	}
	if len(l.buckets) > maxParties+1 || allowed > maxParties+1 {
		t.Errorf("%d buckets, %d allowed", len(l.buckets), allowed)
	}
	for p := range l.buckets {
		l.give([]party{p})
	}
	if _, ok := l.take([]party{{name: name(t, "ben")}}, now.Add(2*time.Hour)); !ok || len(l.buckets) > 2 {
		t.Errorf("what was used long ago is still kept: %d", len(l.buckets))
	}
}

func TestAHousehold(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.7": "192.0.2.7/32", "::ffff:192.0.2.7": "192.0.2.7/32", "2001:db8::1:2:3:4": "2001:db8::/64", "fe80::1%eth0": "fe80::/64",
	} {
		if got := household(netip.MustParseAddr(address)).String(); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
	if household(netip.Addr{}).IsValid() {
		t.Error("no address has a household")
	}
}

func TestLimits(t *testing.T) {
	w := newWorld(t)
	ben, tablet, anna := w.enrol("ben/phone"), w.enrol("ben/tablet"), w.enrol("anna/phone")
	w.append(ledger.GroupJoined{Group: group(t, "family"), Name: name(t, "ben")}, ledger.GroupJoined{Group: group(t, "family"), Name: name(t, "anna")})
	limited := func(match string, l Limit, words ...string) Route {
		r := route(t, match, words...)
		r.Policy = Policy{Limits: []Limit{l}}
		return r
	}
	hourly := func(per Party, n int) Limit { return Limit{Per: per, Count: n, Interval: time.Hour} }
	h := w.open(Options{}, Site{Host: "app.example.com", Handler: whoami, List: allow(t, "enrolled"), Routes: []Route{
		limited("/mine/", hourly(PerIdentity, 2), "enrolled"),
		limited("/ours/", hourly(PerGroup, 2), "enrolled"),
		limited("/here/", hourly(PerAddress, 2), "strangers"),
	}})
	status := func(d *device, path string) string {
		code, body := h.ask(d, "app.example.com", "GET", path)
		if code == 429 {
			return string(refusalIn(body))
		}
		return strconv.Itoa(code)
	}
	for i, step := range []struct {
		who  *device
		path string
		want string
	}{
		{ben, "/mine/", "200"}, {ben, "/mine/x", "200"}, {ben, "/mine/", "rate-limited"}, {tablet, "/mine/", "200"}, {anna, "/mine/", "200"},
		{nil, "/mine/", "403"}, {ben, "/", "200"},
		{ben, "/ours/", "200"}, {anna, "/ours/", "200"}, {tablet, "/ours/", "rate-limited"},
		{nil, "/here/", "200"}, {ben, "/here/", "200"}, {anna, "/here/", "rate-limited"}, {nil, "/here/", "rate-limited"},
	} {
		if got := status(step.who, step.path); got != step.want {
			t.Errorf("step %d, %s: %s, want %s", i+1, step.path, got, step.want)
		}
	}
	resp, _ := h.get(ben, "app.example.com", "/mine/")
	if after, err := strconv.Atoi(resp.Header.Get("Retry-After")); err != nil || after < 1 || after > 3600 {
		t.Errorf("Retry-After %q", resp.Header.Get("Retry-After"))
	}
	// What was used stays used when the configuration is read again.
	must(t, h.Configure(h.config))
	if got := status(ben, "/mine/"); got != "rate-limited" {
		t.Errorf("after a reload: %s", got)
	}
	w.append(ledger.IssuerAdded{Name: "clients-2", Use: ledger.UseClients, Certificate: newIssuer(t, "clients-2", w.root, x509.ExtKeyUsageClientAuth).cert.Raw})
	if got := status(ben, "/mine/"); got != "rate-limited" {
		t.Errorf("after a change of trust: %s", got)
	}
}

func TestOnlySoManyAtOnce(t *testing.T) {
	w := newWorld(t)
	ben, anna := w.enrol("ben/phone"), w.enrol("anna/phone")
	entered, leave := make(chan struct{}), make(chan struct{})
	slow := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		entered <- struct{}{}
		<-leave
		io.WriteString(rw, "done")
	})
	h := w.open(Options{}, Site{Host: "app.example.com", Handler: slow, List: allow(t, "enrolled"), Policy: Policy{Limits: []Limit{{Per: PerIdentity, Concurrent: 1}}}})
	done := make(chan string, 8)
	ask := func(d *device) {
		status, body := h.ask(d, "app.example.com", "GET", "/")
		done <- fmt.Sprint(status, " ", string(refusalIn(body)))
	}
	go ask(ben)
	<-entered
	ask(ben)
	if got := <-done; got != "429 rate-limited" {
		t.Error(got)
	}
	go ask(anna)
	<-entered
	leave <- struct{}{}
	leave <- struct{}{}
	for range 2 {
		if got := <-done; got != "200 " {
			t.Error(got)
		}
	}
	// The place is given back a moment after the answer arrived.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		go ask(ben)
		select {
		case <-entered:
			leave <- struct{}{}
			if got := <-done; got != "200 " {
				t.Error(got)
			}
			return
		case <-done:
			if time.Now().After(deadline) {
				t.Fatal("the place is never free again")
			}
		}
	}
}
