// Package authority decides who is certified for what, has the ledger record
// it, and signs. Everything that changes trust goes through its Service; Init
// makes a new authority. One function signs.
package authority

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/permit"
	"github.com/postern-project/postern/internal/profile"
	"github.com/postern-project/postern/internal/roster"
	"github.com/postern-project/postern/internal/store"
)

// Options is what a Service is made of.
type Options struct {
	// Dir is the data folder; its issuers' keys are read.
	Dir   string
	Store *store.Store
	// Roster is the one that the store tells of commits: no certificate is
	// handed out before it holds it.
	Roster *roster.Roster
	Policy Policy
	Log    *slog.Logger     // nil discards
	Now    func() time.Time // nil is time.Now
}

// A Service is the authority: it decides, has the ledger record it, and signs.
// Its methods take and give plain values, and all of them are safe for
// concurrent use.
type Service struct {
	dir    string
	store  *store.Store
	roster *roster.Roster
	log    *slog.Logger
	now    func() time.Time
	domain identity.TrustDomain

	keysMu  sync.Mutex // guards issuers
	issuers []*issuer  // whose keys are here

	ceremonies sync.Mutex // one change of the hierarchy at a time
	watchers   acknowledgers

	policy atomic.Pointer[Policy]

	lists     lists
	numbers   *listNumbers
	answers   answers
	responder atomic.Pointer[Responder]
}

// A Policy is what an operator declares about certificates. The zero Policy
// has the built-in profiles, and certificates say nothing about where to ask
// for their revocation.
type Policy struct {
	// Profiles are what is issued by; nil means the built-in ones.
	Profiles *profile.Set
	// BlockedKeys are those that nobody gets certified, besides the weak ones
	// that every profile refuses.
	BlockedKeys profile.Blocklist
	// PublicURL is where revocation lists, OCSP and issuers are served, such
	// as http://pki.example.com, without a slash at the end; "" prints no
	// address into certificates.
	PublicURL string
	// RenewExpired is for how long after its end a certificate can still be
	// renewed by proof of its key; zero is not at all.
	RenewExpired time.Duration
	// RenewUnproven are the profiles whose certificates can be renewed without
	// a proof by their key, when it is time; none is none.
	RenewUnproven []string
	// TPM is the device of the TPM in which the keys of new issuers are made; ""
	// makes them in files.
	TPM string
	// ACME says what the ACME servers of profiles issue; a profile that is not
	// named has none.
	ACME map[string]permit.Policy
}

// Enforce puts a policy in force for what is issued from now on.
func (s *Service) Enforce(p Policy) {
	if p.Profiles == nil {
		builtins := profile.Builtins()
		p.Profiles = &builtins
	}
	s.policy.Store(&p)
}

// tpm returns the device of the TPM that issuers' keys are in.
func (s *Service) tpm() string { return s.policy.Load().TPM }

// Profiles returns the profiles that are in force.
func (s *Service) Profiles(context.Context) ([]Profile, error) {
	all := []Profile{}
	for _, p := range s.policy.Load().Profiles.All() {
		all = append(all, Profile{
			Name: p.Name(), Usage: string(p.Usage()), Lifetime: p.Lifetime(), MaxLifetime: p.MaxLifetime(), Issuer: p.Issuer(), Text: p.String(),
		})
	}
	return all, nil
}

// Open returns the authority of a data folder whose roster has been loaded
// from its store. A missing issuer's key, or one that does not belong to its
// certificate, is an error.
func Open(ctx context.Context, o Options) (*Service, error) {
	if o.Store == nil || o.Roster == nil {
		return nil, errors.New("open authority: a store and its roster are needed")
	}
	s := &Service{
		dir: o.Dir, store: o.Store, roster: o.Roster, log: o.Log, now: o.Now,
		domain: o.Roster.TrustDomain(),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.roster.Root() == nil {
		return nil, errors.New("open authority: the roster is empty: load it from the store first")
	}
	issuers, err := loadIssuers(o.Dir, o.Policy.TPM, o.Roster.Issuers())
	if err != nil {
		return nil, err
	}
	s.issuers = issuers
	if s.numbers, err = openListNumbers(o.Dir, s.log); err != nil {
		return nil, fmt.Errorf("open authority: %w", err)
	}
	for _, i := range issuers {
		i.shards.begin(s.roster.Issued(i.KeyID))
	}
	s.Enforce(o.Policy)
	if err := s.settleFiles(); err != nil {
		return nil, fmt.Errorf("open authority: %w", err)
	}
	return s, ctx.Err()
}

// TrustDomain returns the namespace whose names the authority certifies.
func (s *Service) TrustDomain() identity.TrustDomain { return s.domain }

// Root returns the newest root's certificate, DER.
func (s *Service) Root() []byte { return s.roster.Root().Raw }

// Roots returns every root that is trusted, newest first, DER.
func (s *Service) Roots() [][]byte {
	var all [][]byte
	for _, root := range s.roster.Anchors().Trusted() {
		all = append(all, root.Raw)
	}
	return all
}

// update runs f in a transaction of the store.
func (s *Service) update(ctx context.Context, f func(*store.Tx) error) error {
	err := s.store.Update(ctx, f)
	if errors.Is(err, store.ErrReadOnly) {
		return &Error{Code: CodeReadOnly, Msg: err.Error(), Hint: "give postern a data folder that it can write to"}
	}
	return err
}
