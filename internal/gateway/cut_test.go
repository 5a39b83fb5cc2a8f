package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/refusal"
	"github.com/postern-project/postern/internal/roster"
)

// A stage is a site whose handlers show what becomes of them: /hold answers
// never, /echo becomes a raw connection, anything else says who asked.
type stage struct {
	held   chan struct{} // one for every /hold and /echo under way
	ended  chan error    // why the context of a /hold ended
	served atomic.Int64
}

func newStage() *stage { return &stage{held: make(chan struct{}, 16), ended: make(chan error, 16)} }

func (s *stage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.served.Add(1)
	switch r.URL.Path {
	case "/hold":
		w.WriteHeader(http.StatusOK)
		http.NewResponseController(w).Flush()
		s.held <- struct{}{}
		<-r.Context().Done()
		s.ended <- context.Cause(r.Context())
	case "/echo":
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		s.held <- struct{}{}
		io.Copy(conn, rw)
	default:
		whoami(w, r)
	}
}

// The ways in which somebody can be connected when their right ends.
var livings = map[string]func(*house, *stage, *tls.Config) net.Conn{
	"an idle keep-alive connection": func(h *house, _ *stage, c *tls.Config) net.Conn {
		conn := h.mustDial(c)
		if resp, body := askFor(h.w.tb, conn, c.ServerName, "/"); resp.StatusCode != http.StatusOK {
			h.w.tb.Fatalf("the first request: %s %s", resp.Status, body)
		}
		return conn
	},
	"a request under way": func(h *house, s *stage, c *tls.Config) net.Conn {
		conn := h.mustDial(c)
		fmt.Fprintf(conn, "GET /hold HTTP/1.1\r\nHost: %s\r\n\r\n", c.ServerName)
		readPast(h.w.tb, conn, "\r\n\r\n")
		<-s.held
		return conn
	},
	"an upload under way": func(h *house, s *stage, c *tls.Config) net.Conn {
		conn := h.mustDial(c)
		fmt.Fprintf(conn, "POST /hold HTTP/1.1\r\nHost: %s\r\nContent-Length: 1000000\r\n\r\nonly so much", c.ServerName)
		<-s.held
		readPast(h.w.tb, conn, "\r\n\r\n")
		return conn
	},
	"a WebSocket": func(h *house, s *stage, c *tls.Config) net.Conn {
		conn := h.mustDial(c)
		fmt.Fprintf(conn, "GET /echo HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n", c.ServerName)
		<-s.held
		readPast(h.w.tb, conn, "\r\n\r\n")
		io.WriteString(conn, "still here")
		readPast(h.w.tb, conn, "still here")
		return conn
	},
	"a resumed session": func(h *house, _ *stage, c *tls.Config) net.Conn {
		c.ClientSessionCache = new(wallet)
		askFor(h.w.tb, h.mustDial(c), c.ServerName, "/")
		conn := h.mustDial(c)
		askFor(h.w.tb, conn, c.ServerName, "/")
		if !conn.ConnectionState().DidResume {
			h.w.tb.Fatal("not resumed")
		}
		return conn
	},
	"an HTTP/2 stream": func(h *house, s *stage, c *tls.Config) net.Conn {
		c.NextProtos = []string{"h2"}
		hc := client(h.w.tb, h.addr, c)
		var raw net.Conn
		dial := hc.Transport.(*http.Transport).DialContext
		hc.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			var err error
			raw, err = dial(ctx, network, addr)
			return raw, err
		}
		resp, err := hc.Get("https://" + c.ServerName + "/hold")
		must(h.w.tb, err)
		if resp.ProtoMajor != 2 {
			h.w.tb.Fatalf("got %s", resp.Proto)
		}
		<-s.held
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			readAll(resp)
		}()
		return &stream{raw, ended}
	},
}

// A stream is an HTTP/2 answer under way instead of the connection below.
type stream struct {
	net.Conn
	ended chan struct{}
}

func readPast(tb testing.TB, r io.Reader, end string) {
	tb.Helper()
	var got strings.Builder
	for b := make([]byte, 1); !strings.HasSuffix(got.String(), end); got.Write(b) {
		if _, err := io.ReadFull(r, b); err != nil {
			tb.Fatalf("after %q: %v", got.String(), err)
		}
	}
}

// openFor reports whether nothing arrives on conn for a while, and no end either.
func openFor(conn net.Conn, patience time.Duration) bool {
	if s, ok := conn.(*stream); ok {
		select {
		case <-s.ended:
			return false
		case <-time.After(patience):
			return true
		}
	}
	conn.SetReadDeadline(time.Now().Add(patience))
	_, err := conn.Read(make([]byte, 1))
	return errors.Is(err, os.ErrDeadlineExceeded)
}

// stays reports whether conn lives on; ends, whether it is cut.
func stays(conn net.Conn) bool { return openFor(conn, 30*time.Millisecond) }
func ends(conn net.Conn) bool  { return !openFor(conn, 2*time.Second) }

func expect(tb testing.TB, whose string, conn net.Conn, staying bool) {
	tb.Helper()
	switch {
	case staying && !stays(conn):
		tb.Errorf("%s was cut", whose)
	case !staying && !ends(conn):
		tb.Errorf("%s was not cut", whose)
	}
}

// Whatever takes away somebody's right ends every connection of theirs, in
// whatever state it is, within 100 ms, and none of anybody else's.
func TestCutting(t *testing.T) {
	type change func(*testing.T, *world, *house, *device)
	suspend := func(who string) change {
		return func(t *testing.T, w *world, _ *house, _ *device) {
			w.append(ledger.IdentitySuspended{Name: name(t, who)})
		}
	}
	configure := func(sites func(*house) []Site) change {
		return func(t *testing.T, _ *world, h *house, _ *device) { must(t, h.Configure(Config{Sites: sites(h)})) }
	}
	handler := func(h *house) http.Handler { return h.table.Load().doors["pw.example.com"].site.Handler }
	for sentence, c := range map[string]struct {
		change change
		stays  bool
		others bool // are cut as well
	}{
		"the certificate is revoked": {change: func(_ *testing.T, w *world, _ *house, d *device) { w.revoke(d) }},
		"the name is suspended":      {change: suspend("ben/phone")},
		"a name above is suspended":  {change: suspend("ben")},
		"another name is suspended":  {change: suspend("benno"), stays: true},
		"the group is left": {change: func(t *testing.T, w *world, _ *house, _ *device) {
			w.append(ledger.GroupLeft{Group: group(t, "family"), Name: name(t, "ben")})
		}},
		"a second group is joined": {change: func(t *testing.T, w *world, _ *house, _ *device) {
			w.append(ledger.GroupJoined{Group: group(t, "choir"), Name: name(t, "ben")})
		}, stays: true},
		"its issuer is distrusted": {change: func(_ *testing.T, w *world, _ *house, _ *device) {
			w.append(ledger.IssuerDistrusted{Issuer: w.clients.id()})
		}, stays: true},
		"an issuer is added": {change: func(t *testing.T, w *world, _ *house, _ *device) { addIssuer(t, w, "clients-2") }, stays: true},
		"the list loses the group": {change: configure(func(h *house) []Site {
			return []Site{{Host: "pw.example.com", Handler: handler(h), List: allow(t, "anna")}}
		})},
		"the list stays and the rest changes": {change: configure(func(h *house) []Site {
			return []Site{{Host: "pw.example.com.", Handler: whoami, List: allow(t, "ben/phone", "anna")}}
		}), stays: true},
		"the site vanishes":                     {change: configure(func(h *house) []Site { return []Site{{Host: "other.example.com", List: allow(t, "ben")}} }), others: true},
		"the ledger cannot be read any further": {change: func(_ *testing.T, w *world, _ *house, _ *device) { w.roster.Apply(0, make([]ledger.Entry, 1)) }, others: true},
		"the gateway is closed":                 {change: func(_ *testing.T, _ *world, h *house, _ *device) { h.Close() }, others: true},
	} {
		for living, connect := range livings {
			t.Run(sentence+", "+living, func(t *testing.T) {
				t.Parallel()
				w, s := newWorld(t), newStage()
				w.append(ledger.GroupJoined{Group: group(t, "family"), Name: name(t, "ben")})
				h := w.open(Options{}, Site{Host: "pw.example.com", Handler: s, List: allow(t, "group:family", "anna")})
				ben, anna := w.enrol("ben/phone"), w.enrol("anna")
				conn := connect(h, s, w.clientTLS(ben, "pw.example.com"))
				friend := connect(h, s, w.clientTLS(anna, "pw.example.com"))
				c.change(t, w, h, ben)
				expect(t, "the connection", conn, c.stays)
				expect(t, "somebody else's", friend, !c.others)
				if !c.stays && (living == "a request under way" || living == "an HTTP/2 stream" || living == "an upload under way") {
					select {
					case <-s.ended:
					case <-time.After(time.Second):
						t.Error("the handler's context goes on")
					}
				}
				if sentence == "the certificate is revoked" && h.count("postern_cut_connections_total", "code", "revoked") == 0 {
					t.Error("the cut was not counted")
				}
			})
		}
	}
}

// A traitor is a roster in which somebody loses their right at the worst moment:
// after it was found that they are good, and before anybody is told so.
type traitor struct {
	Roster
	betray func(*device)
	armed  atomic.Pointer[device]
}

func (r *traitor) Check(ref ledger.Ref, notBefore time.Time) roster.Verdict {
	v := r.Roster.Check(ref, notBefore)
	if d := r.armed.Load(); d != nil && d.ref == ref && r.armed.CompareAndSwap(d, nil) {
		r.betray(d)
	}
	return v
}

// I2: whatever falls between judging a request and letting it in takes effect: a
// revocation finds the connection, which is in the index before the roster is
// asked, and any other change is noticed on the threshold.
func TestRevocationWhileJudging(t *testing.T) {
	for sentence, c := range map[string]struct {
		stealth, warm, h2, resumed bool
		path                       string
	}{
		"the first request of a connection":  {path: "/hold"},
		"a later request":                    {path: "/hold", warm: true},
		"a WebSocket":                        {path: "/echo"},
		"a WebSocket after other requests":   {path: "/echo", warm: true},
		"an HTTP/2 stream":                   {path: "/hold", h2: true},
		"a resumed session":                  {path: "/hold", resumed: true},
		"a handshake with a stealthy site":   {path: "/hold", stealth: true},
		"a resumed one with a stealthy site": {path: "/hold", stealth: true, resumed: true},
	} {
		for treason, betray := range map[string]func(*world, *house, *device){
			"revoked":   func(w *world, _ *house, d *device) { w.revoke(d) },
			"suspended": func(w *world, _ *house, _ *device) { w.append(ledger.IdentitySuspended{Name: name(t, "ben")}) },
			"struck off": func(_ *world, h *house, _ *device) {
				must(t, h.Configure(Config{Sites: []Site{{Host: "pw.example.com", List: allow(t, "anna"), Stealth: c.stealth}}}))
			},
		} {
			t.Run(sentence+", "+treason, func(t *testing.T) {
				t.Parallel()
				w, s := newWorld(t), newStage()
				r := &traitor{Roster: w.roster}
				h := w.open(Options{Roster: r}, Site{Host: "pw.example.com", Handler: s, List: allow(t, "ben"), Stealth: c.stealth})
				r.betray = func(d *device) { betray(w, h, d) }
				ben := w.enrol("ben")
				config := w.clientTLS(ben, "pw.example.com")
				if c.resumed {
					config.ClientSessionCache = new(wallet)
					askFor(t, h.mustDial(config), "pw.example.com", "/")
				}
				if c.h2 {
					config.NextProtos = []string{"h2"}
					r.armed.Store(ben)
					resp, err := client(t, h.addr, config).Get("https://pw.example.com/hold")
					if err == nil {
						if _, err = readAll(resp); err == nil {
							t.Error("the stream ended well")
						}
					}
				} else {
					if !c.warm {
						r.armed.Store(ben)
					}
					conn, err := h.dial(config)
					if err == nil {
						if c.warm {
							askFor(t, conn, "pw.example.com", "/")
							r.armed.Store(ben)
						}
						fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: pw.example.com\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n", c.path)
						conn.SetReadDeadline(time.Now().Add(2 * time.Second))
						if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
							t.Error("the connection stays open")
						}
					}
				}
				if r.armed.Load() != nil {
					t.Error("the roster was never asked")
				}
				eventually(t, "no connection left", func() bool { return h.index.size() == 0 })
				if s.served.Load() > 1 || s.served.Load() > 0 && !c.warm && !c.resumed {
					t.Error("the request came in")
				}
			})
		}
	}
}

// Connections end with their certificate, whether or not anything is asked.
func TestConnectionsEndWithTheirCertificate(t *testing.T) {
	for living, connect := range livings {
		t.Run(living, func(t *testing.T) {
			t.Parallel()
			w, s, now := newWorld(t), newStage(), &shiftedClock{}
			h := w.open(Options{Now: now.now}, Site{Host: "pw.example.com", Handler: s, List: allow(t, "enrolled")})
			short := clientTemplate("ben")
			short.NotAfter = time.Now().Add(time.Minute)
			conn := connect(h, s, w.clientTLS(w.record(w.mint(w.clients, short), "ben"), "pw.example.com"))
			friend := connect(h, s, w.clientTLS(w.enrol("anna"), "pw.example.com"))
			now.advance(55 * time.Second)
			h.expire(now.now())
			expect(t, "the connection before its end", conn, true)
			now.advance(6 * time.Second)
			expect(t, "the connection", conn, false)
			expect(t, "somebody else's", friend, true)
		})
	}
}

// A request on a connection whose certificate has ended meanwhile is refused
// even before anything sweeps, and says why.
func TestARequestAfterTheEnd(t *testing.T) {
	w, now := newWorld(t), &shiftedClock{}
	h := w.open(Options{Now: now.now}, Site{Host: "pw.example.com", Handler: whoami, List: allow(t, "ben")})
	conn := h.mustDial(w.clientTLS(w.enrol("ben"), "pw.example.com"))
	askFor(t, conn, "pw.example.com", "/")
	now.advance(2 * time.Hour)
	if _, body := askFor(t, conn, "pw.example.com", "/"); codeOf(body) != refusal.Expired {
		t.Errorf("got %s", body)
	}
}

// A hundred devices, one of them revoked: one connection is cut, and its
// traces leave the index.
func TestCuttingIsALookup(t *testing.T) {
	w := newWorld(t)
	h := w.open(Options{}, Site{Host: "pw.example.com", Handler: whoami, List: allow(t, "ben")})
	var conns []*tls.Conn
	var devices []*device
	for i := range 30 {
		d := w.enrol(fmt.Sprintf("ben/device-%d", i))
		conn := h.mustDial(w.clientTLS(d, "pw.example.com"))
		askFor(t, conn, "pw.example.com", "/")
		conns, devices = append(conns, conn), append(devices, d)
	}
	if n := len(h.index.name(name(t, "ben"))); n != 30 {
		t.Fatalf("%d connections of ben, want 30", n)
	}
	w.revoke(devices[7])
	for i, conn := range conns {
		if i%5 == 2 {
			expect(t, devices[i].name.String(), conn, i != 7)
		}
	}
	for _, conn := range conns {
		conn.Close()
	}
	eventually(t, "an empty index", func() bool {
		x := h.index
		x.mu.Lock()
		defer x.mu.Unlock()
		return len(x.all)+len(x.byRef)+len(x.byName)+len(x.byIssuer) == 0
	})
}
