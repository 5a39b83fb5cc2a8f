package scep

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/enroll"
	"github.com/postern-project/postern/internal/follow"
	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/roster"
	"github.com/postern-project/postern/internal/store"
)

// A world is a real authority on a real disk, with the SCEP server before it
// on a real HTTP server.
type world struct {
	*httptest.Server
	t            testing.TB
	authority    *authority.Service
	roster       *roster.Roster
	registration *tls.Certificate
	log          *tape

	mu      sync.Mutex // guards what follows
	refused []Refusal
	issued  []authority.Issued
	from    string // a remote address to count attempts by; "" for the real one
}

// founded is a data folder that is made once, since sealing its root takes a
// while.
var founded = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "postern-scep")
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

// Keys are made once: RSA takes its time.
var (
	registrationKey = sync.OnceValue(rsaKey)
	deviceKey       = sync.OnceValue(rsaKey)
	otherKey        = sync.OnceValue(rsaKey)
)

func rsaKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}

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

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, log: &tape{}}
	dir := t.TempDir()
	must(0, os.CopyFS(dir, os.DirFS(must(founded())(t))))(t)
	for _, secret := range []string{"ledger.key", "issuers/clients-1.key", "issuers/servers-1.key", "postern.db"} {
		must(0, os.Chmod(filepath.Join(dir, secret), 0o600))(t)
	}
	log := slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.open(dir, log)
	w.certify()
	handler := must(Handler(Options{
		Authority: w.authority, Registration: func() *tls.Certificate { return w.registration }, Limit: w.elsewhere(enroll.NewAttempts(enroll.Limits{}, nil)), Log: log,
		Issued: func(i authority.Issued) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.issued = append(w.issued, i)
		},
		Refused: func(r Refusal) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.refused = append(w.refused, r)
		},
	}))(t)
	mux := http.NewServeMux()
	mux.Handle(Path, handler)
	w.Server = httptest.NewServer(mux)
	t.Cleanup(w.Close)
	return w
}

func (w *world) open(dir string, log *slog.Logger) {
	w.t.Helper()
	domain := must(identity.ParseTrustDomain("postern.internal"))(w.t)
	w.roster = roster.New()
	s := must(store.Open(w.t.Context(), filepath.Join(dir, authority.DatabaseFile), store.Options{
		Signer: authority.LedgerSigner(dir, domain),
		Committed: func(first uint64, entries []ledger.Entry, _ store.Head) {
			if err := w.roster.Apply(first, entries); err != nil {
				w.t.Error(err)
			}
		},
	}))(w.t)
	w.t.Cleanup(func() { s.Close() })
	signer := must(authority.LedgerSigner(dir, domain)(0))(w.t)
	must(0, follow.Load(w.t.Context(), s, signer.Public(), w.roster))(w.t)
	w.authority = must(authority.Open(w.t.Context(), authority.Options{Dir: dir, Store: s, Roster: w.roster, Log: log}))(w.t)
}

// certify makes the registration authority.
func (w *world) certify() {
	w.t.Helper()
	key := registrationKey()
	spki := must(x509.MarshalPKIXPublicKey(key.Public()))(w.t)
	issued := must(w.authority.IssueRegistration(w.t.Context(), spki))(w.t)
	leaf := must(x509.ParseCertificate(issued.Chain[0]))(w.t)
	w.registration = &tls.Certificate{Certificate: append(issued.Chain, issued.Root), PrivateKey: key, Leaf: leaf}
}

// invite returns a code for a name.
func (w *world) invite(name string) string {
	w.t.Helper()
	n := must(identity.ParseName(name))(w.t)
	return must(w.authority.Invite(w.t.Context(), authority.InviteRequest{Name: n}))(w.t).Code
}

// refusals returns and forgets what was refused.
func (w *world) refusals() []Refusal {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.refused
	w.refused = nil
	return all
}

// post sends a message, and returns the status and the body of the answer.
func (w *world) post(message []byte) (int, []byte) {
	w.t.Helper()
	resp, err := w.Client().Post(w.URL+Path+"?operation=PKIOperation", "application/x-pki-message", bytes.NewReader(message))
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, body
}

// elsewhere counts attempts by the address that the test says, or gives every
// one its own, so that tests do not meet the limit by chance.
func (w *world) elsewhere(a *enroll.Attempts) Limit { return &places{w: w, a: a} }

type places struct {
	w *world
	a *enroll.Attempts
}

func (p *places) Take(remote string) (time.Duration, bool) {
	p.w.mu.Lock()
	from := p.w.from
	p.w.mu.Unlock()
	if from == "" {
		return 0, true
	}
	return p.a.Take(from)
}

func (p *places) GiveBack(string) {
	p.w.mu.Lock()
	from := p.w.from
	p.w.mu.Unlock()
	if from != "" {
		p.a.GiveBack(from)
	}
}

// A tape keeps what was logged.
type tape struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (t *tape) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.Write(p)
}

func (t *tape) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}
