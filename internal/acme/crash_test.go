package acme

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/authority"
)

// A broken is an authority whose disk fails at the point that a test names.
type broken struct {
	*authority.Service
	issue, issued, write atomic.Bool // fail before issuing, after it, and when writing a record
}

var errDisk = errors.New("the disk is gone: /var/lib/postern/postern.db")

func (b *broken) IssueACME(ctx context.Context, r authority.ACMEIssueRequest) (authority.Issued, error) {
	if b.issue.Load() {
		return authority.Issued{}, errDisk
	}
	i, err := b.Service.IssueACME(ctx, r)
	if b.issued.Load() {
		return authority.Issued{}, errDisk // it happened, and the answer is lost
	}
	return i, err
}

func (b *broken) WriteACMERecords(ctx context.Context, r ...authority.ACMERecord) error {
	if b.write.Load() {
		return errDisk
	}
	return b.Service.WriteACMERecords(ctx, r...)
}

// A store that fails in the middle: the answer says that it may be asked
// again, says nothing about our disk, and asking again does nothing twice.
func TestAStoreThatFailsInTheMiddle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := &broken{Service: w.authority}
	w.acme.authority = b
	c := w.account(t, "services/web")
	for sentence, fails := range map[string]*atomic.Bool{"before it issues": &b.issue, "after it has issued": &b.issued, "when the order is kept": &b.write} {
		t.Run(sentence, func(t *testing.T) {
			before := w.issued()
			o := c.order("mid.test.internal")
			c.respond(o, "http-01")
			csr := c.csr(newKey(t), "mid.test.internal")
			fails.Store(true)
			a := c.finalize(o, csr)
			fails.Store(false)
			if a.status != http.StatusServiceUnavailable || a.kind() != serverInternal || a.header.Get("Retry-After") == "" {
				t.Errorf("%d %s", a.status, a.body)
			}
			if v := c.look(o); v.Status != statusReady {
				t.Errorf("the order is %s: it can be finalized again", v.Status)
			}
			again := c.finalize(o, csr)
			if again.status != http.StatusOK {
				t.Fatalf("%d %s", again.status, again.body)
			}
			c.fetch(decodeJSON[orderView](t, again.body))
			if n := w.issued() - before; n != 1 {
				t.Errorf("%d certificates for one order", n)
			}
		})
	}
	t.Run("when an order is made", func(t *testing.T) {
		b.write.Store(true)
		a := c.post("new-order", map[string]any{"identifiers": ids("mid.test.internal")})
		b.write.Store(false)
		if a.status != http.StatusServiceUnavailable {
			t.Errorf("%d %s", a.status, a.body)
		}
		if contains := string(a.body); len(contains) > 300 || a.problem.Detail == errDisk.Error() {
			t.Errorf("the client is told of our disk: %s", a.body)
		}
	})
	t.Run("when an account is made", func(t *testing.T) {
		n := w.client(t)
		k := w.invite("services/new")
		b.write.Store(true)
		if a := n.register(k); a.status != http.StatusServiceUnavailable {
			t.Errorf("%d %s", a.status, a.body)
		}
		b.write.Store(false)
		if a := n.register(k); a.status >= 300 { // the ledger has bound it
			t.Errorf("%d %s", a.status, a.body)
		}
	})
	w.verify()
}

// A restart in the middle of a validation: whoever asks again hears the end of
// it. Nonces from before it are still good, once.
func TestARestartInTheMiddle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.account(t, "services/web")
	o := c.order("restart.test.internal")
	ch := c.authorization(o.Authorizations[0]).find(t, "http-01")
	hold, asked := make(chan struct{}), make(chan struct{}, 10)
	w.web.handle(func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-hold
	})
	w.acme.patience = time.Millisecond
	if got := decodeJSON[challengeView](t, c.post(ch.URL, struct{}{}).body); got.Status != statusProcessing {
		t.Fatalf("%+v", got)
	}
	<-asked
	nonce := c.nonce()
	old := w.URL
	w.acme.end() // as a crash would, without an outcome
	close(hold)
	w.restart()
	w.web.handle(nil)
	w.web.answer(ch.Token, c.keyAuthorization(ch.Token))
	c.moved(old)
	c.next = nonce
	var v authorizationView
	for end := time.Now().Add(20 * time.Second); v.Status != statusValid && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		v = c.authorization(c.moveURL(old, o.Authorizations[0]))
	}
	if v.Status != statusValid {
		t.Fatalf("%+v", v)
	}
	a := c.finalize(orderView{Finalize: c.moveURL(old, o.Finalize)}, c.csr(newKey(t), "restart.test.internal"))
	if a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.body)
	}
	w.verify()
}

// After a restore the records of accounts are gone and the ledger is not: a
// client that asks with its key has its account again, without a new binding.
// So has one whose key change was recorded when the server stopped.
func TestAnAccountThatOnlyTheLedgerKnows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.account(t, "services/web")
	must(w.store.SweepStates(t.Context(), forever.Add(time.Hour), 1000))(t)
	w.restart()
	c.http, c.next = w.Client(), ""
	if a := c.postKey("new-account", map[string]any{"onlyReturnExisting": true}); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	} else {
		c.kid = a.header.Get("Location")
	}
	c.obtain("http-01", "again.test.internal")

	b := &broken{Service: w.authority}
	w.acme.authority = b
	url, old, next := w.base()+"/key-change", c.key, newKey(t)
	inner := c.sign(map[string]any{"alg": "ES256", "url": url, "jwk": jwk(t, next)}, c.payloadOf(map[string]any{"account": c.kid, "oldKey": jwk(t, old)}), next)
	b.write.Store(true)
	if a := c.send(url, c.sign(map[string]any{"alg": "ES256", "nonce": c.nonce(), "url": url, "kid": c.kid}, inner, old)); a.status != http.StatusServiceUnavailable {
		t.Errorf("%d %s", a.status, a.body)
	}
	b.write.Store(false)
	c.key = next
	if a := c.postKey("new-account", map[string]any{}); a.status != http.StatusOK || a.header.Get("Location") != c.kid {
		t.Fatalf("%d %s", a.status, a.body)
	}
	c.obtain("http-01", "rekeyed.test.internal")
	w.verify()
}

// A validation that fails is tried again (RFC 8555 section 8.2), and the
// challenge says meanwhile what went wrong.
func TestAValidationIsTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.acme.retries, w.acme.patience = []time.Duration{0, 0, 0}, 20*time.Second
	c := w.account(t, "services/web")
	o := c.order("slow.test.internal")
	ch := c.authorization(o.Authorizations[0]).find(t, "http-01")
	var asked atomic.Int32
	w.web.handle(func(v http.ResponseWriter, r *http.Request) {
		if asked.Add(1) < 3 {
			http.NotFound(v, r)
			return
		}
		says(c.keyAuthorization(ch.Token))(v, r)
	})
	if got := decodeJSON[challengeView](t, c.post(ch.URL, struct{}{}).body); got.Status != statusValid || got.Error != nil || asked.Load() != 3 {
		t.Errorf("%+v after %d requests", got, asked.Load())
	}
}

// moved has the client go on with a server that came back at another address.
func (c *client) moved(old string) {
	c.http, c.kid = c.w.Client(), c.moveURL(old, c.kid)
}

func (c *client) moveURL(old, url string) string { return c.w.URL + url[len(old):] }
