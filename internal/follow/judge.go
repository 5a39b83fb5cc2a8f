package follow

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/store"
)

// A BehindError is a store that is not what a witness has seen: an older copy,
// or one that went another way.
type BehindError struct {
	Have   store.Head
	Seen   Seen
	Path   string // of the database
	File   string // the witness
	Forked bool   // not merely older
}

// Error says how to go on.
func (e *BehindError) Error() string {
	what := fmt.Sprintf("the ledger in %s is older than this machine has seen it: it has %d entries (epoch %d), and on %s it had %d (epoch %d), as %s witnesses",
		e.Path, e.Have.Size, e.Have.Epoch, e.Seen.At.Format("2 January 2006 15:04"), e.Seen.Size, e.Seen.Epoch, e.File)
	if e.Forked {
		what = fmt.Sprintf("the ledger in %s is not the one that this machine has seen: its first %d entries (epoch %d) are others than on %s, as %s witnesses",
			e.Path, e.Seen.Size, e.Seen.Epoch, e.Seen.At.Format("2 January 2006 15:04"), e.File)
	}
	return fmt.Sprintf("%s: put the newer data folder in place, or, if it is lost, go on from this one with 'postern restore --accept-loss --data %s'",
		what, filepath.Dir(e.Path))
}

// Judge returns a *BehindError when the store is not what the witness has
// seen or a continuation of it. A witness that has seen nothing is content.
func Judge(s *store.Store, w *Witness) error {
	ctx := context.Background()
	seen, ok, err := w.Seen()
	if err != nil || !ok {
		return err
	}
	head, err := s.Head(ctx)
	if err != nil {
		return err
	}
	if err := checkSignature(ctx, s, w, seen, head); err != nil {
		return err
	}
	behind := &BehindError{Have: head, Seen: seen, Path: s.Path(), File: w.path}
	if head.Epoch < seen.Epoch || head.Epoch == seen.Epoch && head.Size < seen.Size {
		return behind
	}
	extends, err := contains(ctx, s, head, seen)
	if err != nil || extends {
		return err
	}
	if head.Epoch > seen.Epoch {
		if accepted, err := lossAccepted(ctx, s, seen); err != nil || accepted {
			return err
		}
	}
	behind.Forked = head.Size >= seen.Size
	return behind
}

// checkSignature makes sure that the witness's checkpoint is this ledger's.
func checkSignature(ctx context.Context, s *store.Store, w *Witness, seen Seen, head store.Head) error {
	if head.Size == 0 {
		return nil
	}
	genesis, err := s.Genesis(ctx)
	if err != nil {
		return err
	}
	origin := ledger.Origin(genesis.TrustDomain, seen.Epoch)
	if _, err = ledger.OpenCheckpoint(seen.Note, origin, genesis.LedgerKey); err == nil {
		return nil
	}
	// It may be of a time when another key was in use.
	anchors, anchorsErr := s.Anchors(ctx)
	if anchorsErr != nil {
		return anchorsErr
	}
	for _, key := range anchors.Keys() {
		if _, err = ledger.OpenCheckpoint(seen.Note, origin, key); err == nil {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("witness %s: %w: this ledger's key has not signed it, so somebody changed the file: remove it if you are sure that the data folder is the newest there is", w.path, err)
	}
	return nil
}

// contains reports whether the store's first entries are what was seen.
func contains(ctx context.Context, s *store.Store, head store.Head, seen Seen) (bool, error) {
	if head.Size < seen.Size {
		return false, nil
	}
	root, err := s.RootAt(ctx, seen.Size)
	return root == seen.Root, err
}

// lossAccepted reports whether the ledger says that an operator accepted the
// loss of what was seen, or of more.
func lossAccepted(ctx context.Context, s *store.Store, seen Seen) (bool, error) {
	for e, err := range s.Entries(ctx, 0) {
		if err != nil {
			return false, err
		}
		o, ok := e.Body.(ledger.EpochOpened)
		if ok && o.Epoch > seen.Epoch && (o.LostSize > seen.Size || o.LostSize == seen.Size && o.LostRoot == seen.Root) {
			return true, nil
		}
	}
	return false, nil
}

// AcceptLoss opens a new epoch in a store that is behind its witness, so that
// it can go on: what the witness saw is lost for good. The witness then
// believes the store. A store that lost nothing is an error.
func AcceptLoss(ctx context.Context, s *store.Store, w *Witness) error {
	err := Judge(s, w)
	behind, ok := errors.AsType[*BehindError](err)
	if err == nil {
		return fmt.Errorf("%s is as new as anything this machine has seen: there is no loss to accept", s.Path())
	}
	if !ok {
		return err
	}
	if behind.Have.Size == 0 {
		return fmt.Errorf("%s holds no entries: there is nothing to go on from", s.Path())
	}
	err = s.Update(ctx, func(tx *store.Tx) error {
		opened := ledger.EpochOpened{Epoch: max(behind.Have.Epoch, behind.Seen.Epoch) + 1, LostSize: behind.Seen.Size, LostRoot: behind.Seen.Root}
		for e, err := range tx.Entries(ctx, behind.Have.Size-1) {
			if err != nil {
				return err
			}
			opened.From = e.At
		}
		return tx.Append(opened)
	})
	if err != nil {
		return fmt.Errorf("open a new epoch: %w", err)
	}
	head, err := s.Head(ctx)
	if err != nil {
		return err
	}
	return w.Replace(head)
}

func parseRoot(line string) (h ledger.Hash, err error) {
	b, err := base64.StdEncoding.DecodeString(line)
	if err == nil && len(b) != len(h) {
		err = errors.New("a root has 32 bytes")
	}
	copy(h[:], b)
	return h, err
}
