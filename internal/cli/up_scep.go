package cli

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"path/filepath"
	"sync"
	"time"

	"github.com/postern-project/postern/internal/agent"
	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/enroll"
	"github.com/postern-project/postern/internal/gateway"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/profile"
	"github.com/postern-project/postern/internal/refusal"
	"github.com/postern-project/postern/internal/scep"
)

// registrationFolder holds, inside the data folder, the certificate of SCEP's
// registration authority, with its key.
const registrationFolder = "registration"

// registrationAgain is when a registration authority that could not be made is
// tried again.
const registrationAgain = 10 * time.Second

// A registration keeps SCEP's registration authority from its first use on.
type registration struct {
	mu     sync.Mutex // guards what follows
	keeper *agent.Keeper
	failed time.Time // the last attempt to make it, if that failed
}

// openSCEP makes the SCEP server.
func (s *server) openSCEP() (err error) {
	s.attempts = enroll.NewAttempts(enroll.Limits{}, s.app.Now)
	s.scep, err = scep.Handler(scep.Options{
		Authority: s.house.Authority, Registration: s.registered, Limit: s.attempts, Log: s.log,
		Issued:  func(i authority.Issued) { s.course.Issued(i, s.app.Now()) },
		Refused: s.notEnrolled,
	})
	return err
}

// registered returns the registration authority's certificate, which is made
// at its first use; nil while it cannot be.
func (s *server) registered() *tls.Certificate {
	r := &s.registration
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keeper != nil {
		return r.keeper.Get()
	}
	if s.app.Now().Sub(r.failed) < registrationAgain {
		return nil
	}
	k, err := agent.NewKeeper(filepath.Join(s.house.Dir, registrationFolder, "scep"), s.issueRegistration, agent.Options{
		Log: s.log, Now: s.app.Now, Fits: s.registers,
		Key: func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, profile.MinRSA) },
	})
	if err == nil {
		err = k.Ensure(s.alive)
	}
	if err != nil {
		s.log.Warn("no registration authority for SCEP, it is tried again", "err", err)
		r.failed = s.app.Now()
		return nil
	}
	r.keeper = k
	s.tasks.Go(func() { k.Run(s.alive) })
	return k.Get()
}

func (s *server) issueRegistration(ctx context.Context, spki []byte) ([][]byte, error) {
	issued, err := s.house.Authority.IssueRegistration(ctx, spki)
	if err != nil {
		return nil, err
	}
	return append(issued.Chain, issued.Root), nil
}

// registers reports whether a registration authority's certificate is good and
// comes from an issuer in use.
func (s *server) registers(leaf *x509.Certificate) bool {
	for _, i := range s.house.Roster.Issuers() {
		if i.Active && i.Use == ledger.UseClients && leaf.CheckSignatureFrom(i.Certificate) == nil {
			return s.ours(leaf)
		}
	}
	return false
}

// notEnrolled writes down whom SCEP turned away.
func (s *server) notEnrolled(r scep.Refusal) {
	ref := refusal.NewReference()
	code := refusal.NotEnrolled
	if r.Code == authority.CodeRateLimited {
		code = refusal.RateLimited
	}
	s.log.Info("refused", "code", string(code), "why", r.Code, "detail", r.Detail, "address", r.Address, "reference", ref.String())
	s.journal.Record(gateway.Refused{Reference: ref, Code: code, Detail: r.Code + ": " + r.Detail, Path: scep.Path, Address: r.Address})
}
