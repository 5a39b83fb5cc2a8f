package demo

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/postern-project/postern/internal/gateway"
	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/roster"
	"github.com/postern-project/postern/internal/rule"
)

const bob = "bob.example.com"

// A person is a client with what they hold. The zero person has no
// certificate.
type person struct {
	name identity.Name
	cert tls.Certificate
	refs []ledger.Ref // all generations
}

var nobody person

// A stage holds everybody: Steve's keys and ledger, and Bob's door with the
// gateway that real sites have.
type stage struct {
	now       time.Time
	yesterday func(*x509.Certificate)
	domain    identity.TrustDomain
	steve     steve
	roster    *roster.Roster
	gateway   *gateway.Gateway
	door      *pipes
	end       context.CancelFunc
	running   sync.WaitGroup

	alice, carol, eve person
	list              *x509.RevocationList // what programs elsewhere have of the root's
}

func newStage(ctx context.Context, now time.Time) (*stage, error) {
	s := &stage{now: now, roster: roster.New(), door: newPipes()}
	s.yesterday = func(c *x509.Certificate) { c.NotBefore = now.Add(-24 * time.Hour) }
	var err error
	if s.domain, err = identity.ParseTrustDomain("example.com"); err != nil {
		return nil, err
	}
	if err := s.begin(); err != nil {
		return nil, err
	}
	server, err := s.steve.servers.server(s, bob)
	if err != nil {
		return nil, err
	}
	list, err := rule.Parse([]string{"alice", "carol"}, nil)
	if err != nil {
		return nil, err
	}
	s.gateway, err = gateway.New(gateway.Options{
		Roster: s.roster, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now },
		Certificate: func(string) (*tls.Certificate, error) { return &server, nil },
	})
	if err != nil {
		return nil, err
	}
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, letIn) })
	if err := s.gateway.Configure(gateway.Config{Sites: []gateway.Site{{Host: bob, List: list, Handler: page}}}); err != nil {
		return nil, err
	}
	ctx, s.end = context.WithCancel(ctx)
	s.running.Go(func() { s.gateway.Serve(ctx, s.door) })
	return s, nil
}

func (s *stage) close() {
	s.gateway.Close()
	s.end()
	s.running.Wait()
}

// begin makes Steve's keys and the ledger's first entries.
func (s *stage) begin() error {
	var err error
	if s.steve, err = newSteve(s.domain, s.now); err != nil {
		return err
	}
	genesis, err := ledger.NewGenesis(s.domain, s.steve.root.cert.Raw, s.steve.ledgerKey, s.steve.root.key)
	if err != nil {
		return err
	}
	return s.append(genesis,
		ledger.IssuerAdded{Name: "clients-1", Use: ledger.UseClients, Certificate: s.steve.clients.cert.Raw},
		ledger.IssuerAdded{Name: "servers-1", Use: ledger.UseServers, Certificate: s.steve.servers.cert.Raw})
}

// append writes entries into the ledger; the roster follows at once.
func (s *stage) append(bodies ...ledger.Body) error {
	entries := make([]ledger.Entry, len(bodies))
	for i, b := range bodies {
		entries[i] = ledger.Entry{At: s.now, Body: b}
	}
	return s.roster.Apply(s.roster.Size(), entries)
}

// enrol has Steve record and sign a certificate for a new key of p.
func (s *stage) enrol(name string, p *person) error {
	n, err := identity.ParseName(name)
	if err != nil {
		return err
	}
	if err := s.append(ledger.IdentityCreated{Name: n}); err != nil {
		return err
	}
	*p = person{name: n}
	return s.renew(p)
}

// renew gives p the next certificate, from the clients' intermediate of now.
func (s *stage) renew(p *person) error {
	next, err := s.steve.clients.client(s, p.name.String(), nil)
	if err != nil {
		return err
	}
	leaf := next.cert.Leaf
	ref, err := roster.RefOf(leaf, s.steve.clients.cert)
	if err != nil {
		return err
	}
	issued := ledger.CertificateIssued{
		Ref: ref, Name: p.name, Profile: "device", Key: sha256.Sum256(leaf.RawSubjectPublicKeyInfo),
		NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter, Via: "issue",
	}
	if len(p.refs) > 0 {
		issued.Via, issued.RenewedFrom = "renew", p.refs[len(p.refs)-1]
	}
	if err := s.append(issued); err != nil {
		return err
	}
	p.cert, p.refs = next.cert, append(p.refs, ref)
	return nil
}

// replaceClients signs clients-2 with the root and adds it to the ledger.
func (s *stage) replaceClients() error {
	next, err := s.steve.intermediate(s.domain, "clients-2", forClients, s.now)
	if err != nil {
		return err
	}
	s.steve.clients = next
	return s.append(ledger.IssuerAdded{Name: "clients-2", Use: ledger.UseClients, Certificate: next.cert.Raw})
}

// selfMade makes a certificate for name that is signed by its own key.
func (s *stage) selfMade(name string) (person, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return person{}, err
	}
	return ca{key: key}.client(s, name, nil)
}

// trusting is what everybody's TLS client believes: Steve's root.
func (s *stage) trusting(p person) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(s.steve.root.cert)
	c := &tls.Config{ServerName: bob, RootCAs: roots, Time: func() time.Time { return s.now }}
	if len(p.cert.Certificate) > 0 {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &p.cert, nil }
	}
	return c
}

// client returns an HTTP client that speaks to Bob's door as p.
func (s *stage) client(p person) *http.Client {
	cfg := s.trusting(p)
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			raw, err := s.door.dial(ctx)
			if err != nil {
				return nil, err
			}
			conn := tls.Client(raw, cfg)
			return conn, conn.HandshakeContext(ctx)
		},
	}}
}

// visit asks Bob for his page as p and returns letIn or the code of the
// refusal.
func (s *stage) visit(p person) string {
	c := s.client(p)
	defer c.CloseIdleConnections()
	return ask(c)
}

func ask(c *http.Client) string {
	resp, err := c.Get("https://" + bob + "/")
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		return err.Error()
	}
	if resp.StatusCode == http.StatusOK {
		return string(body)
	}
	var problem struct{ Code string }
	if err := json.Unmarshal(body, &problem); err != nil {
		return fmt.Sprintf("%s: %v", resp.Status, err)
	}
	return problem.Code
}

// hold opens a connection as p and returns a function that waits for its end.
func (s *stage) hold(p person) (func() string, error) {
	raw, err := s.door.dial(context.Background())
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, s.trusting(p))
	if err := conn.Handshake(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	ready := make(chan struct{})
	go func() {
		first := make([]byte, 1)
		_, err := conn.Read(first)
		close(ready)
		if err == nil {
			_, err = io.Copy(io.Discard, conn)
		}
		ended <- err
	}()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: "+bob+"\r\n\r\n"); err != nil {
		return nil, err
	}
	<-ready
	return func() string {
		select {
		case <-ended:
			return "cut"
		case <-time.After(5 * time.Second):
			return "still open"
		}
	}, nil
}

// elsewhere does what a server without a ledger does: it verifies p's chain, and
// looks at the root's list if it has one.
func (s *stage) elsewhere(p person) string {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(s.steve.root.cert)
	by, err := x509.ParseCertificate(p.cert.Certificate[1])
	if err != nil {
		return err.Error()
	}
	between.AddCert(by)
	_, err = p.cert.Leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: s.now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return err.Error()
	}
	if s.onList(by) {
		return "refused by the root's list"
	}
	return "verifies"
}

// impersonateBob has Alice call a door that shows a certificate for Bob which
// Eve's authority signed.
func (s *stage) impersonateBob(eve ca) string {
	server, err := eve.server(s, bob)
	if err != nil {
		return err.Error()
	}
	here, there := net.Pipe()
	defer here.Close()
	go func() {
		defer there.Close()
		tls.Server(there, &tls.Config{Certificates: []tls.Certificate{server}}).Handshake()
	}()
	err = tls.Client(here, s.trusting(s.alice)).Handshake()
	if unknown, ok := errors.AsType[x509.UnknownAuthorityError](err); ok && unknown.Cert != nil {
		return "not verified"
	}
	return fmt.Sprint(err)
}
