// Package acme is an ACME server (RFC 8555): it takes orders for certificates,
// validates the control of host names and addresses, and asks the authority,
// which judges everything again, to issue. It holds no key of an issuer and
// reaches the authority through plain values only.
package acme

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/permit"
)

// An Authority is all that the ACME server asks of the house.
type Authority interface {
	ACMENonceKey(context.Context) ([]byte, error)
	BindACMEAccount(context.Context, authority.ACMEBinding) (authority.ACMEHolder, error)
	FindACMEAccount(ctx context.Context, profile string, thumbprint [32]byte) (authority.ACMEHolder, error)
	RekeyACMEAccount(context.Context, authority.ACMEProof) (json.RawMessage, error)
	CloseACMEAccount(context.Context, authority.ACMEProof) error
	ACMEPermits(context.Context, authority.ACMEAsk) ([]permit.Decision, error)
	IssueACME(context.Context, authority.ACMEIssueRequest) (authority.Issued, error)
	RevokeACME(context.Context, authority.ACMERevocation) error
	ACMEChain(ctx context.Context, order string) ([][]byte, error)
	ACMERenewal(ctx context.Context, aki []byte, serial ledger.Serial) (authority.ACMERenewal, error)

	ACMERecord(ctx context.Context, kind, id string) (authority.ACMERecord, error)
	ACMERecordBy(ctx context.Context, kind, lookup string) (authority.ACMERecord, error)
	ACMERecordsOf(ctx context.Context, kind, owner string, limit int) ([]authority.ACMERecord, error)
	WriteACMERecords(context.Context, ...authority.ACMERecord) error
	SweepACMERecords(context.Context) (int64, error)
}

// Options is what a Server is made of.
type Options struct {
	Authority Authority
	Log       *slog.Logger     // nil discards
	Now       func() time.Time // nil is time.Now
	// Retries are the pauses before a validation that failed is tried again;
	// nil is one and three seconds.
	Retries []time.Duration
	// Patience is how long the answer to a challenge waits for a validation
	// that is quick; zero is half a second.
	Patience time.Duration
}

// A Profile is the ACME server of one profile.
type Profile struct {
	Name string
	Open bool
	// Networks are where validations may connect to; none is nowhere.
	Networks permit.Networks
	// Resolver is the DNS server that is asked; zero is the machine's.
	Resolver netip.AddrPort
	// HTTPPort and TLSPort are those of http-01 and tls-alpn-01; zero is 80
	// and 443.
	HTTPPort, TLSPort uint16
	// Challenges are the types that are offered; none is all of them.
	Challenges []string
	// OrdersPerHour bounds what one account may order; zero is 1000.
	OrdersPerHour int
}

// A Server answers ACME clients. It is safe for concurrent use.
type Server struct {
	authority Authority
	log       *slog.Logger
	now       func() time.Time
	retries   []time.Duration
	patience  time.Duration
	nonces    *nonces // nil until a profile is served
	profiles  atomic.Pointer[map[string]*served]
	routes    *http.ServeMux
	limits    limits
	known     known

	mu      sync.Mutex // guards flights and closed
	flights map[string]*flight
	closed  bool
	work    sync.WaitGroup // validations
	slots   chan struct{}
	life    context.Context
	end     context.CancelFunc
}

// concurrent is how many validations run at the same time.
const concurrent = 128

// New returns a server without profiles: Configure names them. The caller
// closes it.
func New(ctx context.Context, o Options) (*Server, error) {
	if o.Authority == nil {
		return nil, errors.New("acme: an authority is needed")
	}
	s := &Server{
		authority: o.Authority, log: o.Log, now: o.Now, retries: o.Retries, patience: o.Patience,
		flights: map[string]*flight{}, slots: make(chan struct{}, concurrent),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.retries == nil {
		s.retries = []time.Duration{time.Second, 3 * time.Second}
	}
	if s.patience == 0 {
		s.patience = 500 * time.Millisecond
	}
	s.limits = newLimits(s.now)
	s.life, s.end = context.WithCancel(context.WithoutCancel(ctx))
	s.profiles.Store(&map[string]*served{})
	s.routes = s.table()
	return s, nil
}

// Configure puts the profiles in force. Running validations go on under the
// rules that they began with. It is not for concurrent use.
func (s *Server) Configure(ctx context.Context, all []Profile) error {
	if len(all) > 0 && s.nonces == nil {
		key, err := s.authority.ACMENonceKey(ctx)
		if err != nil {
			return err
		}
		if s.nonces, err = newNonces(key, s.now); err != nil {
			return err
		}
	}
	old, next := *s.profiles.Load(), make(map[string]*served, len(all))
	for _, p := range all {
		next[p.Name] = s.newServed(p, old[p.Name])
	}
	s.profiles.Store(&next)
	return nil
}

// Run removes what has expired, until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Minute)
	defer tick.Stop()
	for {
		for {
			n, err := s.authority.SweepACMERecords(ctx)
			if err != nil && ctx.Err() == nil {
				s.log.Warn("expired acme records not removed", "err", err)
			}
			if err != nil || n == 0 {
				break
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Close ends running validations and waits for them.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.end()
	s.work.Wait()
}

// table is every path of the server.
func (s *Server) table() *http.ServeMux {
	mux := http.NewServeMux()
	for path, h := range map[string]http.Handler{
		"directory":             s.open(s.directory, http.MethodGet, http.MethodHead),
		"new-nonce":             s.open(s.newNonce, http.MethodGet, http.MethodHead),
		"renewal-info/{id}":     s.open(s.renewalInfo, http.MethodGet, http.MethodHead),
		"new-account":           s.signed(byNewKey, s.newAccount),
		"new-order":             s.signed(byAccount, s.newOrder),
		"revoke-cert":           s.signed(byEither, s.revoke),
		"key-change":            s.signed(byAccount, s.keyChange),
		"account/{id}":          s.signed(byAccount, s.account),
		"account/{id}/orders":   s.signed(byAccount, s.orders),
		"order/{id}":            s.signed(byAccount, s.order),
		"order/{id}/finalize":   s.signed(byAccount, s.finalize),
		"authorization/{id}":    s.signed(byAccount, s.authorization),
		"challenge/{id}/{type}": s.signed(byAccount, s.challenge),
		"certificate/{id}":      s.signed(byAccount, s.certificate),
		"{rest...}":             s.open(s.nowhere),
	} {
		mux.Handle("/acme/{profile}/"+path, h)
	}
	return mux
}

// ServeHTTP answers below /acme/.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.routes.ServeHTTP(w, r) }

func (s *Server) nowhere(*call) error {
	return problem(malformed, "there is nothing at this address").status(404)
}
