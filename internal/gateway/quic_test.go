package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/postern-project/postern/internal/chain"
	"github.com/postern-project/postern/internal/partner"
	"github.com/postern-project/postern/internal/refusal"
	"github.com/postern-project/postern/internal/rule"
)

// overQUIC serves HTTP/3 at h too, and returns where, and what ends that.
func (h *house) overQUIC() (addr string, end func()) {
	h.w.tb.Helper()
	pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(h.w.tb, err)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := h.ServeHTTP3(ctx, pc); err != nil {
			h.w.tb.Errorf("serve HTTP/3: %v", err)
		}
	})
	end = sync.OnceFunc(func() { cancel(); running.Wait() })
	h.w.tb.Cleanup(end)
	return pc.LocalAddr().String(), end
}

// A caller is a client of HTTP/3 on one connection.
type caller struct {
	tb   testing.TB
	conn *quic.Conn
	*http3.ClientConn
}

func call(tb testing.TB, addr string, c *tls.Config) (*caller, error) {
	tb.Helper()
	c = c.Clone()
	c.NextProtos = []string{http3.NextProtoH3}
	ctx, cancel := context.WithTimeout(tb.Context(), 20*time.Second)
	defer cancel()
	to, err := net.ResolveUDPAddr("udp", addr)
	must(tb, err)
	q, err := at(tb, 1).Dial(ctx, to, c, &quic.Config{MaxIdleTimeout: 30 * time.Second})
	if err != nil {
		return nil, err
	}
	tb.Cleanup(func() { q.CloseWithError(0, "") })
	return &caller{tb, q, new(http3.Transport).NewClientConn(q)}, nil
}

// at returns a client's end at 127.0.0.N.
func at(tb testing.TB, n byte) *quic.Transport {
	tb.Helper()
	pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, n)})
	must(tb, err)
	tb.Cleanup(func() { pc.Close() })
	return &quic.Transport{Conn: pc}
}

func mustCall(tb testing.TB, addr string, c *tls.Config) *caller {
	tb.Helper()
	k, err := call(tb, addr, c)
	must(tb, err)
	return k
}

// ask asks for url with host as :authority, and returns nil for no answer.
func (k *caller) ask(method, url, host string, body io.Reader, header ...string) (*http.Response, string) {
	k.tb.Helper()
	r, err := http.NewRequestWithContext(k.tb.Context(), method, url, body)
	must(k.tb, err)
	if host != "" {
		r.Host = host
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := k.RoundTrip(r)
	if err != nil {
		return nil, err.Error()
	}
	return resp, read(k.tb, resp)
}

// seen answers with what a handler sees of a request.
var seen = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/silent" {
		return
	}
	c, _ := ClientOf(r)
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("Connection", "keep-alive")
	w.Header().Set("Alt-Svc", `h3="elsewhere.example:443"`)
	fmt.Fprintf(w, "%s %s as %s: %q, %d bytes %q, over %s", c.Name, r.Host, r.URL.Path, r.Header["X-Postern-Identity"], r.ContentLength, body, r.Proto)
})

func quicSites(tb testing.TB) []Site {
	return []Site{
		{Host: "a.example.com", HTTP3: true, List: allow(tb, "ben"), Handler: seen},
		{Host: "bücher.example.com", HTTP3: true, List: allow(tb, "ben"), Handler: seen},
		{Host: "s.example.com", HTTP3: true, Stealth: true, List: allow(tb, "ben"), Handler: seen},
		{Host: "open.example.com", HTTP3: true, NeverAsks: true, List: allow(tb, "strangers"), Handler: seen},
		{Host: "tcp-only.example.com", List: allow(tb, "ben"), Handler: seen},
		{Host: "127.0.0.1", HTTP3: true, List: allow(tb, "ben"), Handler: seen},
	}
}

// Whoever gets an answer over TCP gets the same one over QUIC, and whoever is
// refused is refused for the same reason.
func TestHTTP3IsTheSameDoor(t *testing.T) {
	w := newWorld(t)
	h := w.open(Options{}, quicSites(t)...)
	addr, _ := h.overQUIC()
	ben, eve, gone := w.enrol("ben"), w.enrol("eve"), w.enrol("ben")
	w.revoke(gone)
	forged := w.mint(w.clients, clientTemplate("ben"))
	stranger := w.mint(newIssuer(t, "nobody's", nil), clientTemplate("ben"))
	for sentence, c := range map[string]struct {
		d      *device
		host   string
		status int
		code   refusal.Code
	}{
		"somebody on the list":          {ben, "a.example.com", 200, ""},
		"somebody who is not":           {eve, "a.example.com", 403, refusal.NotOnList},
		"nobody":                        {nil, "a.example.com", 421, refusal.NoCertificate},
		"a revoked certificate":         {gone, "a.example.com", 403, refusal.Revoked},
		"a forged certificate":          {forged, "a.example.com", 403, refusal.NotInLedger},
		"another authority's":           {stranger, "a.example.com", 403, refusal.UnknownIssuer},
		"a stealthy site, on the list":  {ben, "s.example.com", 200, ""},
		"a stealthy site, not on it":    {eve, "s.example.com", 0, ""},
		"a stealthy site, nobody":       {nil, "s.example.com", 0, ""},
		"a stealthy site, revoked":      {gone, "s.example.com", 0, ""},
		"a stealthy site, forged":       {forged, "s.example.com", 0, ""},
		"a site for strangers":          {nil, "open.example.com", 200, ""},
		"a site without http3":          {ben, "tcp-only.example.com", 0, ""},
		"a site that nobody knows":      {ben, "unknown.example.com", 0, ""},
		"no name, at a known address":   {ben, "127.0.0.1", 200, ""},
		"a name that differs by a dot":  {ben, "aa.example.com", 0, ""},
		"the name above":                {ben, "example.com", 0, ""},
		"a stealthy site, another's CA": {stranger, "s.example.com", 0, ""},
	} {
		k, err := call(t, addr, w.clientTLS(c.d, c.host))
		if err != nil {
			if c.status != 0 {
				t.Errorf("%s: %v", sentence, err)
			}
			continue
		}
		resp, body := k.ask(http.MethodGet, "https://"+c.host+"/x", "", nil, "X-Postern-Identity", "steve", "Forwarded", "for=1.2.3.4")
		switch {
		case c.status == 0 && resp != nil:
			t.Errorf("%s: %s %s", sentence, resp.Status, body)
		case c.status == 0:
		case resp == nil:
			t.Errorf("%s: %s", sentence, body)
		case resp.StatusCode != c.status || resp.ProtoMajor != 3 || codeOf(body) != c.code:
			t.Errorf("%s: %s over %s %s", sentence, resp.Status, resp.Proto, body)
		case c.status == 421 && resp.Header.Get("Alt-Svc") != "clear":
			t.Errorf("%s: not told to come over TCP: %v", sentence, resp.Header)
		case c.status == 200 && c.d != nil && !strings.Contains(body, `ben `+c.host+` as /x: ["ben"], 0 bytes "", over HTTP/3.0`):
			t.Errorf("%s: the handler saw %s", sentence, body)
		case c.status == 200 && c.d == nil && strings.Contains(body, "steve"):
			t.Errorf("%s: an identity from outside: %s", sentence, body)
		case resp.Header.Get("Connection") != "":
			t.Errorf("%s: HTTP/3 has no Connection: %v", sentence, resp.Header)
		}
	}
	for _, code := range []refusal.Code{refusal.NotOnList, refusal.NoCertificate, refusal.Revoked, refusal.NotInLedger, refusal.UnknownIssuer} {
		if h.count("postern_refusals_total", "code", string(code), "site", "a.example.com") != 1 {
			t.Errorf("%s is not counted once", code)
		}
	}
	for _, result := range []string{shakeRefused, shakeUnknown, shakeFull} {
		eventually(t, "handshakes counted as "+result, func() bool { return h.count("postern_handshakes_total", "result", result) > 2 })
	}
	eventually(t, "no connection is left in handshake", func() bool { h.crowd.mu.Lock(); defer h.crowd.mu.Unlock(); return h.crowd.open < 20 })
}

// The name in the handshake and the one in a request are looked up in one
// table, in every spelling (Traefik's CVE-2026-53622), and a stream for another
// site than the connection's is turned away, the first as the third.
func TestTheHostOverHTTP3IsTheConnections(t *testing.T) {
	w := newWorld(t)
	h := w.open(Options{}, quicSites(t)...)
	addr, _ := h.overQUIC()
	ben := w.enrol("ben")
	for sentence, c := range map[string]struct {
		sni, host string
		status    int
	}{
		"as it is":                      {"a.example.com", "a.example.com", 200},
		"with another port":             {"a.example.com", "a.example.com:1", 200},
		"in capitals":                   {"a.example.com", "A.eXample.COM", 200},
		"with a trailing dot":           {"a.example.com", "a.example.com.", 200},
		"with SNI in capitals":          {"A.EXAMPLE.com", "a.example.com", 200},
		"an IDN as A-label in capitals": {"XN--BCHER-kva.example.com", "xn--bcher-KVA.example.com", 200},
		"the address that was dialled":  {"", "127.0.0.1", 200},
		"another site":                  {"a.example.com", "s.example.com", 421},
		"a site without http3":          {"a.example.com", "tcp-only.example.com", 421},
		"a site for everybody":          {"open.example.com", "a.example.com", 421},
		"another site in capitals":      {"a.example.com", "S.EXAMPLE.COM.", 421},
		"a name below":                  {"a.example.com", "x.a.example.com", 421},
		"an address for the name":       {"a.example.com", "127.0.0.1", 421},
		"two trailing dots":             {"a.example.com", "a.example.com..", 421},
	} {
		config := w.clientTLS(ben, c.sni)
		if c.sni == "" {
			config.InsecureSkipVerify = true
		} else {
			config.ServerName = c.sni
		}
		k, err := call(t, addr, config)
		if err != nil {
			t.Errorf("%s: %v", sentence, err)
			continue
		}
		own := strings.ToLower(orAddress(c.sni))
		for range 2 {
			if own == "open.example.com" { // where a stranger's connection ends with a refusal
				k = mustCall(t, addr, config)
			}
			if resp, body := k.ask(http.MethodGet, "https://"+own+"/", "", nil); resp == nil || resp.StatusCode != 200 {
				t.Fatalf("%s: its own name: %s", sentence, body)
			}
			resp, body := k.ask(http.MethodGet, "https://"+own+"/", c.host, nil)
			if resp == nil || resp.StatusCode != c.status {
				t.Errorf("%s: %v %s, want %d", sentence, resp, body, c.status)
			}
			if c.status == 421 && codeOf(body) != refusal.Misdirected {
				t.Errorf("%s: code %q", sentence, codeOf(body))
			}
		}
	}
}

// The other checks of a request are the same as well.
func TestRequestsOverHTTP3AreLookedAt(t *testing.T) {
	w := newWorld(t)
	h := w.open(Options{}, quicSites(t)...)
	addr, _ := h.overQUIC()
	k := mustCall(t, addr, w.clientTLS(w.enrol("ben"), "a.example.com"))
	for sentence, c := range map[string]struct {
		method, path string
		status       int
	}{
		"an encoded slash":   {"GET", "/a%2fb", 400},
		"dot segments":       {"GET", "/a/%2e%2e/b", 400},
		"an empty segment":   {"GET", "/a//b", 400},
		"TRACE":              {"TRACE", "/", 405},
		"CONNECT":            {"CONNECT", "/", 405},
		"a reserved path":    {"GET", "/.postern/health", 200},
		"a path that is one": {"GET", "/a/b", 200},
	} {
		if resp, body := k.ask(c.method, "https://a.example.com"+c.path, "", nil); resp == nil || resp.StatusCode != c.status {
			t.Errorf("%s: %v %s", sentence, resp, body)
		}
	}
	if resp, body := k.ask(http.MethodPost, "https://a.example.com/", "", strings.NewReader("a body")); resp == nil || !strings.Contains(body, `6 bytes "a body"`) {
		t.Errorf("a body: %s", body)
	}
	if resp, body := k.ask(http.MethodGet, "https://a.example.com/", "", io.MultiReader(strings.NewReader("a body")), "Content-Length", ""); resp == nil || !strings.Contains(body, `-1 bytes "a body"`) {
		t.Errorf("a body of a GET: %s", body)
	}
	if resp, body := k.ask(http.MethodGet, "https://a.example.com/", "", nil, "X-Long", strings.Repeat("x", 20<<10)); resp != nil && resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a header of 100 KiB: %s %s", resp.Status, body)
	}
}

// Nothing is resumed over QUIC, whatever a client keeps: neither a session of
// its own, nor one of TCP, nor with data before the handshake has ended.
func TestHTTP3ResumesNothing(t *testing.T) {
	w := newWorld(t)
	h := w.open(Options{}, quicSites(t)...)
	addr, _ := h.overQUIC()
	ben := w.enrol("ben")
	config := w.clientTLS(ben, "a.example.com")
	config.ClientSessionCache = tls.NewLRUClientSessionCache(10)
	tcp := h.mustDial(config)
	if resp, body := askFor(t, tcp, "a.example.com", "/"); resp.StatusCode != 200 {
		t.Fatalf("over TCP: %s", body)
	}
	for range 3 {
		c := config.Clone()
		c.NextProtos = []string{http3.NextProtoH3}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		q, err := quic.DialAddrEarly(ctx, addr, c, nil)
		must(t, err)
		k := &caller{t, q, new(http3.Transport).NewClientConn(q)}
		if resp, body := k.ask(http3.MethodGet0RTT, "https://a.example.com/", "", nil); resp == nil || resp.StatusCode != 200 {
			t.Errorf("%v %s", resp, body)
		}
		if s := q.ConnectionState(); s.TLS.DidResume || s.Used0RTT {
			t.Errorf("resumed %v, 0-RTT %v", s.TLS.DidResume, s.Used0RTT)
		}
		q.CloseWithError(0, "")
		cancel()
	}
	if h.count("postern_handshakes_total", "result", shakeResumed) != 0 {
		t.Error("a session was resumed")
	}
	// A session with one site is none with another, and a device that was
	// revoked since is refused.
	other := config.Clone()
	other.ServerName = "s.example.com"
	k := mustCall(t, addr, other)
	if k.conn.ConnectionState().TLS.DidResume {
		t.Error("resumed at another site")
	}
	w.revoke(ben)
	if k, err := call(t, addr, config); err == nil {
		if resp, body := k.ask(http.MethodGet, "https://a.example.com/", "", nil); resp == nil || codeOf(body) != refusal.Revoked {
			t.Errorf("revoked: %v %s", resp, body)
		}
	}
}

// Whatever cuts a connection cuts one of QUIC, with a request under way.
func TestHTTP3IsCut(t *testing.T) {
	for occasion, change := range map[string]func(*world, *house, *device){
		"a revocation":            func(w *world, _ *house, d *device) { w.revoke(d) },
		"a list without the name": func(w *world, h *house, _ *device) { configureQUIC(h, Site{HTTP3: true, List: allow(w.tb, "eve")}) },
		"a site that drops http3": func(w *world, h *house, _ *device) { configureQUIC(h, Site{List: allow(w.tb, "ben")}) },
		"a site that is gone":     func(_ *world, h *house, _ *device) { must(h.w.tb, h.Configure(Config{})) },
		"the gateway's end":       func(_ *world, h *house, _ *device) { h.Close() },
	} {
		t.Run(occasion, func(t *testing.T) {
			w := newWorld(t)
			s := newStage()
			h := w.open(Options{}, Site{Host: "a.example.com", HTTP3: true, List: allow(t, "ben"), Handler: s})
			addr, _ := h.overQUIC()
			ben := w.enrol("ben")
			k := mustCall(t, addr, w.clientTLS(ben, "a.example.com"))
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://a.example.com/hold", nil)
			must(t, err)
			resp, err := k.RoundTrip(r)
			must(t, err)
			<-s.held
			change(w, h, ben)
			if _, err := io.ReadAll(resp.Body); err == nil {
				t.Error("half an answer looks like a whole one")
			}
			<-s.ended
			select {
			case <-k.conn.Context().Done():
			case <-time.After(20 * time.Second):
				t.Error("the connection lives on")
			}
			if n := len(h.index.every()); n != 0 {
				t.Errorf("%d connections in the index", n)
			}
		})
	}
}

func configureQUIC(h *house, s Site) {
	s.Host, s.Handler = "a.example.com", whoami
	must(h.w.tb, h.Configure(Config{Sites: []Site{s}}))
}

// A reload that changes nothing of a site leaves its connections alone.
func TestHTTP3OutlivesAReload(t *testing.T) {
	w := newWorld(t)
	h := w.open(Options{}, quicSites(t)...)
	addr, _ := h.overQUIC()
	k := mustCall(t, addr, w.clientTLS(w.enrol("ben"), "a.example.com"))
	for range 20 {
		if resp, body := k.ask(http.MethodGet, "https://a.example.com/", "", nil); resp == nil || resp.StatusCode != 200 {
			t.Fatal(body)
		}
		must(t, h.Configure(Config{Sites: quicSites(t)}))
	}
}

// A connection that moves to another address has lost what it was judged by.
func TestHTTP3DoesNotMove(t *testing.T) {
	w := newWorld(t)
	h := w.open(Options{}, quicSites(t)...)
	addr, _ := h.overQUIC()
	k := mustCall(t, addr, w.clientTLS(w.enrol("ben"), "a.example.com"))
	if resp, body := k.ask(http.MethodGet, "https://a.example.com/", "", nil); resp == nil {
		t.Fatal(body)
	}
	path, err := k.conn.AddPath(at(t, 2))
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	must(t, path.Probe(ctx))
	must(t, path.Switch())
	k.ask(http.MethodGet, "https://a.example.com/", "", nil) // it may be answered, at the old address's right
	select {
	case <-k.conn.Context().Done():
	case <-ctx.Done():
		t.Error("it goes on from another address")
	}
}

// Who was let in over TCP with a certificate is told of HTTP/3, at the port
// that they know; nobody else is, and no application tells of ways of its own.
func TestHTTP3IsToldOf(t *testing.T) {
	w := newWorld(t)
	h := w.open(Options{}, append(quicSites(t), Site{Host: "both.example.com", HTTP3: true, List: allow(t, "strangers", "ben"), Handler: seen})...)
	ben, eve := w.enrol("ben"), w.enrol("eve")
	for sentence, c := range map[string]struct {
		d          *device
		host, want string
	}{
		"let in":                 {ben, "a.example.com", `h3=":443"; ma=3600`},
		"let in at another port": {ben, "a.example.com:8443", `h3=":8443"; ma=3600`},
		"not on the list":        {eve, "a.example.com", ""},
		"nobody":                 {nil, "a.example.com", ""},
		"a site without http3":   {ben, "tcp-only.example.com", ""},
		"a stranger let in":      {nil, "both.example.com", ""},
		"known among strangers":  {ben, "both.example.com", `h3=":443"; ma=3600`},
		"a site for everybody":   {nil, "open.example.com", `h3=":443"; ma=3600`},
	} {
		name, _, _ := strings.Cut(c.host, ":")
		if resp, _ := h.get(c.d, name, ""); c.host == name && resp.Header.Get("Alt-Svc") != c.want {
			t.Errorf("%s: %q", sentence, resp.Header.Get("Alt-Svc"))
		}
		conn := h.mustDial(plain(w.clientTLS(c.d, name)))
		if resp, _ := raw(t, conn, "GET /silent HTTP/1.1\r\nHost: "+c.host+"\r\n\r\n"); resp.StatusCode == 200 && resp.Header.Get("Alt-Svc") != c.want {
			t.Errorf("%s, by a handler that writes nothing: %q", sentence, resp.Header.Get("Alt-Svc"))
		}
		conn = h.mustDial(plain(w.clientTLS(c.d, name)))
		if resp, _ := raw(t, conn, "GET / HTTP/1.1\r\nHost: "+c.host+"\r\n\r\n"); resp.Header.Get("Alt-Svc") != c.want {
			t.Errorf("%s: %q", sentence, resp.Header.Get("Alt-Svc"))
		}
	}
}

// Strangers take no more over QUIC than over TCP.
func TestStrangersOverQUICAreBounded(t *testing.T) {
	w := newWorld(t)
	h := w.open(Options{Limits: Limits{StrangerIdle: 50 * time.Millisecond, Connections: 8, Handshakes: 4}}, quicSites(t)...)
	addr, _ := h.overQUIC()
	var callers []*caller
	for range 20 {
		if k, err := call(t, addr, w.clientTLS(nil, "a.example.com")); err == nil {
			callers = append(callers, k)
		}
	}
	if h.Connections() > 8 {
		t.Errorf("%d connections", h.Connections())
	}
	eventually(t, "resting strangers are let go", func() bool { return h.Connections() == 0 })
	if k := mustCall(t, addr, w.clientTLS(w.enrol("ben"), "a.example.com")); k != nil {
		if resp, body := k.ask(http.MethodGet, "https://a.example.com/", "", nil); resp == nil {
			t.Error(body)
		}
	}
	if len(callers) == 0 {
		t.Error("nobody came through")
	}
}

// From a load balancer, whose clients nobody can tell over UDP, nothing is taken.
func TestHTTP3IsNotForLoadBalancers(t *testing.T) {
	w := newWorld(t)
	h := w.openConfig(Options{}, Config{Sites: quicSites(t), Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	addr, _ := h.overQUIC()
	if k, err := call(t, addr, w.clientTLS(w.enrol("ben"), "a.example.com")); err == nil {
		if resp, _ := k.ask(http.MethodGet, "https://a.example.com/", "", nil); resp != nil {
			t.Errorf("answered: %s", resp.Status)
		}
	}
}

// Garbage at the socket, and halves of handshakes, leave nothing behind.
func TestGarbageOverUDP(t *testing.T) {
	w := newWorld(t)
	h := w.open(Options{Limits: Limits{Handshake: 400 * time.Millisecond}}, quicSites(t)...)
	addr, _ := h.overQUIC()
	conn, err := net.Dial("udp", addr)
	must(t, err)
	defer conn.Close()
	for n := range 200 {
		b := bytes.Repeat([]byte{byte(n)}, 1200)
		b[0] = 0xc0 | byte(n)
		copy(b[1:], []byte{0, 0, 0, 1, 8})
		conn.Write(b)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	for range 20 {
		quic.DialAddr(ctx, addr, &tls.Config{ServerName: "a.example.com", RootCAs: x509.NewCertPool(), NextProtos: []string{"h3"}}, nil)
	}
	k := mustCall(t, addr, w.clientTLS(w.enrol("ben"), "a.example.com"))
	if resp, body := k.ask(http.MethodGet, "https://a.example.com/", "", nil); resp == nil {
		t.Error(body)
	}
	k.conn.CloseWithError(0, "")
	eventually(t, "all places are given back", func() bool { h.crowd.mu.Lock(); defer h.crowd.mu.Unlock(); return h.crowd.open == 0 })
}

// The end lets a request finish that is under way.
func TestTheEndOfHTTP3(t *testing.T) {
	w := newWorld(t)
	begun, end := make(chan struct{}), make(chan struct{})
	h := w.open(Options{Limits: Limits{Grace: 20 * time.Second}}, Site{Host: "a.example.com", HTTP3: true, List: allow(t, "ben"), Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-end
		io.WriteString(w, "all of it")
	})})
	addr, stop := h.overQUIC()
	k := mustCall(t, addr, w.clientTLS(w.enrol("ben"), "a.example.com"))
	stopped := make(chan struct{})
	go func() {
		<-begun
		go func() { stop(); close(stopped) }()
		time.AfterFunc(50*time.Millisecond, func() { close(end) })
	}()
	if resp, body := k.ask(http.MethodGet, "https://a.example.com/", "", nil); resp == nil || body != "all of it" {
		t.Errorf("%v %s", resp, body)
	}
	<-stopped
}

// A foreign authority that a site trusts no more opens nothing, neither to the
// connection that came by it nor to a new one with what the client has kept.
func TestARemovedAuthorityOverHTTP3(t *testing.T) {
	w := newWorld(t)
	acme, err := rule.ParsePartner("acme")
	must(t, err)
	theirs := newIssuer(t, "partner", nil)
	template := clientTemplate("ben")
	template.DNSNames = []string{"api.partner.example"}
	member := w.mint(theirs, template)
	checker := partner.NewChecker(partner.Trust{Name: acme, Anchors: chain.Anchors{Roots: []*x509.Certificate{theirs.cert}}, Members: []partner.Member{{DNS: "api.partner.example"}}}, nil)
	one := Site{Host: "a.example.com", HTTP3: true, List: allow(t, "foreign:acme"), Partners: []*partner.Checker{checker}, Handler: seen}
	h := w.open(Options{}, one)
	addr, _ := h.overQUIC()
	config := w.clientTLS(member, "a.example.com")
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	k := mustCall(t, addr, config)
	if resp, body := k.ask(http.MethodGet, "https://a.example.com/", "", nil); resp == nil || resp.StatusCode != 200 {
		t.Fatalf("a member: %v %s", resp, body)
	}
	one.Partners = nil
	must(t, h.Configure(Config{Sites: []Site{one}}))
	select {
	case <-k.conn.Context().Done():
	case <-time.After(20 * time.Second):
		t.Error("the connection lives on")
	}
	k = mustCall(t, addr, config)
	if resp, body := k.ask(http.MethodGet, "https://a.example.com/", "", nil); resp == nil || codeOf(body) != refusal.UnknownIssuer {
		t.Errorf("with what it kept: %v %s", resp, body)
	}
}

// A client that sends nothing of its body, or takes nothing of its answer, is
// let go over QUIC as well.
func TestNobodyStallsHTTP3(t *testing.T) {
	w := newWorld(t)
	wrote := make(chan error, 1)
	h := w.open(Options{Limits: Limits{Stall: 300 * time.Millisecond}}, Site{Host: "a.example.com", HTTP3: true, List: allow(t, "ben"), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			if _, err := io.ReadAll(r.Body); err != nil {
				Refuse(w, r, refusal.UpstreamDown, err.Error())
			}
			return
		}
		b := make([]byte, 1<<20)
		for range 64 {
			if _, err := w.Write(b); err != nil {
				wrote <- err
				return
			}
		}
		wrote <- nil
	})})
	addr, _ := h.overQUIC()
	k := mustCall(t, addr, w.clientTLS(w.enrol("ben"), "a.example.com"))
	never, end := io.Pipe()
	defer end.Close()
	if resp, body := k.ask(http.MethodPost, "https://a.example.com/", "", never); resp == nil || codeOf(body) != refusal.BodyStalled {
		t.Errorf("a body that never comes: %v %s", resp, body)
	}
	k = mustCall(t, addr, w.clientTLS(w.enrol("ben"), "a.example.com"))
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://a.example.com/", nil)
	must(t, err)
	resp, err := k.RoundTrip(r)
	must(t, err)
	defer resp.Body.Close()
	select {
	case err := <-wrote:
		if err == nil {
			t.Error("an answer that nobody takes was written to its end")
		}
	case <-time.After(20 * time.Second):
		t.Error("an answer that nobody takes holds its handler")
	}
}
