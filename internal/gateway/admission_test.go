package gateway

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"
)

func TestWhoMakesRoom(t *testing.T) {
	flood, home, else1 := netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24")
	known := func(p netip.Prefix) bool { return p == home }
	fill := func(from ...netip.Prefix) (*queue, []*conn) {
		q := newQueue()
		var conns []*conn
		for _, p := range from {
			c := &conn{}
			q.add(c, p)
			conns = append(conns, c)
		}
		return &q, conns
	}
	for sentence, c := range map[string]struct {
		waiting []netip.Prefix
		from    netip.Prefix
		victim  int
	}{
		"a flood makes room for its own":                     {[]netip.Prefix{else1, home, flood, flood, flood}, flood, 2},
		"and for somebody known":                             {[]netip.Prefix{home, home, flood, flood, flood, flood, flood, flood, flood, flood, flood, flood, flood, flood, flood, flood, flood}, else1, 2},
		"the oldest of those from where nobody known came":   {[]netip.Prefix{home, else1, flood, flood, flood}, netip.MustParsePrefix("192.0.3.0/24"), 1},
		"where all are from known places, the oldest of all": {[]netip.Prefix{home, home, home}, else1, 0},
	} {
		q, conns := fill(c.waiting...)
		v := q.victim(c.from, known)
		if got := v.Value.(waiter).conn; got != conns[c.victim] {
			t.Errorf("%s: another one", sentence)
		}
		q.remove(v)
		q.remove(v)
		if q.order.Len() != len(conns)-1 {
			t.Errorf("%s: %d are left", sentence, q.order.Len())
		}
	}
	q, _ := fill(flood)
	q.remove(q.order.Front())
	if len(q.from) != 0 {
		t.Error("places without anybody are still counted")
	}
}

func TestNeighboursAreBounded(t *testing.T) {
	var n neighbours
	now := time.Unix(1000, 0)
	place := func(i int) netip.Prefix {
		p, _ := netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}).Prefix(24)
		return p
	}
	for i := range maxNeighbours + 10 {
		n.note(place(i), now.Add(time.Duration(i)*time.Second))
	}
	later := now.Add(maxNeighbours * time.Second)
	if len(n.seen) != maxNeighbours || n.has(place(0), later) || !n.has(place(maxNeighbours), later) {
		t.Errorf("%d places", len(n.seen))
	}
	if n.has(place(maxNeighbours), later.Add(2*neighbourFor)) {
		t.Error("never forgotten")
	}
}

// A known neighbourhood's slow handshake outlives a flood from elsewhere.
func TestAFloodDoesNotPushOutTheNeighbours(t *testing.T) {
	w := newWorld(t)
	ben := w.enrol("ben/phone")
	h := w.open(Options{Limits: Limits{Handshakes: 8}}, Site{Host: "pw.example.com", Handler: whoami, List: allow(t, "ben")})
	var from atomic.Pointer[string]
	set := func(s string) { from.Store(&s) }
	set("192.0.2.7:1")
	accepted := make(chan struct{}, 64)
	addr := h.serveFromEach(func() string { defer func() { accepted <- struct{}{} }(); return *from.Load() })
	greet := func() string {
		_, body := fetch(t, client(t, addr, w.clientTLS(ben, "pw.example.com")), "https://pw.example.com/")
		<-accepted
		return body
	}
	if body := greet(); body != "hello ben/phone" {
		t.Fatal(body)
	}
	if !h.neighbours.has(netip.MustParsePrefix("192.0.2.0/24"), time.Now()) || h.neighbours.has(netip.MustParsePrefix("203.0.113.0/24"), time.Now()) {
		t.Error("where Ben came from is not known, or where nobody did is")
	}
	set("192.0.2.8:1")
	slow, err := net.Dial("tcp", addr)
	must(t, err)
	defer slow.Close()
	<-accepted
	set("203.0.113.9:1")
	for range 40 {
		c, err := net.Dial("tcp", addr)
		must(t, err)
		defer c.Close()
		<-accepted
	}
	late := tls.Client(slow, w.clientTLS(ben, "pw.example.com"))
	if err := late.HandshakeContext(t.Context()); err != nil {
		t.Errorf("the slow one was pushed out: %v", err)
	}
	if n := h.count("postern_handshakes_total", "result", shakeCrowded); n == 0 {
		t.Error("nobody was")
	}
}

// Handshakes of strangers are worked on one after the other, and whoever comes
// from where a known device does waits for none of them. A stranger who says
// half of something, or nothing, holds nobody up.
func TestStrangersTakeTurns(t *testing.T) {
	w := newWorld(t)
	ben := w.enrol("ben/phone")
	h := w.open(Options{Limits: Limits{Hello: 3 * time.Second}}, Site{Host: "pw.example.com", Handler: whoami, List: allow(t, "ben")})
	var from atomic.Pointer[string]
	set := func(s string) { from.Store(&s) }
	accepted := make(chan struct{}, 64)
	addr := h.serveFromEach(func() string { defer func() { accepted <- struct{}{} }(); return *from.Load() })
	greet := func() error {
		raw, err := net.Dial("tcp", addr)
		must(t, err)
		defer raw.Close()
		<-accepted
		raw.SetDeadline(time.Now().Add(time.Second))
		return tls.Client(raw, w.clientTLS(nil, "pw.example.com")).Handshake()
	}
	const home, away = "192.0.2.7:1", "203.0.113.9:1"
	set(home)
	if _, body := fetch(t, client(t, addr, w.clientTLS(ben, "pw.example.com")), "https://pw.example.com/"); body != "hello ben/phone" {
		t.Fatal(body)
	}
	<-accepted

	set(away)
	hello := helloOf(t, w.clientTLS(nil, "pw.example.com"))
	for _, said := range [][]byte{nil, hello[:3], hello[:100], hello} {
		slow, err := net.Dial("tcp", addr)
		must(t, err)
		defer slow.Close()
		<-accepted
		slow.Write(said)
	}
	if err := greet(); err != nil {
		t.Errorf("strangers who say nothing keep the others out: %v", err)
	}

	for range cap(h.turns.free) { // as if so many were being worked on
		<-h.turns.free
	}
	if err := greet(); err == nil {
		t.Error("a stranger had a turn though none was left")
	}
	set(home)
	if err := greet(); err != nil {
		t.Errorf("one from a known network has to wait: %v", err)
	}
	set(away)
	waiting, err := net.Dial("tcp", addr)
	must(t, err)
	defer waiting.Close()
	<-accepted
	waiting.Write(hello)
	eventually(t, "they give up by the end of their time", func() bool { return h.count("postern_handshakes_total", "result", shakeTimeout) >= 2 })
	for range cap(h.turns.free) {
		h.turns.giveBack()
	}
	if err := greet(); err != nil {
		t.Errorf("with turns to be had again: %v", err)
	}
}

// A connection that is cut waits for no turn.
func TestWhoIsCutWaitsNoLonger(t *testing.T) {
	all := newTurns()
	defer all.close()
	for range cap(all.free) {
		<-all.free
	}
	c := &conn{}
	waited := make(chan error, 2)
	go func() { waited <- (&turn{all: all}).take(c, time.Hour) }()
	eventually(t, "it waits", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.end != nil })
	c.mark(errCrowded)
	go func() { waited <- (&turn{all: all}).take(c, time.Hour) }()
	for range 2 {
		if err := <-waited; !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v", err)
		}
	}
}
