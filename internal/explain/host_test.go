package explain

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/chain"
	"github.com/postern-project/postern/internal/refusal"
)

// world is what the host tests serve from and dial with.
type world struct{ root, servers, site, clients, phone *entity }

func newWorld(t testing.TB) world {
	root := issue(t, "Example root", nil, ca)
	servers, clients := issue(t, "servers-1", root, ca), issue(t, "clients-1", root, ca)
	return world{root, servers, issue(t, "localhost", servers, server("localhost", "127.0.0.1", "::1")), clients, issue(t, "ben/phone", clients, client)}
}

func (w world) options(clients ...Credential) HostOptions {
	return HostOptions{Roots: certs(w.root), Clients: clients, Now: clock}
}

// serve runs a TLS server with an answer until the test ends.
func serve(t *testing.T, network, address string, c *tls.Config, h http.HandlerFunc) string {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.Listener.Close()
	s.Listener, s.TLS, s.EnableHTTP2 = l, c, true
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return l.Addr().String()
}

func ok(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello") }

// texts returns the report as one line of words, without the tree.
func texts(t *testing.T, r Report) string {
	t.Helper()
	var b strings.Builder
	if err := r.WriteText(&b, false); err != nil {
		t.Fatal(err)
	}
	checkText(t, b.String())
	return strings.Join(strings.Fields(strings.NewReplacer("│", "", "├", "", "└", "").Replace(b.String())), " ")
}

func dial(t *testing.T, address string, o HostOptions) Report {
	t.Helper()
	r, err := Host(t.Context(), address, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// port returns the replacement that makes a golden file of a report.
func port(address string) []string {
	return []string{netip.MustParseAddrPort(address).String()[strings.LastIndexByte(address, ':')+1:], "PORT"}
}

func TestHost(t *testing.T) {
	w := newWorld(t)
	stranger := issue(t, "eve", issue(t, "Stranger", nil, ca), client)
	cred := func(name string, es ...*entity) Credential { return Credential{Name: name, Certificate: pair(es...)} }
	pool := x509.NewCertPool()
	pool.AddCert(w.root.Certificate)
	base := func(f func(*tls.Config)) *tls.Config {
		c := &tls.Config{Certificates: []tls.Certificate{pair(w.site, w.servers)}, ClientCAs: pool, Time: clock}
		f(c)
		return c
	}
	demand := func(c *tls.Config) { c.ClientAuth = tls.RequireAndVerifyClientCert }
	old := func(f func(*tls.Config)) func(*tls.Config) {
		return func(c *tls.Config) { f(c); c.MaxVersion = tls.VersionTLS12 }
	}
	problem := func(rw http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) > 0 {
			ok(rw, r)
			return
		}
		rw.Header().Set("Content-Type", "application/problem+json")
		rw.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(rw, `{"title":"No certificate was shown","status":403,"code":"no-certificate","reference":"K7QM-2XPA","detail":"\u001b[2J"}`)
	}
	for name, c := range map[string]struct {
		config func(*tls.Config)
		answer http.HandlerFunc
		o      HostOptions
		ok     bool
		code   refusal.Code
		want   []string
		isGold bool
	}{
		"all is well": {func(*tls.Config) {}, ok, w.options(), true, "", []string{"TLS 1.3", "protocol h2", "X25519", "HTTP 200 OK", "asks for none"}, true},
		"the intermediate is missing": {func(c *tls.Config) { c.Certificates = []tls.Certificate{pair(w.site)} }, ok, w.options(), false,
			refusal.UnknownIssuer, []string{"'servers-1'", "ssl_certificate"}, true},
		"a root of the system": {func(*tls.Config) {}, ok, HostOptions{System: pool, Now: clock}, true, "", []string{"'Example root' is trusted here"}, false},
		"another authority":    {func(*tls.Config) {}, ok, HostOptions{Now: clock}, false, refusal.UnknownIssuer, []string{"'Example root'"}, false},
		"a name that the certificate has not": {func(*tls.Config) {}, ok, HostOptions{Roots: certs(w.root), Now: clock, ServerName: "shop.example.com"}, false,
			chain.WrongHost, []string{"'localhost', 127.0.0.1 and ::1, not for 'shop.example.com'"}, false},
		"a client's certificate as a server's": {func(c *tls.Config) { c.Certificates = []tls.Certificate{pair(w.phone, w.clients)} }, ok, w.options(), false,
			refusal.WrongPurpose, []string{"profile 'server'"}, false},
		"TLS 1.2 only": {old(func(*tls.Config) {}), ok, w.options(), true, "", []string{"TLS 1.2"}, false},
		"TLS 1.1 only": {func(c *tls.Config) {
			c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
			c.CipherSuites = allSuites()
		}, ok, w.options(), true, "", []string{"out of use"}, false},
		"an answer that says why": {func(c *tls.Config) { c.ClientAuth = tls.RequestClientCert }, problem, w.options(), false,
			refusal.NoCertificate, []string{"of the issuers 'Example root'", "403 Forbidden", "code no-certificate", "reference K7QM-2XPA", `\x1b[2J`, "Ask the person who runs this site for an invitation"}, true},
		"the right certificate": {func(c *tls.Config) { c.ClientAuth = tls.RequestClientCert }, problem,
			w.options(cred("eve.pem", stranger), cred("old.pem", issue(t, "ben/old", w.clients, client, expired), w.clients), cred("site.pem", w.site, w.servers), Credential{Name: "mixed", Problem: "key does not match"}, cred("phone.pem", w.phone, w.clients)),
			true, "", []string{"'eve.pem': does not fit: it comes from 'Stranger'", "'old.pem': does not fit: it ended on", "'site.pem': does not fit: 'localhost' is for serverAuth", "'mixed': does not fit: key does not match", "'phone.pem': fits", "HTTP 200"}, true},
		"demanded in TLS 1.3, none given":    {demand, ok, w.options(), false, "", []string{"'certificate required' (116)", "postern join"}, true},
		"demanded in TLS 1.2, none given":    {old(demand), ok, w.options(), false, "", []string{"'handshake failure' (40)", "the server asks for one", "postern join"}, false},
		"demanded in TLS 1.2, right one":     {old(demand), ok, w.options(cred("phone.pem", w.phone, w.clients)), true, "", []string{"without a certificate: the server ended it", "HTTP 200"}, true},
		"demanded, a stranger's sent":        {demand, ok, w.options(cred("eve.pem", stranger)), false, "", []string{"'unknown certificate authority' (48)"}, false},
		"demanded, one without intermediate": {demand, ok, w.options(cred("phone.pem", w.phone)), false, "", []string{"put that into the file after it", "'unknown certificate authority' (48)"}, false},
		"demanded, an expired one": {demand, ok, w.options(cred("old.pem", issue(t, "ben/old", w.clients, client, expired), w.clients)), false, "",
			[]string{"does not fit: it ended on 2020-01-01", "'expired certificate' (45)"}, false},
		"a name that is not served": {func(c *tls.Config) {
			c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, fmt.Errorf("no such site") }
		}, ok, w.options(), false, "", []string{"'internal error' (80)"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			address := serve(t, "tcp", "127.0.0.1:0", base(c.config), c.answer)
			r := dial(t, address, c.o)
			text := texts(t, r)
			for _, want := range c.want {
				if !strings.Contains(text, want) {
					t.Errorf("want %q in:\n%s", want, text)
				}
			}
			faults := chain.Faults(r.Steps)
			if r.OK != c.ok || c.code != "" && faults[0].Code != c.code {
				t.Errorf("OK is %v, faults %+v", r.OK, faults)
			}
			if !r.OK && r.Advice == "" {
				t.Error("nothing to do about it")
			}
			if c.isGold {
				golden(t, "host-"+strings.NewReplacer(" ", "-", ",", "", "'", "").Replace(name), r, port(address)...)
			}
		})
	}
}

func TestHostByIPv6Literal(t *testing.T) {
	w := newWorld(t)
	address := serve(t, "tcp", "[::1]:0", &tls.Config{Certificates: []tls.Certificate{pair(w.site, w.servers)}}, ok)
	r := dial(t, address, w.options())
	if text := texts(t, r); !r.OK || !strings.Contains(text, "'::1' is among its names") {
		t.Errorf("got %s", text)
	}
}

func TestHostByName(t *testing.T) {
	w := newWorld(t)
	address := serve(t, "tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair(w.site, w.servers)}}, ok)
	_, p, _ := net.SplitHostPort(address)
	r := dial(t, "localhost:"+p, w.options())
	if text := texts(t, r); !r.OK || !strings.Contains(text, "'localhost' is ") {
		t.Errorf("got %s", text)
	}
}

// raw runs a server that is not one of TLS.
func raw(t *testing.T, talk func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); talk(c) }()
		}
	}()
	return l.Addr().String()
}

func TestHostThatIsNoTLSServer(t *testing.T) {
	closed := raw(t, func(net.Conn) {})
	refusedAddress := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.Addr().String()
	}()
	done := make(chan struct{})
	defer close(done)
	for name, c := range map[string]struct{ address, want string }{
		"nobody there":       {refusedAddress, "nothing listens on that port"},
		"no such name":       {"no-such-name.invalid", "has no address"},
		"closes at once":     {closed, "closes the connection without a word"},
		"plain HTTP":         {raw(t, func(c net.Conn) { bufio.NewReader(c).Peek(1); io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }), "speaks plain HTTP"},
		"another protocol":   {raw(t, func(c net.Conn) { io.WriteString(c, "SSH-2.0-OpenSSH_9.2\r\n"); bufio.NewReader(c).Peek(1) }), "something else than TLS"},
		"says nothing":       {raw(t, func(net.Conn) { <-done }), "says nothing"},
		"an escape as error": {raw(t, func(c net.Conn) { io.WriteString(c, "\x15\x03\x03\x00\x02\x02\xff"); bufio.NewReader(c).Peek(1) }), "alert"},
	} {
		t.Run(name, func(t *testing.T) {
			r := dial(t, c.address, HostOptions{Now: clock, Timeout: 300 * time.Millisecond})
			if text := texts(t, r); r.OK || !strings.Contains(text, c.want) {
				t.Errorf("OK %v, want %q in %s", r.OK, c.want, text)
			}
		})
	}
}

// A server that takes the handshake and then sends a byte a second does not
// keep the report waiting.
func TestHostHasDeadlines(t *testing.T) {
	w := newWorld(t)
	stop := make(chan struct{})
	address := serve(t, "tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair(w.site, w.servers)}},
		func(http.ResponseWriter, *http.Request) { <-stop })
	defer close(stop)
	start := time.Now()
	o := w.options()
	o.Timeout = 300 * time.Millisecond
	r := dial(t, address, o)
	if text := texts(t, r); r.OK || !strings.Contains(text, "no answer in time") {
		t.Errorf("got %s", text)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("took %v", d)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := Host(ctx, address, o); err != nil || r.OK {
		t.Errorf("a cancelled look gives %v, %v", r, err)
	}
}
