package gateway

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/refusal"
	"github.com/postern-project/postern/internal/rule"
)

// A wallet is a session cache that offers its newest ticket to everybody: what
// an attacker would do, and what a careless client may.
type wallet struct {
	mu sync.Mutex
	s  *tls.ClientSessionState
}

func (w *wallet) Get(string) (*tls.ClientSessionState, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.s, w.s != nil
}

func (w *wallet) Put(_ string, s *tls.ClientSessionState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s != nil {
		w.s = s
	}
}

// resumable is clientTLS with tickets. It does not check the server, so that
// it offers a ticket under any name.
func (w *world) resumable(d *device, host string, cache *wallet) *tls.Config {
	c := w.clientTLS(d, host)
	c.ClientSessionCache, c.InsecureSkipVerify = cache, true
	return c
}

// ask sends one request on conn and returns the answer, in which the ticket
// has been received as well.
func askFor(tb testing.TB, conn *tls.Conn, host, path string) (*http.Response, string) {
	tb.Helper()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, host)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(tb, err)
	return resp, read(tb, resp)
}

// visit opens a connection, asks for one page, and closes.
func (h *house) visit(c *tls.Config) (resumed bool, resp *http.Response, body string) {
	h.w.tb.Helper()
	conn := h.mustDial(c)
	defer conn.Close()
	resp, body = askFor(h.w.tb, conn, c.ServerName, "/")
	return conn.ConnectionState().DidResume, resp, body
}

func codeOf(body string) refusal.Code {
	var p problem
	json.Unmarshal([]byte(body), &p)
	return p.Code
}

// I3: a ticket saves the handshake's cost and nothing else. Each row takes a
// ticket at a.example.com, lets something happen, and comes back with it.
func TestTickets(t *testing.T) {
	for sentence, c := range map[string]struct {
		comeBack string // another site to come back to
		meantime func(*world, *house, *device)
		resumed  bool
		code     refusal.Code
	}{
		"back at the same site":                        {resumed: true},
		"at another site whose list has the client":    {comeBack: "b.example.com"},
		"at another site that is not for the client":   {comeBack: "c.example.com", code: refusal.NotOnList},
		"at a stealthy site whose list has the client": {comeBack: "s.example.com"},
		"the certificate was revoked":                  {meantime: func(w *world, _ *house, d *device) { w.revoke(d) }, resumed: true, code: refusal.Revoked},
		"the name was suspended":                       {meantime: func(w *world, _ *house, d *device) { w.append(ledger.IdentitySuspended{Name: name(t, "ben")}) }, resumed: true, code: refusal.Suspended},
		"the site's list lost the client":              {meantime: func(w *world, h *house, _ *device) { h.reconfigure(allow(t, "anna")) }, resumed: true, code: refusal.NotOnList},
		"the configuration was read again, unchanged":  {meantime: func(w *world, h *house, _ *device) { h.reconfigure(allow(t, "ben")) }, resumed: true},
		"an issuer was added":                          {meantime: func(w *world, _ *house, _ *device) { addIssuer(t, w, "clients-2") }},
		"the client's issuer was distrusted":           {meantime: func(w *world, _ *house, _ *device) { w.append(ledger.IssuerDistrusted{Issuer: w.clients.id()}) }},
		"the roster went stale": {meantime: func(w *world, _ *house, _ *device) {
			w.roster.Apply(0, nil)
			w.roster.Apply(0, make([]ledger.Entry, 1))
		}, resumed: true, code: refusal.StaleRoster},
	} {
		for _, version := range []uint16{tls.VersionTLS13, tls.VersionTLS12} {
			t.Run(fmt.Sprintf("%s, %s", sentence, tls.VersionName(version)), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				h := w.open(Options{}, ticketSites(allow(t, "ben"))...)
				d, cache := w.enrol("ben"), new(wallet)
				config := w.resumable(d, "a.example.com", cache)
				config.MaxVersion = version
				if _, resp, _ := h.visit(config); resp.StatusCode != http.StatusOK {
					t.Fatalf("the first visit: %s", resp.Status)
				}
				if c.meantime != nil {
					c.meantime(w, h, d)
				}
				if c.comeBack != "" {
					config.ServerName = c.comeBack
				}
				resumed, resp, body := h.visit(config)
				if resumed != c.resumed {
					t.Errorf("resumed: %v, want %v", resumed, c.resumed)
				}
				if codeOf(body) != c.code || c.code == "" && resp.StatusCode != http.StatusOK {
					t.Errorf("got %s %s, want code %q", resp.Status, body, c.code)
				}
			})
		}
	}
}

func ticketSites(list rule.List) []Site {
	t12 := uint16(tls.VersionTLS12)
	return []Site{
		{Host: "a.example.com", Handler: whoami, List: list, MinVersion: t12},
		{Host: "b.example.com", Handler: whoami, List: list, MinVersion: t12},
		{Host: "c.example.com", Handler: whoami, MinVersion: t12},
		{Host: "s.example.com", Handler: whoami, List: list, MinVersion: t12, Stealth: true},
	}
}

func (h *house) reconfigure(list rule.List) {
	h.w.tb.Helper()
	must(h.w.tb, h.Configure(Config{Sites: ticketSites(list)}))
}

func addIssuer(tb testing.TB, w *world, name string) *issuer {
	i := newIssuer(tb, name, w.root, x509.ExtKeyUsageClientAuth)
	w.append(ledger.IssuerAdded{Name: name, Use: ledger.UseClients, Certificate: i.cert.Raw})
	return i
}

// I3: a session without a certificate is never resumed, so that a client which
// has got one meanwhile is asked again.
func TestNoTicketWithoutACertificate(t *testing.T) {
	w := newWorld(t)
	h := w.openConfig(Options{}, Config{Public: whoami, PublicHost: "join.example.com",
		Sites: append(ticketSites(allow(t, "enrolled")), Site{Host: "open.example.com", Handler: whoami, List: allow(t, "strangers")})})
	for _, version := range []uint16{tls.VersionTLS13, tls.VersionTLS12} {
		for _, first := range []string{"a.example.com", "open.example.com", "join.example.com"} {
			cache := new(wallet)
			config := w.resumable(nil, first, cache)
			config.MaxVersion = version
			if first == "open.example.com" {
				config.MaxVersion = tls.VersionTLS13
			}
			h.visit(config)
			if resumed, _, _ := h.visit(config); resumed {
				t.Errorf("%s, %s: resumed without a certificate", first, tls.VersionName(version))
			}
			config = w.resumable(w.enrol("ben"), "a.example.com", cache)
			config.MaxVersion = version
			if resumed, resp, body := h.visit(config); resumed || resp.StatusCode != http.StatusOK {
				t.Errorf("%s, %s: with a certificate now: resumed %v, %s %s", first, tls.VersionName(version), resumed, resp.Status, body)
			}
		}
	}
}

// I3: a ticket outlives neither its certificate nor its gateway, and one that
// somebody else sealed opens nothing.
func TestTicketsEnd(t *testing.T) {
	w := newWorld(t)
	now := &shiftedClock{}
	h := w.open(Options{Now: now.now}, ticketSites(allow(t, "ben"))...)
	other := w.open(Options{}, ticketSites(allow(t, "ben"))...)
	d, cache := w.enrol("ben"), new(wallet)
	config := w.resumable(d, "a.example.com", cache)
	h.visit(config)
	if resumed, resp, _ := other.visit(config); resumed || resp.StatusCode != http.StatusOK {
		t.Errorf("at another gateway: resumed %v, %s", resumed, resp.Status)
	}
	cache.s = nil
	h.visit(config)
	now.advance(2 * time.Hour)
	if resumed, _, body := h.visit(config); resumed || codeOf(body) != refusal.Expired {
		t.Errorf("after its end: resumed %v, %s", resumed, body)
	}
}

// A shiftedClock is the time of day, and more.
type shiftedClock struct {
	mu   sync.Mutex
	more time.Duration
}

func (c *shiftedClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.more)
}

func (c *shiftedClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.more += d
}
