// Package follow brings a roster up to date from the store beside it, and
// keeps witness outside the data folder of how far the ledger had come, so
// that an older copy of the folder is noticed.
package follow

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"

	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/roster"
	"github.com/postern-project/postern/internal/store"
)

// chunk is how many entries the roster is given at once.
const chunk = 1024

// Load applies the whole ledger of s to r, which has to be new. The roster
// gets its first entry only after the root over all of them was found to be
// the one that the ledger's key has signed: the key that entry 0 names, or one
// that a later entry put in its place, each by the signature of a root. A pub
// that is not nil has to be that key. From then on the store spends only
// invites that these entries hold. No Update may run meanwhile.
func Load(ctx context.Context, s *store.Store, pub ed25519.PublicKey, r *roster.Roster) error {
	if r.Size() != 0 {
		return errors.New("follow: the roster has entries already: give Load a new one")
	}
	if err := load(ctx, s, pub, r); err != nil {
		return fmt.Errorf("load the ledger: %w", err)
	}
	return nil
}

func load(ctx context.Context, s *store.Store, pub ed25519.PublicKey, r *roster.Roster) error {
	head, err := s.Head(ctx)
	if err != nil {
		return err
	}
	if head.Size == 0 {
		return fmt.Errorf("%s holds no entries: make a ledger with 'postern init'", s.Path())
	}
	l := loader{ctx: ctx, store: s, size: head.Size}
	if err := l.prove(head, pub); err != nil {
		return err
	}
	return l.finish(r)
}

// prove makes sure that the entries surveyed are those that the head was signed
// for.
func (l *loader) prove(head store.Head, pub ed25519.PublicKey) error {
	root, err := l.survey()
	if err != nil {
		return l.diagnose(err)
	}
	signed, err := l.signed(head, pub)
	if err != nil {
		return err
	}
	if root != signed.Root {
		return l.diagnose(nil)
	}
	return nil
}

// finish gives r what was proved.
func (l *loader) finish(r *roster.Roster) error {
	if err := l.apply(r); err != nil {
		return err
	}
	l.store.Vouch(r.OpenInvites(), l.anchors)
	return nil
}

// signed is open for a head that has no excuse.
func (l *loader) signed(head store.Head, pub ed25519.PublicKey) (ledger.Checkpoint, error) {
	if pub != nil && !pub.Equal(l.anchors.LedgerKey) {
		return ledger.Checkpoint{}, fmt.Errorf("ledger.key is not the key that the entries of %s name: put back the one that belongs to it", l.store.Path())
	}
	signed, err := l.open(head)
	if err != nil {
		return ledger.Checkpoint{}, l.diagnose(err)
	}
	return signed, nil
}

// open returns the checkpoint that the store's head holds, after checking its
// signature, by the key in use after the last entry, and the columns beside it.
// Whoever holds only a key that was replaced can sign no head.
func (l *loader) open(head store.Head) (ledger.Checkpoint, error) {
	signed, err := ledger.OpenCheckpoint(head.Note, ledger.Origin(l.anchors.Domain, head.Epoch), l.anchors.LedgerKey)
	if err == nil && (signed.Size != head.Size || signed.Root != head.Root) {
		err = errors.New("size and root are not those of the signed checkpoint")
	}
	if err != nil {
		return ledger.Checkpoint{}, fmt.Errorf("ledger_head: %w", err)
	}
	return signed, nil
}

// A DamagedError is a ledger that is not the one its head was signed for.
type DamagedError struct {
	Path string
	Err  error // names the entry, node or column
}

// Error says what is damaged and what to do.
func (e *DamagedError) Error() string {
	return fmt.Sprintf("%s: the ledger is damaged: %v: nobody is let in by it, put the folder back from a backup ('postern ledger verify' looks at all of it)", e.Path, e.Err)
}

// Unwrap returns the damage.
func (e *DamagedError) Unwrap() error { return e.Err }

func damaged(s *store.Store, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &DamagedError{s.Path(), err}
}

// A loader reads the ledger twice: once to know that it is whole, and once to
// apply it. The seals of the first reading, one for each chunk, make sure that
// the second one reads the same. It may begin behind a snapshot.
type loader struct {
	ctx   context.Context
	store *store.Store
	from  uint64 // the first entry to read
	size  uint64
	tree  ledger.Builder // of the entries before from, and then of all
	seals []ledger.Hash
	// anchors are what the entries surveyed so far come to.
	anchors ledger.Anchors
}

// records calls f for every entry to read below the head.
func (l *loader) records(f func(store.Record, ledger.Hash) error) error {
	next := l.from
	for record, err := range l.store.Records(l.ctx, l.from) {
		if err != nil {
			return err
		}
		if record.Seq == l.size {
			break
		}
		if err := f(record, ledger.LeafHash(record.Data)); err != nil {
			return err
		}
		next++
	}
	if next != l.size {
		return fmt.Errorf("ledger entry %d is missing", next)
	}
	return nil
}

// survey returns the root over all entries and leaves a seal for each chunk.
func (l *loader) survey() (ledger.Hash, error) {
	seal := sha256.New()
	err := l.records(func(record store.Record, leaf ledger.Hash) error {
		l.tree.Add(leaf)
		seal.Write(leaf[:])
		next, err := l.anchors.AfterRecord(record.Data)
		if err != nil {
			return fmt.Errorf("ledger entry %d: %w", record.Seq, err)
		}
		l.anchors = next
		if (l.tree.Size()-l.from)%chunk == 0 || l.tree.Size() == l.size {
			l.seals = append(l.seals, closing(seal))
		}
		return nil
	})
	return l.tree.Root(), err
}

func closing(h hash.Hash) (sum ledger.Hash) {
	h.Sum(sum[:0])
	h.Reset()
	return sum
}

// apply gives r the entries, chunk by chunk, each only when its seal fits.
func (l *loader) apply(r *roster.Roster) error {
	seal, seals := sha256.New(), l.seals
	batch := make([]ledger.Entry, 0, min(chunk, l.size-l.from))
	return l.records(func(record store.Record, leaf ledger.Hash) error {
		e, err := ledger.Unmarshal(record.Data)
		if err != nil {
			return fmt.Errorf("ledger entry %d: %w", record.Seq, err)
		}
		seal.Write(leaf[:])
		batch = append(batch, e)
		if len(batch) < chunk && record.Seq+1 < l.size {
			return nil
		}
		if closing(seal) != seals[0] {
			return damaged(l.store, fmt.Errorf("entries up to %d changed while they were read", record.Seq))
		}
		if err := r.Apply(record.Seq+1-uint64(len(batch)), batch); err != nil {
			return err
		}
		batch, seals = batch[:0], seals[1:]
		return nil
	})
}

// diagnose names what is damaged in a ledger that does not add up.
func (l *loader) diagnose(err error) error {
	if l.ctx.Err() != nil {
		return l.ctx.Err()
	}
	report, verifyErr := l.store.VerifyLedger(l.ctx)
	switch {
	case report.Fault != nil:
		err = report.Fault
	case err == nil:
		err = errors.Join(errors.New("the entries do not add up to the signed head"), verifyErr)
	}
	return damaged(l.store, err)
}
