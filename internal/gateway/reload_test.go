package gateway

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/refusal"
)

// A connection whose site did not change lives through a thousand reloads,
// whatever happens to the sites beside it, in whatever state it is.
func TestAThousandReloads(t *testing.T) {
	t.Parallel()
	w, s := newWorld(t), newStage()
	pw := Site{Host: "pw.example.com", Handler: s, List: allow(t, "ben", "group:family")}
	h := w.open(Options{}, pw)
	ben := w.enrol("ben/phone")
	open := make(map[string]net.Conn, len(livings))
	for living, connect := range livings {
		open[living] = connect(h, s, w.clientTLS(ben, pw.Host))
	}
	chat := livings["a WebSocket"](h, s, w.clientTLS(ben, pw.Host))
	for i := range 1000 {
		other := Site{Host: fmt.Sprintf("other-%d.example.com", i%7), Handler: whoami, List: allow(t, "anna")}
		must(t, h.Configure(Config{Sites: []Site{pw, other}, JoinURL: fmt.Sprint("https://join.example.com/", i)}))
		if i%50 == 0 {
			fmt.Fprintf(chat, "word %d.", i)
			readPast(t, chat, fmt.Sprintf("word %d.", i))
		}
	}
	for living, conn := range open {
		expect(t, living, conn, true)
	}
	if n := h.count("postern_cut_connections_total"); n != 0 {
		t.Errorf("%v connections were cut", n)
	}
}

// Connections that the new rules forbid are cut, and the log says by what;
// those that they allow stay.
func TestReloadCutsWhatItForbids(t *testing.T) {
	t.Parallel()
	w, s := newWorld(t), newStage()
	var log lines
	h := w.open(Options{Log: log.logger()}, Site{Host: "pw.example.com", Handler: s, List: allow(t, "ben", "anna")})
	ben, anna := w.enrol("ben"), w.enrol("anna")
	gone := livings["a WebSocket"](h, s, w.clientTLS(ben, "pw.example.com"))
	kept := livings["a WebSocket"](h, s, w.clientTLS(anna, "pw.example.com"))
	must(t, h.Configure(Config{Sites: []Site{{Host: "pw.example.com", Handler: s, List: allow(t, "anna")}}}))
	expect(t, "ben's", gone, false)
	expect(t, "anna's", kept, true)
	if n := h.count("postern_cut_connections_total", "code", string(refusal.NotOnList)); n != 1 {
		t.Errorf("%v cuts counted, want 1", n)
	}
	for _, want := range []string{"connection cut", "id=ben", "code=not-on-list", "the configuration changed"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q: %s", want, log.String())
		}
	}
}

// A listener that its owner closes takes no more connections; those that came
// in through it live on, and Serve returns when the last one has ended.
func TestClosedListenerLetsItsConnectionsLive(t *testing.T) {
	t.Parallel()
	w, s := newWorld(t), newStage()
	h := w.open(Options{}, Site{Host: "pw.example.com", Handler: s, List: allow(t, "ben")})
	ben := w.enrol("ben")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { ended <- h.Serve(ctx, ln) }()
	first := h.addr
	h.addr = ln.Addr().String()
	idle := h.mustDial(w.clientTLS(ben, "pw.example.com"))
	askFor(t, idle, "pw.example.com", "/")
	chat := livings["a WebSocket"](h, s, w.clientTLS(ben, "pw.example.com"))
	ln.Close()
	if _, err := h.dial(w.clientTLS(ben, "pw.example.com")); err == nil {
		t.Error("the closed listener accepts")
	}
	h.addr = first
	if resp, _ := h.get(ben, "pw.example.com", "/"); resp.StatusCode != http.StatusOK {
		t.Errorf("at the other listener: %s", resp.Status)
	}
	if resp, _ := askFor(t, idle, "pw.example.com", "/again"); resp.StatusCode != http.StatusOK {
		t.Errorf("on the old connection: %s", resp.Status)
	}
	io.WriteString(chat, "hello")
	readPast(t, chat, "hello")
	select {
	case err := <-ended:
		t.Fatalf("serve ended with two connections open: %v", err)
	default:
	}
	idle.Close()
	chat.Close()
	select {
	case err := <-ended:
		must(t, err)
	case <-time.After(20 * time.Second):
		t.Error("serve goes on after the last connection")
	}
}

// Somebody who is turned away while the configuration changes reads why: there
// is nothing on their connection that a new rule could take from them.
func TestARefusalIsReadThroughReloads(t *testing.T) {
	w := newWorld(t)
	sites := []Site{{Host: "pw.example.com", Handler: whoami, List: allow(t, "anna")}}
	h := w.open(Options{}, sites...)
	config := w.clientTLS(w.enrol("ben"), "pw.example.com")
	over := make(chan struct{})
	var reloads sync.WaitGroup
	reloads.Go(func() {
		for {
			select {
			case <-over:
				return
			default:
				must(t, h.Configure(Config{Sites: sites}))
			}
		}
	})
	defer reloads.Wait()
	defer close(over)
	for range 300 {
		conn := h.mustDial(config.Clone())
		if resp, _ := askFor(t, conn, "pw.example.com", "/"); resp.StatusCode != http.StatusForbidden {
			t.Fatalf("got %s", resp.Status)
		}
		conn.Close()
	}
}
