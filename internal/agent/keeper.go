// Package agent keeps a workload's key and certificate fresh. Its Keeper also
// serves the server itself, whose own certificates renew like anybody else's.
package agent

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"sync/atomic"
	"time"
)

// CheckEvery is how often the wall clock is compared with the certificate. A
// timer set for the day itself would sleep while the machine sleeps.
const CheckEvery = time.Minute

// issueTimeout bounds one attempt to obtain a certificate.
const issueTimeout = 30 * time.Second

// An Issue obtains a certificate for a SubjectPublicKeyInfo (DER): the leaf
// first, then its issuer, and the root too if the server is to send it.
type Issue func(ctx context.Context, spki []byte) (chain [][]byte, err error)

// Options is what a Keeper may be told.
type Options struct {
	Log *slog.Logger     // nil discards
	Now func() time.Time // nil is time.Now
	// Fits reports whether a certificate, found in the folder or in use, still
	// is what is wanted: for the same hosts, and not revoked. One that does not
	// fit is replaced within a minute. Nil takes any.
	Fits func(leaf *x509.Certificate) bool
	// Key makes the keys; nil makes them for ECDSA P-256.
	Key func() (crypto.Signer, error)
}

// A Keeper keeps one certificate fresh: it makes a key and obtains a
// certificate where there is none, renews both at half the certificate's life,
// and keeps them in a folder. It is safe for concurrent use.
type Keeper struct {
	dir   string
	issue Issue
	log   *slog.Logger
	now   func() time.Time
	fits  func(*x509.Certificate) bool
	key   func() (crypto.Signer, error)

	renewing chan struct{} // holds one element during a renewal; guards what follows
	looked   bool          // into the folder
	failed   time.Time     // when a renewal last failed; zero since one went well

	current atomic.Pointer[held]
}

// held is a certificate in use and the time from which on it is replaced.
type held struct {
	tls tls.Certificate
	due time.Time
}

// NewKeeper returns a keeper of the certificate in dir, which it makes if it
// is missing. It takes over a key and a certificate found there that belong
// together; anything else found there is replaced by the first renewal.
func NewKeeper(dir string, issue Issue, o Options) (*Keeper, error) {
	k, err := NewLazyKeeper(dir, issue, o)
	if err != nil {
		return nil, err
	}
	return k, k.look()
}

// NewLazyKeeper is NewKeeper for one of many: it looks into dir, and makes it,
// no sooner than a certificate is to be had.
func NewLazyKeeper(dir string, issue Issue, o Options) (*Keeper, error) {
	if issue == nil {
		return nil, errors.New("keeper: something has to issue the certificates")
	}
	k := &Keeper{dir: dir, issue: issue, log: o.Log, now: o.Now, fits: o.Fits, key: o.Key, renewing: make(chan struct{}, 1)}
	if k.log == nil {
		k.log = slog.New(slog.DiscardHandler)
	}
	if k.now == nil {
		k.now = time.Now
	}
	if k.fits == nil {
		k.fits = func(*x509.Certificate) bool { return true }
	}
	if k.key == nil {
		k.key = func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }
	}
	return k, nil
}

// look takes over what is in the folder.
func (k *Keeper) look() error {
	found, err := load(k.dir)
	if err != nil {
		k.log.Warn("kept certificate not used", "path", k.dir, "err", err)
	}
	if found != nil && k.fits(found.Leaf) {
		k.hold(*found)
	}
	if err := makeFolder(k.dir); err != nil {
		return err
	}
	k.looked = true
	return nil
}

// Get returns the certificate, or nil while there is none. An expired one is
// returned too: whoever sees it learns more than from silence.
func (k *Keeper) Get() *tls.Certificate {
	if h := k.current.Load(); h != nil {
		return &h.tls
	}
	return nil
}

// Ensure obtains a certificate if there is none or it is due, and returns the
// error if that fails and none is valid.
func (k *Keeper) Ensure(ctx context.Context) error {
	err := k.Refresh(ctx)
	if c := k.Get(); c != nil && k.now().Before(c.Leaf.NotAfter) {
		return nil
	}
	return err
}

// pause is how long visitors who find no certificate cannot cause another
// attempt to obtain one after the last has failed.
const pause = 5 * time.Second

// Await returns the certificate. If there is none, it is obtained first, within
// ctx, unless that has just failed.
func (k *Keeper) Await(ctx context.Context) (*tls.Certificate, error) {
	if c := k.Get(); c != nil {
		return c, nil
	}
	if err := k.begin(ctx); err != nil {
		return nil, err
	}
	defer k.end()
	if k.Get() == nil && !k.failed.IsZero() && k.now().Before(k.failed.Add(pause)) {
		return nil, fmt.Errorf("obtaining the certificate in %s has just failed", k.dir)
	}
	if err := k.renew(ctx); k.Get() == nil {
		return nil, err
	}
	return k.Get(), nil
}

// begin waits until no other renewal is under way; end has to follow.
func (k *Keeper) begin(ctx context.Context) error {
	select {
	case k.renewing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (k *Keeper) end() { <-k.renewing }

// Run keeps the certificate fresh until ctx ends, and returns then. A failed
// renewal is tried again a minute later, as often as it takes.
func (k *Keeper) Run(ctx context.Context) {
	tick := time.NewTicker(CheckEvery)
	defer tick.Stop()
	for {
		if err := k.Refresh(ctx); err != nil && ctx.Err() == nil {
			k.log.Warn("certificate not renewed", "path", k.dir, "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Refresh renews the certificate if there is none, it is due or does not fit
// any more. Whoever does not call Run calls it every CheckEvery.
func (k *Keeper) Refresh(ctx context.Context) error {
	if err := k.begin(ctx); err != nil {
		return err
	}
	defer k.end()
	return k.renew(ctx)
}

// renew is Refresh between begin and end.
func (k *Keeper) renew(ctx context.Context) (err error) {
	if !k.looked {
		if err := k.look(); err != nil {
			return err
		}
	}
	// Round strips the monotonic reading, which stands still while the machine
	// sleeps.
	if h := k.current.Load(); h != nil && k.now().Round(0).Before(h.due) && k.fits(h.tls.Leaf) {
		return nil
	}
	defer func() {
		if k.failed = (time.Time{}); err != nil {
			k.failed = k.now()
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, issueTimeout)
	defer cancel()
	fresh, err := k.obtain(ctx)
	if err != nil {
		return err
	}
	if err := save(k.dir, *fresh); err != nil {
		// It is good all the same; only a restart will need another one.
		k.log.Warn("renewed certificate not kept", "path", k.dir, "err", err)
	}
	did := "certificate renewed"
	if k.Get() == nil {
		did = "certificate obtained"
	}
	k.hold(*fresh)
	k.log.Info(did, "path", k.dir, "not_after", fresh.Leaf.NotAfter)
	return nil
}

// obtain makes a key and has it certified.
func (k *Keeper) obtain(ctx context.Context) (*tls.Certificate, error) {
	key, err := k.key()
	if err != nil {
		return nil, err
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	chain, err := k.issue(ctx, spki)
	if err != nil {
		return nil, fmt.Errorf("renew certificate in %s: %w", k.dir, err)
	}
	return assemble(chain, key)
}

// assemble refuses a chain that does not begin with a certificate of the key.
func assemble(chain [][]byte, key crypto.Signer) (*tls.Certificate, error) {
	if len(chain) == 0 {
		return nil, errors.New("an empty chain was issued")
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return nil, err
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(leaf.RawSubjectPublicKeyInfo, spki) {
		return nil, errors.New("the certificate is for another key")
	}
	return &tls.Certificate{Certificate: chain, PrivateKey: key, Leaf: leaf}, nil
}

// hold puts a certificate into use. It is due at half its life, or up to a
// twentieth earlier, so that not all renew at once.
func (k *Keeper) hold(c tls.Certificate) {
	life := c.Leaf.NotAfter.Sub(c.Leaf.NotBefore)
	early := mathrand.N(life/20 + 1)
	k.current.Store(&held{tls: c, due: c.Leaf.NotBefore.Add(life/2 - early)})
}
