package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postern-project/postern/internal/agent"
	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/config"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/roster"
)

// presentAtOnce is how many of the hosts of a new configuration have their
// certificates before it is in force. Those of more are obtained meanwhile, or
// when somebody asks for the host, so that ten thousand hosts do not wait for
// each other.
const presentAtOnce = 256

// together is how many certificates are obtained at once: the ledger takes
// them in one write.
const together = 8

// fillKeepers prepares the certificates of our own authority, or takes them
// over.
func (s *server) fillKeepers(ctx context.Context, conf config.Config, next, old *sites) (err error) {
	var fresh []*agent.Keeper
	for _, host := range hosts(conf) {
		if kept, ok := old.keepers[host]; ok {
			next.keepers[host] = kept
			continue
		}
		k, err := s.keeperOf(host)
		if err != nil {
			return fmt.Errorf("server certificate for %s: %w", host, err)
		}
		next.keepers[host] = k
		fresh = append(fresh, k)
	}
	if err := each(fresh[:min(len(fresh), presentAtOnce)], func(k *agent.Keeper) error { return k.Ensure(ctx) }); err != nil {
		return fmt.Errorf("server certificate: %w", err)
	}
	return nil
}

// each calls f for all of them, some at once, until one fails, and returns that
// error.
func each(all []*agent.Keeper, f func(*agent.Keeper) error) error {
	var failed atomic.Pointer[error]
	var next atomic.Int64
	var running sync.WaitGroup
	for range min(together, len(all)) {
		running.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(all) && failed.Load() == nil; i = next.Add(1) - 1 {
				if err := f(all[i]); err != nil {
					failed.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	running.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// keepFresh obtains the certificates that are missing, and renews those that
// are due, until ctx ends.
func (s *server) keepFresh(ctx context.Context) error {
	tick := time.NewTicker(agent.CheckEvery)
	defer tick.Stop()
	for many := true; ; {
		s.freshen(ctx)
		if many && len(s.sites.Load().keepers) > presentAtOnce {
			debug.FreeOSMemory() // making them, or reading them, took many times what they take
		}
		select {
		case <-tick.C:
			many = false
		case <-s.refilled:
			many = true
		case <-ctx.Done():
			return nil
		}
	}
}

// complainAtMost bounds what one round of renewals writes into the log.
const complainAtMost = 10

// freshen looks at every host's certificate once.
func (s *server) freshen(ctx context.Context) {
	var failed atomic.Int64
	each(slices.Collect(maps.Values(s.sites.Load().keepers)), func(k *agent.Keeper) error {
		err := k.Refresh(ctx)
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		if failed.Add(1) <= complainAtMost {
			s.log.Warn("certificate not renewed", "err", err)
		}
		return nil
	})
	if n := failed.Load(); n > complainAtMost {
		s.log.Warn("more certificates not renewed", "left_out", n-complainAtMost)
	}
}

// refOf returns which certificate leaf is, if one of our issuers has signed it.
func refOf(r *roster.Roster, leaf *x509.Certificate) (ref ledger.Ref, ok bool) {
	for _, issuer := range r.Issuers() {
		if leaf.CheckSignatureFrom(issuer.Certificate) == nil {
			ref, err := roster.RefOf(leaf, issuer.Certificate)
			return ref, err == nil
		}
	}
	return ledger.Ref{}, false
}

// stillGood reports whether the roster calls the certificate good, so that one
// from a data folder that was put back is not shown again.
func stillGood(r *roster.Roster, leaf *x509.Certificate) bool {
	ref, ok := refOf(r, leaf)
	return ok && r.Check(ref, leaf.NotBefore).Code == ""
}

func (s *server) ours(leaf *x509.Certificate) bool { return stillGood(s.house.Roster, leaf) }

// stillOurs returns a function that does what ours does and checks no signature
// twice. It is for one goroutine at a time.
func (s *server) stillOurs() func(leaf *x509.Certificate) bool {
	var known *x509.Certificate
	var ref ledger.Ref
	return func(leaf *x509.Certificate) (ok bool) {
		if leaf != known {
			if ref, ok = refOf(s.house.Roster, leaf); !ok {
				return false
			}
			known = leaf
		}
		return s.house.Roster.Check(ref, leaf.NotBefore).Code == ""
	}
}

// keeperOf returns what obtains the certificate of host, or takes the one from
// the last run.
func (s *server) keeperOf(host string) (*agent.Keeper, error) {
	issue := func(ctx context.Context, spki []byte) ([][]byte, error) {
		issued, err := s.house.Authority.IssueServed(ctx, api.OwnRequest{Host: host, PublicKey: spki})
		return issued.Chain, err
	}
	dir := filepath.Join(s.house.Dir, servedFolder, strings.ReplaceAll(host, ":", "-"))
	ours := s.stillOurs()
	fits := func(leaf *x509.Certificate) bool { return leaf.VerifyHostname(host) == nil && ours(leaf) }
	return agent.NewLazyKeeper(dir, issue, agent.Options{Log: s.log, Now: s.app.Now, Fits: fits})
}

// awaitOwn is how long a handshake waits for a certificate that is yet to be
// obtained.
const awaitOwn = 5 * time.Second

// ownCertificate returns our own authority's certificate of a canonical host.
func (s *server) ownCertificate(host string) (*tls.Certificate, error) {
	now := s.sites.Load()
	if now == nil {
		return nil, errors.New("no site is open yet")
	}
	k, ok := now.keepers[host]
	if !ok {
		return nil, fmt.Errorf("no certificate for %s", host)
	}
	if c := k.Get(); c != nil {
		return s.shown(c), nil
	}
	ctx, cancel := context.WithTimeout(s.alive, awaitOwn)
	defer cancel()
	c, err := k.Await(ctx)
	if err != nil {
		return nil, err
	}
	return s.shown(c), nil
}
