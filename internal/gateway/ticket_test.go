package gateway

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"
)

// ticket returns what the newest session sends to resume itself.
func (w *wallet) ticket(tb testing.TB) []byte {
	tb.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	label, _, err := w.s.ResumptionState()
	must(tb, err)
	return label
}

// swap makes the newest session send another ticket.
func (w *wallet) swap(tb testing.TB, label []byte) {
	tb.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	_, state, err := w.s.ResumptionState()
	must(tb, err)
	w.s, err = tls.NewResumptionState(label, state)
	must(tb, err)
}

func (h *house) tickets(host string) *tickets {
	d := h.table.Load().doors[host]
	return &tickets{g: h.Gateway, trust: d.trust, mark: scopeMark(d)}
}

// A ticket refers to the chain, so it fits into the first packet of a
// handshake, and what a stealthy site verified makes no difference.
func TestATicketIsShort(t *testing.T) {
	w := newWorld(t)
	h := w.open(Options{}, ticketSites(allow(t, "ben"))...)
	d := w.enrol("ben")
	for _, host := range []string{"a.example.com", "s.example.com"} {
		for _, version := range []uint16{tls.VersionTLS13, tls.VersionTLS12} {
			cache := new(wallet)
			config := w.resumable(d, host, cache)
			config.MaxVersion = version
			h.visit(config)
			if n := len(cache.ticket(t)); n > 256 {
				t.Errorf("%s, %s: %d bytes for a chain of %d", host, tls.VersionName(version), n, len(d.Certificate.Certificate[0])+len(d.Certificate.Certificate[1]))
			}
			if resumed, resp, _ := h.visit(config); !resumed || resp.StatusCode != http.StatusOK {
				t.Errorf("%s, %s: resumed %v, %s", host, tls.VersionName(version), resumed, resp.Status)
			}
		}
	}
}

func TestATicketWhoseChainIsForgottenFallsBack(t *testing.T) {
	w := newWorld(t)
	h := w.open(Options{}, ticketSites(allow(t, "ben"))...)
	cache := new(wallet)
	config := w.resumable(w.enrol("ben"), "a.example.com", cache)
	h.visit(config)
	*h.trust.Load().known = *newMemory()
	if resumed, resp, body := h.visit(config); resumed || resp.StatusCode != http.StatusOK {
		t.Errorf("resumed %v, %s %s", resumed, resp.Status, body)
	}
	if resumed, _, _ := h.visit(config); !resumed {
		t.Error("the ticket of the full handshake was declined")
	}
}

// A client whose chain is not good gets no session, whatever it shows next.
func TestABadChainGetsNoSession(t *testing.T) {
	w := newWorld(t)
	h := w.open(Options{}, append(ticketSites(allow(t, "ben")), Site{Host: "open.example.com", Handler: whoami, List: allow(t, "strangers")})...)
	stray := newIssuer(t, "stray", nil)
	expired := clientTemplate("ben")
	expired.NotAfter = time.Now().Add(-time.Second)
	for sentence, d := range map[string]*device{
		"of an unknown issuer": w.mint(stray, clientTemplate("ben")),
		"that has ended":       w.mint(w.clients, expired),
		"for servers":          w.mint(w.servers, clientTemplate("ben")),
	} {
		for _, host := range []string{"a.example.com", "open.example.com"} {
			cache := new(wallet)
			config := w.resumable(d, host, cache)
			h.visit(config)
			if resumed, _, _ := h.visit(config); resumed {
				t.Errorf("a chain %s was resumed at %s", sentence, host)
			}
		}
	}
}

// Whatever is done to a ticket, it is as good as none: every bit counts, and
// one door's mark opens no other's.
func TestATamperedTicketIsDeclined(t *testing.T) {
	w := newWorld(t)
	h := w.open(Options{}, ticketSites(allow(t, "ben"))...)
	config := w.resumable(w.enrol("ben"), "a.example.com", new(wallet))
	cache := config.ClientSessionCache.(*wallet)
	h.visit(config)
	label := cache.ticket(t)
	box := h.table.Load().doors["a.example.com"].tls.UnwrapSession
	if ss, err := box(label, tls.ConnectionState{}); err != nil || ss == nil {
		t.Fatal("the ticket itself was declined", err)
	}
	for i := range label {
		for bit := range 8 {
			bad := bytes.Clone(label)
			bad[i] ^= 1 << bit
			if ss, err := box(bad, tls.ConnectionState{}); err != nil || ss != nil {
				t.Fatalf("bit %d of byte %d flipped: %v %v", bit, i, ss, err)
			}
		}
	}
	for n := range label {
		if ss, err := box(label[:n], tls.ConnectionState{}); err != nil || ss != nil {
			t.Fatalf("cut to %d bytes: %v %v", n, ss, err)
		}
	}
	for host, d := range h.table.Load().doors {
		if host == "a.example.com" {
			continue
		}
		if ss, err := d.tls.UnwrapSession(label, tls.ConnectionState{}); err != nil || ss != nil {
			t.Errorf("%s opens a ticket of a.example.com", host)
		}
	}
	cache.swap(t, append(bytes.Clone(label), 0))
	if resumed, resp, _ := h.visit(config); resumed || resp.StatusCode != http.StatusOK {
		t.Errorf("over the wire: resumed %v, %s", resumed, resp.Status)
	}
}

// A configuration of an older trust that a handshake still holds opens
// nothing once the roster has moved on.
func TestATicketOfAnOlderTrustIsDeclined(t *testing.T) {
	w := newWorld(t)
	h := w.open(Options{}, ticketSites(allow(t, "ben"))...)
	cache := new(wallet)
	h.visit(w.resumable(w.enrol("ben"), "a.example.com", cache))
	old := h.table.Load().doors["a.example.com"].tls
	addIssuer(t, w, "clients-2")
	if ss, err := old.UnwrapSession(cache.ticket(t), tls.ConnectionState{}); err != nil || ss != nil {
		t.Error("the old key still opens", err)
	}
}

func TestTicketKeysEnd(t *testing.T) {
	w := newWorld(t)
	now := &shiftedClock{}
	h := w.open(Options{Now: now.now}, ticketSites(allow(t, "ben"))...)
	box := h.tickets("a.example.com")
	seal := func() []byte {
		label, err := box.wrap(tls.ConnectionState{}, nil)
		must(t, err)
		return label
	}
	opens := func(label []byte) bool {
		_, ok := box.open(label, now.now())
		return ok
	}
	first := seal()
	now.advance(rotation + time.Minute)
	second := seal()
	if len(box.keys) != 2 || !opens(first) || !opens(second) {
		t.Fatal("a key went too early")
	}
	now.advance(rotation)
	if opens(first) {
		t.Error("a ticket opens two rotations later")
	}
	seal()
	if len(box.keys) != 2 || opens(first) || !opens(second) {
		t.Error("not the oldest key went")
	}
}

// One leaf fills one place of the memory, however its holder spells the chain.
func TestOneLeafIsRememberedOnce(t *testing.T) {
	w := newWorld(t)
	h := w.open(Options{})
	tr, ben := h.trusted(), w.enrol("ben")
	spellings := [][]*x509.Certificate{
		{ben.Leaf, w.clients.cert}, {ben.Leaf}, {ben.Leaf, w.clients.cert, w.root.cert}, {ben.Leaf, w.clients.cert, w.clients.cert},
	}
	for i, presented := range spellings {
		if cr := tr.examine(presented, time.Now()); cr.code != "" {
			t.Fatalf("spelling %d: %s %s", i, cr.code, cr.detail)
		}
		if m := tr.known; len(m.slots) != 1 || len(m.byChain) != 1 || len(m.byLeaf) != 1 {
			t.Fatalf("spelling %d: %d slots, %d chains, %d leaves", i, len(m.slots), len(m.byChain), len(m.byLeaf))
		}
	}
}

// What is used stays, what is not goes, and there are never more than maxKnown.
func TestTheMemoryIsBounded(t *testing.T) {
	m, tr := newMemory(), new(trust)
	add := func(n int) fingerprint {
		cr := &credential{trust: tr, until: time.Now().Add(time.Hour), key: fingerprint{byte(n), byte(n >> 8), byte(n >> 16)}}
		cr.client.Ref.TBS[0], cr.client.Ref.TBS[1], cr.client.Ref.TBS[2] = byte(n), byte(n>>8), byte(n>>16)
		m.keep(cr)
		return cr.key
	}
	regular := add(0)
	for n := 1; n < 3*maxKnown; n++ {
		add(n)
		if m.recall(regular, time.Now()) == nil {
			t.Fatalf("what is used was forgotten at %d", n)
		}
	}
	if len(m.slots) != maxKnown || len(m.byChain) != maxKnown || len(m.byLeaf) != maxKnown {
		t.Errorf("%d slots, %d chains, %d leaves", len(m.slots), len(m.byChain), len(m.byLeaf))
	}
}

// Putting back undoes cutting out, and takes nothing else.
func FuzzPutBackUndoesCutOut(f *testing.F) {
	f.Add([]byte("before leaf between issuer after"), []byte("leaf"), []byte("issuer"))
	f.Add([]byte("aaaa"), []byte("aa"), []byte("a"))
	f.Add([]byte{}, []byte{}, []byte{3, 1})
	f.Fuzz(func(t *testing.T, state, a, b []byte) {
		ders := [][]byte{a, b}
		got, ok := putBack(cutOut(nil, state, ders), ders)
		if !ok || !bytes.Equal(got, state) {
			t.Fatalf("%q came back as %q, %v", state, got, ok)
		}
		if got, ok := putBack(state, ders); ok && len(got) > len(state)*(1+max(len(a), len(b))) {
			t.Fatalf("%q became %d bytes", state, len(got))
		}
	})
}

// Many at once resume while the trust changes: nobody is let in or kept out
// for it.
func TestTicketsUnderChange(t *testing.T) {
	w := newWorld(t)
	h := w.open(Options{}, ticketSites(allow(t, "ben"))...)
	d := w.enrol("ben")
	var visitors sync.WaitGroup
	for range 8 {
		visitors.Go(func() {
			config := w.resumable(d, "a.example.com", new(wallet))
			for range 10 {
				if _, resp, body := h.visit(config); resp.StatusCode != http.StatusOK {
					t.Errorf("%s %s", resp.Status, body)
				}
			}
		})
	}
	for i := range 5 {
		addIssuer(t, w, fmt.Sprintf("clients-%d", i+2))
	}
	visitors.Wait()
}
