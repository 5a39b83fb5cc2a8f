package store

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postern-project/postern/internal/ledger"
)

// copies are certificates that wait to be kept. They are written along with
// the next batch or a second later: a copy that a crash loses can be signed
// again from its to-be-signed part, so nobody waits for it.
type copies struct {
	mu      sync.Mutex // guards pending and timer
	pending map[ledger.Hash][]byte
	timer   *time.Timer
	due     chan struct{}
}

// maxCopies bounds how many copies wait while the disk is full.
const maxCopies = 10_000

// KeepTBS keeps the to-be-signed part of a certificate, in the transaction
// that records it, so that a lost answer can be signed again.
func (tx *Tx) KeepTBS(tbs ledger.Hash, raw []byte) error {
	if tx.over {
		return errOver
	}
	if sha256.Sum256(raw) != tbs {
		return errors.New("the to-be-signed part does not have that hash")
	}
	_, err := tx.session.exec(tx.ctx, "INSERT INTO certificate_copy (tbs, raw) VALUES ($1, $2) ON CONFLICT DO NOTHING", tbs[:], raw)
	if err != nil {
		tx.failed = err
		return err
	}
	tx.batch.state.copies++
	return nil
}

// TBS returns the to-be-signed part with that hash, or ErrNotFound.
func (r reader) TBS(ctx context.Context, tbs ledger.Hash) ([]byte, error) {
	raw, der, err := r.copy(ctx, tbs)
	if err != nil {
		return nil, err
	}
	if der != nil {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, ErrNotFound
		}
		raw = c.RawTBSCertificate
	}
	if sha256.Sum256(raw) != tbs {
		return nil, ErrNotFound
	}
	return raw, nil
}

func (r reader) copy(ctx context.Context, tbs ledger.Hash) (raw, der []byte, err error) {
	err = r.session.row(ctx, "SELECT raw, der FROM certificate_copy WHERE tbs = $1", []any{tbs[:]}, &raw, &der)
	return raw, der, err
}

// KeepCertificate keeps a signed certificate, DER, in place of its
// to-be-signed part. It does not wait for the disk.
func (s *Store) KeepCertificate(_ context.Context, tbs ledger.Hash, der []byte) error {
	if s.writers == nil {
		return fmt.Errorf("%s is opened to read only: %w", s.path, ErrReadOnly)
	}
	if !holds(der, tbs) {
		return errors.New("the certificate's to-be-signed part does not have that hash")
	}
	return s.copies.add(tbs, der)
}

// KeptCertificate returns the certificate whose to-be-signed part has that
// hash, DER, or ErrNotFound. Its signature is the caller's to check.
func (s *Store) KeptCertificate(ctx context.Context, tbs ledger.Hash) ([]byte, error) {
	if der, ok := s.copies.get(tbs); ok {
		return der, nil
	}
	_, der, err := s.copy(ctx, tbs)
	if err != nil {
		return nil, err
	}
	if !holds(der, tbs) {
		return nil, ErrNotFound
	}
	return der, nil
}

// holds reports whether der is a certificate with that to-be-signed part. What
// else is in it is its reader's to look at.
func holds(der []byte, tbs ledger.Hash) bool {
	in := cryptobyte.String(der)
	var outer, part, algorithm cryptobyte.String
	var signature asn1.BitString
	return in.ReadASN1(&outer, cbasn1.SEQUENCE) && in.Empty() && outer.ReadASN1Element(&part, cbasn1.SEQUENCE) &&
		outer.ReadASN1(&algorithm, cbasn1.SEQUENCE) && outer.ReadASN1BitString(&signature) && outer.Empty() &&
		sha256.Sum256(part) == tbs
}

func (c *copies) get(tbs ledger.Hash) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	der, ok := c.pending[tbs]
	return der, ok
}

func (c *copies) waiting() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.pending) > 0
}

func (c *copies) add(tbs ledger.Hash, der []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pending) >= maxCopies {
		return fmt.Errorf("%d certificates wait to be kept: %w", len(c.pending), ErrFull)
	}
	if c.pending == nil {
		c.pending = map[ledger.Hash][]byte{}
	}
	c.pending[tbs] = slices.Clone(der)
	c.schedule()
	return nil
}

// schedule has the writing goroutine look in a second. c.mu is held.
func (c *copies) schedule() {
	if c.timer == nil && len(c.pending) > 0 {
		c.timer = time.AfterFunc(time.Second, func() {
			select {
			case c.due <- struct{}{}:
			default:
			}
		})
	}
}

// snapshot returns the copies that wait now.
func (c *copies) snapshot() map[ledger.Hash][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	return maps.Clone(c.pending)
}

// drop forgets the copies that are on disk, and has the rest tried again.
func (c *copies) drop(kept map[ledger.Hash][]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for tbs := range kept {
		delete(c.pending, tbs)
	}
	c.schedule()
}

// keepCopies writes the copies that wait, and returns those that will be on
// disk with the batch. A failure costs only them.
func (b *batch) keepCopies(ctx context.Context) map[ledger.Hash][]byte {
	kept := b.store.copies.snapshot()
	defer func() {
		if len(kept) == 0 || b.broken != nil {
			b.store.copies.drop(nil)
		}
	}()
	if len(kept) == 0 || b.broken != nil {
		return nil
	}
	if b.broken = b.do("SAVEPOINT copies"); b.broken != nil {
		return nil
	}
	var err error
	for tbs, der := range kept {
		if _, err = b.lane.session.exec(ctx, `INSERT INTO certificate_copy (tbs, der) VALUES ($1, $2)
			ON CONFLICT (tbs) DO UPDATE SET raw = NULL, der = excluded.der`, tbs[:], der); err != nil {
			b.store.options.Log.Error("certificates not kept", "err", err)
			b.broken, kept = b.do("ROLLBACK TO SAVEPOINT copies"), nil
			break
		}
	}
	if b.broken == nil {
		b.broken = b.do("RELEASE SAVEPOINT copies")
	}
	return kept
}
