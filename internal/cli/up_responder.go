package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"path/filepath"
	"sync"
	"time"

	"github.com/postern-project/postern/internal/agent"
	"github.com/postern-project/postern/internal/config"
	"github.com/postern-project/postern/internal/roster"
)

// respondersFolder holds, inside the data folder, the certificates that answer
// in OCSP, with their keys.
const respondersFolder = "responders"

// responders keep the certificates with which OCSP is answered, one for each
// issuer.
type responders struct {
	mu       sync.Mutex // guards byIssuer
	byIssuer map[string]keeper
}

func (r *responders) get(issuer string) *tls.Certificate {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k, ok := r.byIssuer[issuer]; ok {
		return k.Get()
	}
	return nil
}

// respond makes sure that every issuer has a responder once certificates say
// where to ask. An issuer that cannot have one now is only not answered for.
// o.mu is held. It reports whether every issuer has one.
func (o *office) respond(ctx context.Context, conf config.Config) bool {
	if policyOf(conf).PublicURL == "" {
		return true
	}
	all := true
	o.house.Authority.Respond(o.responders.get)
	for _, i := range o.house.Roster.Issuers() {
		if i.Distrusted || i.Retired {
			o.responders.drop(i.Name)
			continue
		}
		if o.responders.has(i.Name) {
			continue
		}
		k, err := o.newResponder(i.Name)
		if err == nil {
			err = k.Ensure(ctx)
		}
		if err != nil {
			o.log.Warn("no OCSP for this issuer, it is tried again", "issuer", i.Name, "err", err)
			all = false
			continue
		}
		running, stop := context.WithCancel(o.alive)
		o.responders.put(i.Name, keeper{k, stop})
		o.tasks.Go(func() { k.Run(running) })
	}
	return all
}

// respondAgain is when an issuer without a responder is tried again: the
// authority may not hold the key of a new one yet when the roster tells of it.
const respondAgain = 10 * time.Second

// followIssuers gives new issuers a responder, and ends those of distrusted
// ones, until ctx ends.
func (o *office) followIssuers(ctx context.Context) error {
	changed := make(chan struct{}, 1)
	defer o.house.Roster.Watch(func(c roster.Change) {
		if c.Trust {
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	})()
	again := time.NewTimer(respondAgain) // for those that had none at the start
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-again.C:
		}
		o.mu.Lock()
		all := o.respond(ctx, o.inUse.Load().conf)
		o.mu.Unlock()
		if !all {
			again.Reset(respondAgain)
		}
	}
}

func (o *office) newResponder(issuer string) (*agent.Keeper, error) {
	issue := func(ctx context.Context, spki []byte) ([][]byte, error) {
		issued, err := o.house.Authority.IssueResponder(ctx, issuer, spki)
		return issued.Chain, err
	}
	return agent.NewKeeper(filepath.Join(o.house.Dir, respondersFolder, issuer), issue, agent.Options{
		Log: o.log, Now: o.app.Now, Fits: o.ours,
	})
}

func (r *responders) has(issuer string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.byIssuer[issuer]
	return ok
}

func (r *responders) put(issuer string, k keeper) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byIssuer == nil {
		r.byIssuer = map[string]keeper{}
	}
	r.byIssuer[issuer] = k
}

func (r *responders) drop(issuer string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k, ok := r.byIssuer[issuer]; ok {
		k.stop()
		delete(r.byIssuer, issuer)
	}
}

// ours reports whether the roster still calls the certificate good, so that one
// from a data folder that was put back is not shown again.
func (o *office) ours(leaf *x509.Certificate) bool { return stillGood(o.house.Roster, leaf) }
