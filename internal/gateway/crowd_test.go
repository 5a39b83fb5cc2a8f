package gateway

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"
)

// Strangers can fill the house, and then push out only each other: who rested
// longest goes first, who is busy goes last, who is known stays.
func TestStrangersPushOutOnlyEachOther(t *testing.T) {
	w, s := newWorld(t), newStage()
	h := w.openConfig(Options{Limits: Limits{Connections: 5, Handshakes: 16}}, Config{Public: s, PublicHost: "join.example.com",
		Sites: []Site{{Host: "pw.example.com", Handler: s, List: allow(t, "ben")}}})
	ben := h.mustDial(w.clientTLS(w.enrol("ben"), "pw.example.com"))
	askFor(t, ben, "pw.example.com", "/")
	visit := func() *tls.Conn {
		conn := h.mustDial(w.clientTLS(nil, "join.example.com"))
		askFor(t, conn, "join.example.com", "/")
		return conn
	}
	busy := h.mustDial(w.clientTLS(nil, "join.example.com"))
	fmt.Fprintf(busy, "GET /hold HTTP/1.1\r\nHost: join.example.com\r\n\r\n")
	readPast(t, busy, "\r\n\r\n")
	first, second, third := visit(), visit(), visit()
	askFor(t, first, "join.example.com", "/") // so the second has rested longer
	fourth := visit()
	expect(t, "the stranger that rested longest", second, false)
	for range 3 {
		visit()
	}
	for whose, conn := range map[string]net.Conn{"the first stranger": first, "the third": third, "the fourth": fourth} {
		expect(t, whose, conn, false)
	}
	expect(t, "the busy stranger", busy, true)
	expect(t, "somebody known", ben, true)
	if resp, _ := h.get(w.enrol("ben/phone"), "pw.example.com", "/"); resp.StatusCode != http.StatusOK {
		t.Errorf("somebody known was not let in: %s", resp.Status)
	}
}

// A house full of people who are known takes nobody else, and keeps them.
func TestAFullHouse(t *testing.T) {
	w := newWorld(t)
	h := w.open(Options{Limits: Limits{Connections: 4, Handshakes: 16}}, Site{Host: "pw.example.com", Handler: whoami, List: allow(t, "ben")})
	var known []*tls.Conn
	for range 4 {
		conn := h.mustDial(w.clientTLS(w.enrol("ben"), "pw.example.com"))
		askFor(t, conn, "pw.example.com", "/")
		known = append(known, conn)
	}
	if conn, err := h.dial(w.clientTLS(w.enrol("ben"), "pw.example.com")); err == nil {
		expect(t, "one too many", conn, false)
	}
	for i, conn := range known {
		expect(t, fmt.Sprint("the guest ", i), conn, true)
	}
	known[0].Close()
	eventually(t, "there is room again", func() bool {
		conn, err := h.dial(w.clientTLS(w.enrol("ben"), "pw.example.com"))
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	if h.count("postern_handshakes_total", "result", "crowded") < 1 {
		t.Error("nothing was counted")
	}
}

// Nobody is forgotten and nobody counted twice.
func TestTheCrowdCountsRight(t *testing.T) {
	w := newWorld(t)
	h := w.open(Options{Limits: Limits{Connections: 8, Handshakes: 16}}, Site{Host: "pw.example.com", Handler: whoami, List: allow(t, "ben")})
	for i := range 40 {
		switch i % 4 {
		case 0:
			net.Dial("tcp", h.addr)
		case 1:
			h.dial(w.clientTLS(nil, "unknown.example.com"))
		case 2:
			client(t, h.addr, w.clientTLS(nil, "pw.example.com")).Get("https://pw.example.com/")
		default:
			client(t, h.addr, w.clientTLS(w.enrol("ben"), "pw.example.com")).Get("https://pw.example.com/")
		}
	}
	h.stop()
	h.crowd.mu.Lock()
	defer h.crowd.mu.Unlock()
	if h.crowd.open != 0 || h.crowd.resting.Len()+h.crowd.busy.Len() != 0 {
		t.Errorf("%d are open, %d at rest, %d busy", h.crowd.open, h.crowd.resting.Len(), h.crowd.busy.Len())
	}
}

// A stranger may not rest for as long as somebody known.
func TestStrangersRestShortly(t *testing.T) {
	w, s := newWorld(t), newStage()
	h := w.openConfig(Options{Limits: Limits{StrangerIdle: 100 * time.Millisecond}}, Config{Public: s, PublicHost: "join.example.com",
		Sites: []Site{{Host: "pw.example.com", Handler: s, List: allow(t, "ben")}}})
	ben := w.enrol("ben")
	friends := map[string]net.Conn{}
	for living, connect := range livings {
		friends[living] = connect(h, s, w.clientTLS(ben, "pw.example.com"))
	}
	begun := time.Now()
	for _, proto := range []string{"http/1.1", "h2"} {
		for _, first := range []bool{true, false} {
			config := w.clientTLS(nil, "join.example.com")
			config.NextProtos = []string{proto}
			conn := h.mustDial(config)
			switch {
			case !first:
			case proto == "h2":
				newH2(t, conn).get(map[string]string{":authority": "join.example.com"})
			default:
				askFor(t, conn, "join.example.com", "/")
			}
			gone(t, conn)
		}
	}
	if took := time.Since(begun); took < 100*time.Millisecond {
		t.Errorf("it took only %v", took)
	}
	for living, conn := range friends {
		expect(t, living, conn, true)
	}
}

func TestDefaultsLeaveFilesForOthers(t *testing.T) {
	for sentence, c := range map[string]struct {
		files int
		known bool
		want  int
	}{
		"what cannot be read":  {0, false, 4096},
		"next to none":         {32, true, 16},
		"few":                  {256, true, 192},
		"the usual for a user": {1024, true, 896},
		"plenty":               {524_288, true, 16_384},
	} {
		if got := defaultConnections(c.files, c.known); got != c.want {
			t.Errorf("%s: %d, want %d", sentence, got, c.want)
		}
	}
	if l := (Limits{Connections: 100}).orDefaults(); l.Handshakes != 25 || l.StrangerIdle != 10*time.Second {
		t.Errorf("%+v", l)
	}
}
