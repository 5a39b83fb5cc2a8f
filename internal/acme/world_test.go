package acme

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/follow"
	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/permit"
	"github.com/postern-project/postern/internal/roster"
	"github.com/postern-project/postern/internal/store"
)

// A world is a real authority on a real disk, the ACME server before it on a
// real TLS server, a DNS server, and a web server on loopback that answers
// challenges.
type world struct {
	*httptest.Server
	t         testing.TB
	dir       string
	store     *store.Store
	roster    *roster.Roster
	authority *authority.Service
	acme      *Server
	dns       *dnsServer
	web       *web
	clock     *clock
	policy    permit.Policy
	profile   Profile
}

// A clock is put forward by hand.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// founded is a data folder that is made once, since sealing its root takes a
// while.
var founded = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "postern-acme")
	if err != nil {
		return "", err
	}
	domain, err := identity.ParseTrustDomain("postern.internal")
	if err != nil {
		return "", err
	}
	_, err = authority.Init(context.Background(), authority.InitOptions{Dir: dir, TrustDomain: domain})
	return dir, err
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := founded(); err == nil {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func patterns(t testing.TB, all ...string) []permit.Pattern {
	t.Helper()
	var ps []permit.Pattern
	for _, s := range all {
		ps = append(ps, must(permit.ParsePattern(s))(t))
	}
	return ps
}

// newWorld serves profile server for names below test.internal and addresses
// on loopback. A change may come first.
func newWorld(t testing.TB, changes ...func(*world)) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), clock: &clock{}, dns: newDNS(t), web: newWeb(t)}
	must(0, os.CopyFS(w.dir, os.DirFS(must(founded())(t))))(t)
	for _, secret := range []string{"ledger.key", "issuers/clients-1.key", "issuers/servers-1.key", "postern.db"} {
		must(0, os.Chmod(filepath.Join(w.dir, secret), 0o600))(t)
	}
	w.policy = permit.Policy{Names: patterns(t, "*.test.internal", "127.0.0.0/8"), Wildcards: true}
	w.profile = Profile{
		Name: "server", Networks: permit.Networks{netip.MustParsePrefix("127.0.0.0/8")}, Resolver: w.dns.addr(),
		HTTPPort: w.web.port, TLSPort: w.web.port, OrdersPerHour: 100_000,
	}
	for _, change := range changes {
		change(w)
	}
	w.open()
	return w
}

// open does what the program does at its start.
func (w *world) open() {
	w.t.Helper()
	w.roster = roster.New()
	domain := must(identity.ParseTrustDomain("postern.internal"))(w.t)
	w.store = must(store.Open(w.t.Context(), filepath.Join(w.dir, authority.DatabaseFile), store.Options{
		Signer: authority.LedgerSigner(w.dir, domain), Now: w.clock.now,
		Committed: func(first uint64, entries []ledger.Entry, _ store.Head) {
			if err := w.roster.Apply(first, entries); err != nil {
				w.t.Error(err)
			}
		},
	}))(w.t)
	signer := must(authority.LedgerSigner(w.dir, domain)(0))(w.t)
	must(0, follow.Load(w.t.Context(), w.store, signer.Public(), w.roster))(w.t)
	w.authority = must(authority.Open(w.t.Context(), authority.Options{Dir: w.dir, Store: w.store, Roster: w.roster, Now: w.clock.now}))(w.t)
	w.serve(w.authority)
}

// serve puts the ACME server before an authority.
func (w *world) serve(a Authority) {
	w.t.Helper()
	w.acme = must(New(context.Background(), Options{
		Authority: a, Log: slog.New(slog.DiscardHandler), Now: w.clock.now, Retries: []time.Duration{}, Patience: 5 * time.Second,
	}))(w.t)
	w.configure()
	w.Server = httptest.NewTLSServer(w.acme)
	s, served, kept := w.Server, w.acme, w.store
	w.t.Cleanup(func() {
		s.Close()
		served.Close()
		kept.Close()
	})
}

// configure puts the policy and the profile in force.
func (w *world) configure() {
	w.t.Helper()
	w.profile.Open = w.policy.Open
	w.authority.Enforce(authority.Policy{ACME: map[string]permit.Policy{w.profile.Name: w.policy}})
	must(0, w.acme.Configure(context.Background(), []Profile{w.profile}))(w.t)
}

// restart ends the server, as a crash does, and opens the folder again.
func (w *world) restart() {
	w.t.Helper()
	w.Server.Close()
	w.acme.Close()
	must(0, w.store.Close())(w.t)
	w.open()
}

// verify has the ledger and all views recomputed.
func (w *world) verify() {
	w.t.Helper()
	if v, err := w.authority.Verify(w.t.Context()); err != nil || !v.OK {
		w.t.Errorf("the ledger does not verify: %v %s", err, v.Fault)
	}
}

func (w *world) base() string { return w.URL + "/acme/server" }

func named(t testing.TB, s string) identity.Name { return must(identity.ParseName(s))(t) }

// invite makes a key for an account of a name.
func (w *world) invite(name string, hosts ...string) authority.ACMEKey {
	w.t.Helper()
	return must(w.authority.CreateACMEKey(w.t.Context(), authority.ACMEKeyRequest{Name: named(w.t, name), Hosts: hosts}))(w.t)
}

// issued counts the certificates that came through ACME.
func (w *world) issued() int {
	w.t.Helper()
	all := must(w.authority.Certificates(w.t.Context(), authority.CertificateFilter{}))(w.t)
	n := 0
	for _, c := range all {
		if c.Via == "acme" {
			n++
		}
	}
	return n
}

// A web answers http-01 on loopback, and whatever a test wants beside it.
type web struct {
	port uint16

	mu      sync.Mutex // guards what follows
	answers map[string]string
	handler http.HandlerFunc // instead; nil for the answers
	asked   []string         // hosts and paths
}

func newWeb(t testing.TB) *web {
	t.Helper()
	v := &web{answers: map[string]string{}}
	s := httptest.NewServer(v)
	t.Cleanup(s.Close)
	v.port = uint16(s.Listener.Addr().(*net.TCPAddr).Port)
	return v
}

func (v *web) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	h, body, ok := v.handler, "", false
	v.asked = append(v.asked, r.Host+r.URL.Path)
	body, ok = v.answers[r.URL.Path]
	v.mu.Unlock()
	switch {
	case h != nil:
		h(w, r)
	case ok:
		fmt.Fprint(w, body)
	default:
		http.NotFound(w, r)
	}
}

func (v *web) answer(token, body string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.answers["/.well-known/acme-challenge/"+token] = body
}

func (v *web) handle(h http.HandlerFunc) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.handler = h
}

func (v *web) requests() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.asked)
}

func decodeJSON[T any](t testing.TB, body []byte) (v T) {
	t.Helper()
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return v
}
