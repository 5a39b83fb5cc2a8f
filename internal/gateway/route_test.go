package gateway

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/refusal"
	"github.com/postern-project/postern/internal/rule"
)

func route(tb testing.TB, match string, words ...string) Route {
	tb.Helper()
	p, err := rule.ParsePattern(match)
	must(tb, err)
	return Route{Match: p, List: allow(tb, words...)}
}

func deny(tb testing.TB, r Route, words ...string) Route {
	tb.Helper()
	l, err := rule.Parse([]string{"strangers"}, words)
	must(tb, err)
	r.List.Deny = l.Deny
	return r
}

// ask sends one request as it is written and returns its status and code.
func (h *house) ask(d *device, host, method, path string) (int, string) {
	h.w.tb.Helper()
	r, err := http.NewRequest(method, "https://"+host+path, nil)
	must(h.w.tb, err)
	resp, err := client(h.w.tb, h.addr, h.w.clientTLS(d, host)).Do(r)
	must(h.w.tb, err)
	return resp.StatusCode, read(h.w.tb, resp)
}

func TestEachRouteAsksWhatItNeeds(t *testing.T) {
	w := newWorld(t)
	ben, anna, ops := w.enrol("ben/phone"), w.enrol("anna/phone"), w.enrol("olga/laptop")
	w.append(ledger.GroupJoined{Group: group(t, "ops"), Name: name(t, "olga")})
	revoked := w.enrol("ben/old")
	w.revoke(revoked)
	forged := w.mint(w.clients, clientTemplate("ben/phone"))
	h := w.open(Options{}, Site{Host: "app.example.com", Handler: whoami, List: allow(t, "ben", "olga"), Routes: []Route{
		route(t, "GET /healthz", "strangers"),
		route(t, "/admin/", "group:ops"),
		route(t, "/admin/public/", "strangers"),
		deny(t, route(t, "/shared/", "ben", "anna"), "anna/phone"),
		route(t, "/closed/"),
	}})
	for sentence, c := range map[string]struct {
		who          *device
		method, path string
		want         string
	}{
		"a stranger on a route for strangers":          {nil, "GET", "/healthz", "hello "},
		"HEAD goes with GET":                           {nil, "HEAD", "/healthz", ""},
		"another method is judged by the site":         {nil, "POST", "/healthz", "no-certificate"},
		"a longer path too":                            {nil, "GET", "/healthz/x", "no-certificate"},
		"other letters too":                            {nil, "GET", "/HEALTHZ", "no-certificate"},
		"a revoked one is a stranger there":            {revoked, "GET", "/healthz", "hello "},
		"a forgery is theft there as well":             {forged, "GET", "/healthz", "not-in-ledger"},
		"a good one keeps its name there":              {ben, "GET", "/healthz", "hello ben/phone"},
		"the site's list for the rest":                 {ben, "GET", "/", "hello ben/phone"},
		"whom it does not name":                        {anna, "GET", "/", "not-on-list"},
		"the route's list instead of the site's":       {ben, "GET", "/admin/x", "not-on-list"},
		"whom the route names":                         {ops, "GET", "/admin/x", "hello olga/laptop"},
		"the root of a tree without its slash":         {ben, "GET", "/admin", "not-on-list"},
		"an encoded letter is the same path":           {ben, "GET", "/%61dmin/x", "not-on-list"},
		"the more specific one":                        {nil, "GET", "/admin/public/x", "hello "},
		"no way around by dots":                        {nil, "GET", "/admin/public/../x", "ambiguous-path"},
		"nor by encoded dots":                          {nil, "GET", "/admin/public/%2e%2e/x", "ambiguous-path"},
		"nor by an encoded slash":                      {nil, "GET", "/admin%2fx", "ambiguous-path"},
		"nor by two slashes":                           {nil, "GET", "//admin/x", "ambiguous-path"},
		"nor by a path parameter":                      {nil, "GET", "/admin;/x", "ambiguous-path"},
		"deny before allow in the most specific route": {anna, "GET", "/shared/x", "not-on-list"},
		"an empty list on a route means nobody":        {ben, "GET", "/closed/", "not-on-list"},
	} {
		t.Run(sentence, func(t *testing.T) {
			status, body := h.ask(c.who, "app.example.com", c.method, c.path)
			if strings.HasPrefix(c.want, "hello") || c.want == "" {
				if status != 200 || body != c.want {
					t.Errorf("%d %q", status, body)
				}
			} else if status < 400 || !strings.Contains(body, `"`+c.want+`"`) {
				t.Errorf("%d %q, want %s", status, body, c.want)
			}
		})
	}
}

func TestConflictingRoutesAreRefused(t *testing.T) {
	w := newWorld(t)
	h := w.open(Options{})
	err := h.Configure(Config{Sites: []Site{{Host: "app.example.com", Routes: []Route{route(t, "/a/{x}", "ben"), route(t, "/{y}/b", "strangers")}}}})
	if err == nil || !strings.Contains(err.Error(), "neither is more specific") {
		t.Errorf("%v", err)
	}
}

// A request in hand is judged by the part of the site that it is for.
func TestAChangedRouteCutsWhatItForbids(t *testing.T) {
	w := newWorld(t)
	ben := w.enrol("ben/phone")
	held := make(chan string, 8)
	hold := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.WriteHeader(http.StatusOK)
		rw.(http.Flusher).Flush()
		held <- r.URL.Path
		<-r.Context().Done()
		held <- "ended " + r.URL.Path
	})
	site := func(stream ...string) Site {
		return Site{Host: "app.example.com", Handler: hold, List: allow(t, "ben"), Routes: []Route{route(t, "/stream/", stream...)}}
	}
	h := w.open(Options{}, site("ben"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, path := range []string{"/stream/1", "/other"} {
		r, err := http.NewRequestWithContext(ctx, "GET", "https://app.example.com"+path, nil)
		must(t, err)
		resp, err := client(t, h.addr, w.clientTLS(ben, "app.example.com")).Do(r)
		must(t, err)
		defer resp.Body.Close()
		if got := <-held; got != path {
			t.Fatal(got)
		}
	}
	must(t, h.Configure(Config{Sites: []Site{site("ben")}}))
	must(t, h.Configure(Config{Sites: []Site{site("anna")}}))
	if got := <-held; got != "ended /stream/1" {
		t.Fatal(got)
	}
	select {
	case got := <-held:
		t.Fatal("cut as well: " + got)
	case <-time.After(50 * time.Millisecond):
	}
	if n := h.count("postern_cut_connections_total", "code", string(refusal.NotOnList)); n != 1 {
		t.Errorf("%v connections cut", n)
	}
}

// An awayListener is one whose clients come from wherever it says.
type awayListener struct {
	net.Listener
	address func() string
}

type awayConn struct {
	net.Conn
	address net.Addr
}

func (l awayListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return awayConn{nc, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(l.address()))}, nil
}

func (c awayConn) RemoteAddr() net.Addr { return c.address }

// serveFrom serves h's sites to clients that come from address.
func (h *house) serveFrom(address string) (addr string) {
	return h.serveFromEach(func() string { return address })
}

// serveFromEach asks for each connection where it comes from.
func (h *house) serveFromEach(address func() string) (addr string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(h.w.tb, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.Serve(ctx, awayListener{ln, address})
	}()
	h.w.tb.Cleanup(func() { cancel(); <-done })
	return ln.Addr().String()
}

func TestANetworkOpensWithoutACertificate(t *testing.T) {
	w := newWorld(t)
	ben := w.enrol("ben/phone")
	lan, err := rule.ParseNetwork("lan")
	must(t, err)
	everywhere := rule.Networks{{Name: lan, Prefixes: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/1"), netip.MustParsePrefix("128.0.0.0/1"), netip.MustParsePrefix("::/1"), netip.MustParsePrefix("8000::/1")}}}
	home := rule.Networks{{Name: lan, Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/64")}}}
	site := Site{Host: "app.example.com", Handler: whoami, List: allow(t, "ben", "network:lan")}
	h := w.openConfig(Options{}, Config{Sites: []Site{site}, Networks: home})
	get := func(addr string, d *device) string {
		r, err := http.NewRequest("GET", "https://app.example.com/", nil)
		must(t, err)
		r.Header.Set("X-Forwarded-For", "192.0.2.7")
		r.Header.Set("Forwarded", "for=192.0.2.7")
		r.Header.Set("X-Real-IP", "192.0.2.7")
		resp, err := client(t, addr, w.clientTLS(d, "app.example.com")).Do(r)
		must(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		must(t, err)
		if resp.StatusCode != 200 {
			return string(refusalIn(string(body)))
		}
		return string(body)
	}
	for address, want := range map[string]string{
		"192.0.2.7:1": "hello ", "198.51.100.7:1": "no-certificate", "[2001:db8::9]:1": "hello ", "[2001:db8:1::9]:1": "no-certificate",
		"[::ffff:192.0.2.7]:1": "hello ", "127.0.0.1:1": "no-certificate",
	} {
		if got := get(h.serveFrom(address), nil); got != want {
			t.Errorf("from %s: %q, want %q", address, got, want)
		}
	}
	if got := get(h.addr, ben); got != "hello ben/phone" {
		t.Errorf("from elsewhere with a certificate: %q", got)
	}
	must(t, h.Configure(Config{Sites: []Site{site}, Networks: everywhere}))
	apart := []string{"127.0.0.1:1", "[::1]:1"}
	for a := range ownAddresses() {
		apart = append(apart, netip.AddrPortFrom(a, 1).String())
	}
	for _, address := range apart {
		if got := get(h.serveFrom(address), nil); got != "no-certificate" {
			t.Errorf("from %s, which may stand for anybody: %q", address, got)
		}
	}
}

// refusalIn is the code that problem details name.
func refusalIn(body string) refusal.Code {
	_, after, _ := strings.Cut(body, `"code":"`)
	code, _, _ := strings.Cut(after, `"`)
	return refusal.Code(code)
}

func TestRoutersAreReadFromTheRoutingTables(t *testing.T) {
	v4 := "Iface\tDestination\tGateway \tFlags\neth0\t00000000\t010011AC\t0003\neth0\t000011AC\t00000000\t0001\n"
	if got := routersIn(v4, 2, 4); len(got) != 1 || got[0] != netip.MustParseAddr("172.17.0.1") {
		t.Errorf("%v", got)
	}
	v6 := "00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth0\n"
	if got := routersIn(v6, 4, 16); len(got) != 1 || got[0] != netip.MustParseAddr("fe80::1") {
		t.Errorf("%v", got)
	}
	for _, odd := range []string{"", "x", "a b zz", "a b 0011"} {
		if got := routersIn(odd, 2, 4); got != nil {
			t.Errorf("%q: %v", odd, got)
		}
	}
}

func TestOnceAMinute(t *testing.T) {
	var m minute
	start := time.Unix(600, 0)
	if !m.begins(start) || m.begins(start.Add(59*time.Second)) || !m.begins(start.Add(time.Minute)) || !m.begins(start) {
		t.Error("a minute begins once, and again when the clock goes back")
	}
}
