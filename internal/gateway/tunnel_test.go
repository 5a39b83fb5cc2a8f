package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/refusal"
)

// A pipe is a Tunnel to a server of the test's, and counts how often it was
// dialled.
type pipe struct {
	address string
	dialled atomic.Int32
	visits  chan Visit
}

func (p *pipe) Dial(ctx context.Context, v Visit) (net.Conn, error) {
	p.dialled.Add(1)
	select {
	case p.visits <- v:
	default:
	}
	return new(net.Dialer).DialContext(ctx, "tcp", p.address)
}

// behindTCP serves every connection with serve, and returns a Tunnel to it.
func behindTCP(t *testing.T, serve func(net.Conn)) *pipe {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	return &pipe{address: ln.Addr().String(), visits: make(chan Visit, 16)}
}

func echoBytes(c net.Conn) { io.Copy(c, c) }

func rawTLS(w *world, d *device, host string, protocols ...string) *tls.Config {
	c := w.clientTLS(d, host)
	c.NextProtos = protocols
	return c
}

// exchangeBytes sends text and wants it back.
func exchangeBytes(t *testing.T, c net.Conn, text string) {
	t.Helper()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	_, err := io.WriteString(c, text)
	must(t, err)
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("sent %q, got %q, %v", text, got, err)
	}
}

// The connection of somebody on the list is carried both ways, however large,
// and an end in good order reaches the other side.
func TestATCPSiteCarriesBytes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var log lines
	behind := behindTCP(t, func(c net.Conn) {
		all, _ := io.ReadAll(c) // until the client has said its last
		c.Write(bytes.ToUpper(all))
	})
	h := w.open(Options{Log: log.logger()}, Site{Host: "db.example.com", Tunnel: behind, List: allow(t, "ben")})
	ben := w.enrol("ben/laptop")
	text := strings.Repeat("abcdefgh", 200_000)
	conn := h.mustDial(rawTLS(w, ben, "db.example.com"))
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	_, err := io.WriteString(conn, text)
	must(t, err)
	must(t, conn.CloseWrite())
	got, err := io.ReadAll(conn)
	if err != nil || string(got) != strings.ToUpper(text) {
		t.Fatalf("%d bytes came back of %d, %v", len(got), len(text), err)
	}
	if v := <-behind.visits; v.Client.Name != ben.name || v.Host != "db.example.com" || v.Address.String() != conn.LocalAddr().String() {
		t.Errorf("the tunnel was dialled for %+v", v)
	}
	eventually(t, "the line of the access log", func() bool {
		return strings.Contains(log.String(), `msg="connection served" site=db.example.com id=ben/laptop`)
	})
	if n := h.count("postern_tcp_bytes_total", "direction", "in"); n != float64(len(text)) {
		t.Errorf("%v bytes were counted", n)
	}
}

// Nobody but those on the list makes the gateway dial, whichever way their
// certificate is bad (nginx CVE-2026-28755: its stream module let in clients
// that were revoked).
func TestATCPSiteJudgesBeforeItDials(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	behind := behindTCP(t, echoBytes)
	h := w.open(Options{}, Site{Host: "db.example.com", Tunnel: behind, List: allow(t, "ben", "group:ops")})
	expired := clientTemplate("ben")
	expired.NotBefore, expired.NotAfter = ago(time.Hour), ago(time.Minute)
	revoked := w.enrol("ben/old")
	w.revoke(revoked)
	for sentence, c := range map[string]struct {
		device *device
		code   refusal.Code
	}{
		"nobody":                   {code: refusal.NoCertificate},
		"another authority":        {w.mint(newIssuer(t, "other", nil), clientTemplate("ben")), refusal.UnknownIssuer},
		"an expired certificate":   {w.record(w.mint(w.clients, expired), "ben"), refusal.Expired},
		"a revoked certificate":    {revoked, refusal.Revoked},
		"somebody not on the list": {w.enrol("carla"), refusal.NotOnList},
		"a forger":                 {w.mint(w.clients, clientTemplate("ben")), refusal.NotInLedger},
	} {
		t.Run(sentence, func(t *testing.T) {
			conn, err := h.dial(rawTLS(w, c.device, "db.example.com"))
			if err == nil {
				conn.SetDeadline(time.Now().Add(5 * time.Second))
				io.WriteString(conn, "hello")
				if n, err := conn.Read(make([]byte, 5)); err == nil {
					t.Fatalf("%d bytes came back", n)
				}
			}
			eventually(t, "the refusal is counted", func() bool { return h.count("postern_refusals_total", "code", string(c.code)) > 0 })
			if n := behind.dialled.Load(); n != 0 {
				t.Fatalf("dialled %d times", n)
			}
		})
	}
}

// A session that is resumed is judged like a new one.
func TestATCPSiteJudgesResumedSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.open(Options{}, Site{Host: "db.example.com", Tunnel: behindTCP(t, echoBytes), List: allow(t, "ben")})
	ben := w.enrol("ben/laptop")
	config := rawTLS(w, ben, "db.example.com", "postgresql")
	config.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	for i := range 2 {
		conn := h.mustDial(config)
		exchangeBytes(t, conn, "hello")
		if resumed := conn.ConnectionState().DidResume; resumed != (i == 1) {
			t.Fatalf("connection %d: resumed %v", i, resumed)
		}
		conn.Close()
	}
	w.revoke(ben)
	conn, err := h.dial(config)
	if err == nil {
		conn.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err = conn.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Fatalf("a revoked client's resumption ended with %v", err)
		}
	}
}

// Whatever ends somebody's right ends their tunnels, towards both sides.
func TestTunnelsAreCut(t *testing.T) {
	t.Parallel()
	for sentence, end := range map[string]func(w *world, h *house, d *device){
		"its certificate is revoked": func(w *world, _ *house, d *device) { w.revoke(d) },
		"the list loses the name": func(w *world, h *house, _ *device) {
			h.Configure(Config{Sites: []Site{{Host: "db.example.com", Tunnel: h.table.Load().doors["db.example.com"].site.Tunnel, List: allow(w.tb, "anna")}}})
		},
		"the site is taken out": func(_ *world, h *house, _ *device) { h.Configure(Config{}) },
		"the site turns into one of HTTP": func(w *world, h *house, _ *device) {
			h.Configure(Config{Sites: []Site{{Host: "db.example.com", Handler: whoami, List: allow(w.tb, "ben")}}})
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			ended := make(chan struct{})
			behind := behindTCP(t, func(c net.Conn) { echoBytes(c); close(ended) })
			h := w.open(Options{}, Site{Host: "db.example.com", Tunnel: behind, List: allow(t, "ben")})
			ben := w.enrol("ben/laptop")
			conn := h.mustDial(rawTLS(w, ben, "db.example.com"))
			exchangeBytes(t, conn, "hello")
			end(w, h, ben)
			conn.SetDeadline(time.Now().Add(10 * time.Second))
			if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("the connection ended with %v", err)
			}
			select {
			case <-ended:
			case <-time.After(10 * time.Second):
				t.Fatal("the other end was not told")
			}
		})
	}
}

// A change of the configuration that leaves the site alone leaves its
// connections alone.
func TestTunnelsOutliveAReload(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	behind := behindTCP(t, echoBytes)
	site := Site{Host: "db.example.com", Tunnel: behind, List: allow(t, "ben")}
	h := w.open(Options{}, site)
	conn := h.mustDial(rawTLS(w, w.enrol("ben"), "db.example.com"))
	for range 50 {
		exchangeBytes(t, conn, "hello")
		must(t, h.Configure(Config{Sites: []Site{site, {Host: "other.example.com", Handler: whoami}}}))
	}
	exchangeBytes(t, conn, "still here")
}

// The protocol that a client prefers is agreed to, and one that speaks HTTP,
// as a browser does whatever page it was told to fetch, never reaches what is
// behind a tcp site (the ALPACA attacks).
func TestTCPSitesAndProtocols(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	behind := behindTCP(t, echoBytes)
	h := w.open(Options{}, Site{Host: "db.example.com", Tunnel: behind, List: allow(t, "ben")})
	ben := w.enrol("ben")
	for protocol, offers := range map[string][]string{"postgresql": {"postgresql"}, "mqtt": {"mqtt", "x"}, "": nil} {
		conn := h.mustDial(rawTLS(w, ben, "db.example.com", offers...))
		if got := conn.ConnectionState().NegotiatedProtocol; got != protocol {
			t.Errorf("offered %q, agreed to %q", offers, got)
		}
		exchangeBytes(t, conn, "hello")
	}
	dialled := behind.dialled.Load()
	for _, offers := range [][]string{{"http/1.1"}, {"h2", "http/1.1"}, {"postgresql", "http/1.1"}, {"h2"}} {
		c := rawTLS(w, ben, "db.example.com", offers...)
		if slices.Contains(offers, "h2") {
			resp, body := fetch(t, client(t, h.addr, c), "https://db.example.com/")
			if resp.StatusCode != http.StatusBadRequest || !strings.Contains(body, "not-http") {
				t.Errorf("offered %q: %d %s", offers, resp.StatusCode, body)
			}
			continue
		}
		conn := h.mustDial(c)
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		io.WriteString(conn, "SET a b\r\n")
		answer, _ := io.ReadAll(conn)
		if !bytes.HasPrefix(answer, []byte("HTTP/1.1 400")) {
			t.Errorf("offered %q: %q", offers, answer)
		}
	}
	for _, path := range []string{"/.postern/health"} {
		if resp, body := h.get(ben, "db.example.com", path); resp.StatusCode != 200 || body != "ok\n" {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	if _, err := h.dial(rawTLS(w, ben, "db.example.com", "http/1.0")); err == nil || !strings.Contains(err.Error(), "no application protocol") {
		t.Errorf("a protocol of HTTP that nobody speaks here: %v", err)
	}
	if n := behind.dialled.Load(); n != dialled {
		t.Errorf("HTTP made the gateway dial %d times", n-dialled)
	}
}

// What is behind being down is told to the operator, and ends the connection.
func TestATCPSiteWithNothingBehindIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var log lines
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ln.Close()
	h := w.open(Options{Log: log.logger()}, Site{Host: "db.example.com", Tunnel: &pipe{address: ln.Addr().String()}, List: allow(t, "ben")})
	conn := h.mustDial(rawTLS(w, w.enrol("ben"), "db.example.com"))
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Fatal("something answered")
	}
	eventually(t, "the refusal is counted", func() bool {
		return h.count("postern_refusals_total", "code", string(refusal.UpstreamDown), "site", "db.example.com") == 1 &&
			strings.Contains(log.String(), "connection refused")
	})
}
