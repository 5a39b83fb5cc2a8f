package cli

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/follow"
	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/roster"
	"github.com/postern-project/postern/internal/store"
)

// A House is an opened data folder: whoever has one is its only holder. The
// roster follows every commit before the call that made it returns.
type House struct {
	Dir       string
	Lock      *api.Lock
	Store     *store.Store
	Roster    *roster.Roster
	Snapshots *follow.Snapshots
	Witness   *follow.Witness
	Authority *authority.Service

	// follower is told of commits, after the roster and before the call that
	// made them returns; nil for none.
	follower atomic.Pointer[func(first uint64, entries []ledger.Entry)]
}

// HouseOptions say how a data folder is opened.
type HouseOptions struct {
	Log    *slog.Logger     // nil discards
	Now    func() time.Time // nil is time.Now
	Policy authority.Policy
}

// OpenHouse opens the data folder that lock holds, which becomes the house's:
// closing the house ends it, and so does an error. A ledger that is damaged,
// that another root or key than this folder's began, or that is behind what
// was seen of it before, is an error.
func OpenHouse(ctx context.Context, lock *api.Lock, o HouseOptions) (*House, error) {
	h := &House{Dir: lock.Dir(), Lock: lock, Roster: roster.New()}
	if err := h.open(ctx, o); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

func (h *House) open(ctx context.Context, o HouseOptions) error {
	if err := tighten(h.Dir, o.Log); err != nil {
		return err
	}
	if err := h.openStore(ctx, o); err != nil {
		return err
	}
	if err := h.openWitness(ctx); err != nil {
		return err
	}
	if err := follow.Judge(h.Store, h.Witness); err != nil {
		return err
	}
	if err := h.bearWitness(ctx); err != nil {
		return err
	}
	var err error
	h.Authority, err = authority.Open(ctx, authority.Options{Dir: h.Dir, Store: h.Store, Roster: h.Roster, Policy: o.Policy, Log: o.Log, Now: o.Now})
	return err
}

// openStore opens the database and fills the roster from the ledger in it,
// which has to begin with this folder's root and to be signed with its key. An
// exchange of that key which a crash interrupted is completed.
func (h *House) openStore(ctx context.Context, o HouseOptions) error {
	var err error
	h.Store, err = store.Open(ctx, h.path(authority.DatabaseFile), store.Options{
		Signer: func(epoch uint64) (*ledger.Signer, error) {
			return authority.LedgerSigner(h.Dir, h.Roster.TrustDomain())(epoch)
		},
		Committed: func(first uint64, entries []ledger.Entry, head store.Head) { h.committed(o.Log, first, entries, head) },
		Now:       o.Now,
		Log:       o.Log,
	})
	if err != nil {
		return err
	}
	h.Snapshots = follow.NewSnapshots(h.path(authority.SnapshotFile), h.Roster,
		func(d identity.TrustDomain, epoch uint64) (*ledger.Signer, error) {
			return authority.LedgerSigner(h.Dir, d)(epoch)
		}, o.Log)
	if err := h.Snapshots.Load(ctx, h.Store); err != nil {
		return err
	}
	if err := authority.SettleLedgerKey(h.Dir, h.Roster.Anchors().LedgerKey); err != nil {
		return err
	}
	return sameRoots(h.Dir, h.Roster.Anchors())
}

// openWitness opens the record of what this machine has seen of the ledger.
func (h *House) openWitness(ctx context.Context) error {
	state, err := follow.StateDir()
	if err != nil {
		return err
	}
	for first, err := range h.Store.Records(ctx, 0) {
		if err != nil {
			return err
		}
		h.Witness = follow.OpenWitness(state, ledger.LeafHash(first.Data))
		return nil
	}
	return errors.New("the ledger holds no entries: make one with 'postern init'")
}

// bearWitness records the ledger as it stands, unless it was seen like that.
func (h *House) bearWitness(ctx context.Context) error {
	head, err := h.Store.Head(ctx)
	if err != nil {
		return err
	}
	seen, ok, err := h.Witness.Seen()
	if err != nil {
		return err
	}
	if !ok || seen.Epoch != head.Epoch || seen.Size != head.Size {
		h.Witness.Record(head)
	}
	return nil
}

// committed tells the roster and the witness what the store has made durable.
// A roster that cannot follow lets nobody in.
func (h *House) committed(log *slog.Logger, first uint64, entries []ledger.Entry, head store.Head) {
	if err := h.Roster.Apply(first, entries); err != nil {
		if log != nil {
			log.Error("roster stopped following the ledger: nobody is let in", "entry", first, "err", err)
		}
		return
	}
	if tell := h.follower.Load(); tell != nil {
		(*tell)(first, entries)
	}
	h.Witness.Record(head)
	h.Snapshots.Follow(head)
}

// path returns where a file of the data folder is.
func (h *House) path(name string) string { return filepath.Join(h.Dir, name) }

// Close lets the folder go.
func (h *House) Close() error {
	var errs []error
	if h.Snapshots != nil {
		h.Snapshots.Close()
	}
	if h.Store != nil {
		errs = append(errs, h.Store.Close())
	}
	if h.Witness != nil {
		errs = append(errs, h.Witness.Close())
	}
	return errors.Join(append(errs, h.Lock.Close())...)
}
