package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"

	"github.com/postern-project/postern/internal/ledger"
)

// checkLedger compares entries and nodes with the signed head. It goes
// through all of them before it says who is at fault: when the entries add up
// to the signed root, a node that differs is the damaged one, and otherwise
// the entry.
func checkLedger(ctx context.Context, r reader) error {
	head, err := r.onlyHead(ctx)
	if err != nil {
		return err
	}
	signed, err := r.signedHead(ctx, head)
	if err != nil {
		return err
	}
	w := walk{ctx: ctx, r: r, size: head.Size}
	if err := w.run(); err != nil {
		return err
	}
	switch root := w.tree.Root(); {
	case head.Size == 0 || root == signed.Root:
		if w.node != nil {
			return w.node
		}
		if w.anchor != nil {
			return w.anchor
		}
		return openedBy(w.anchors, head, signed)
	case w.entry != nil:
		return w.entry
	default:
		return headFault("root", root.String(), signed.Root.String(), "the entries and nodes agree with each other and not with the signed checkpoint")
	}
}

// onlyHead returns the head after making sure that there is one.
func (r reader) onlyHead(ctx context.Context) (Head, error) {
	head, err := r.Head(ctx)
	if err != nil {
		return head, err
	}
	var rows int
	err = r.session.row(ctx, "SELECT COUNT(*) FROM ledger_head", nil, &rows)
	if err == nil && rows != 1 {
		err = &Fault{Table: "ledger_head", What: fmt.Sprintf("it has %d rows and one belongs there", rows)}
	}
	return head, err
}

// openedBy makes sure that the key which signed the head is the one in use by
// the entries below it.
func openedBy(a ledger.Anchors, head Head, signed ledger.Checkpoint) error {
	if head.Size == 0 {
		return nil
	}
	if _, err := ledger.OpenCheckpoint(head.Note, signed.Origin, a.LedgerKey); err != nil {
		return &Fault{Table: "ledger_head", Key: "id=1", What: "the checkpoint is signed with a ledger key that was replaced"}
	}
	return nil
}

// signedHead returns the checkpoint that a key of the ledger's has signed, after
// comparing the head's columns with it. The keys are that of entry 0, which the
// root has signed, and those that a root put in its place; whether it is the
// one in use is known once the entries are.
func (r reader) signedHead(ctx context.Context, head Head) (ledger.Checkpoint, error) {
	if head.Size == 0 {
		return ledger.Checkpoint{}, nil
	}
	genesis, err := r.Genesis(ctx)
	if err != nil {
		return ledger.Checkpoint{}, entryFault(0, "%v", err)
	}
	if err := genesis.Verify(); err != nil {
		return ledger.Checkpoint{}, entryFault(0, "%v", err)
	}
	origin := ledger.Origin(genesis.TrustDomain, head.Epoch)
	signed, err := ledger.OpenCheckpoint(head.Note, origin, genesis.LedgerKey)
	if err != nil {
		if a, anchorsErr := r.Anchors(ctx); anchorsErr == nil {
			signed, err = ledger.OpenCheckpoint(head.Note, origin, a.LedgerKey)
		}
	}
	switch {
	case err != nil:
		return signed, &Fault{Table: "ledger_head", Key: "id=1", What: fmt.Sprintf("epoch and note: %v", err)}
	case signed.Size != head.Size:
		return signed, headFault("size", fmt.Sprint(signed.Size), fmt.Sprint(head.Size), "not what the checkpoint says")
	case signed.Root != head.Root:
		return signed, headFault("root", signed.Root.String(), head.Root.String(), "not what the checkpoint says")
	}
	return signed, nil
}

// Genesis returns entry 0, or ErrNotFound while the ledger is empty. It is
// not verified.
func (r reader) Genesis(ctx context.Context) (ledger.Genesis, error) {
	for record, err := range r.recordsOf(ctx, 0) {
		if err != nil {
			return ledger.Genesis{}, err
		}
		e, err := ledger.Unmarshal(record.Data)
		if err != nil {
			return ledger.Genesis{}, fmt.Errorf("ledger entry 0: %w", err)
		}
		if g, ok := e.Body.(ledger.Genesis); ok && record.Seq == 0 {
			return g, nil
		}
		return ledger.Genesis{}, errors.New("ledger entry 0 is no genesis")
	}
	return ledger.Genesis{}, ErrNotFound
}

// recordsOf returns what is stored from number from on, with whatever holes
// there are.
func (r reader) recordsOf(ctx context.Context, from int64) iter.Seq2[Record, error] {
	return paged(ctx, r.session, "SELECT seq, data FROM ledger_entry WHERE seq > $1 ORDER BY seq LIMIT $2", []any{from - 1},
		scanRecord, func(last Record) []any { return []any{int64(last.Seq)} })
}

// A walk makes the tree again from the entries, and compares on the way.
type walk struct {
	ctx  context.Context
	r    reader
	size uint64

	tree    ledger.Builder
	anchors ledger.Anchors
	anchor  error  // why anchors do not go on
	next    int64  // index of the next node
	entry   *Fault // the first entry whose hash is not its leaf
	node    *Fault // the first node that does not fit the entries
	nodes   func() (storedNode, error, bool)
}

type storedNode struct {
	index int64
	hash  ledger.Hash
}

func scanNode(scan scanner) (n storedNode, err error) {
	err = scan(&n.index, hashColumn(&n.hash))
	return n, err
}

func (w *walk) run() error {
	nodes, stop := iter.Pull2(paged(w.ctx, w.r.session, "SELECT idx, hash FROM ledger_node WHERE idx > $1 ORDER BY idx LIMIT $2",
		[]any{int64(math.MinInt64)}, scanNode, func(n storedNode) []any { return []any{n.index} }))
	defer stop()
	w.nodes = nodes
	for record, err := range w.r.recordsOf(w.ctx, math.MinInt64+1) {
		if err != nil {
			return err
		}
		if record.Seq != w.tree.Size() {
			return entryFault(w.tree.Size(), "the entry is missing")
		}
		if record.Seq >= w.size {
			return entryFault(record.Seq, "the entry is beyond the signed head, which ends before %d", w.size)
		}
		if err := w.compare(record); err != nil {
			return err
		}
	}
	if w.tree.Size() < w.size {
		return entryFault(w.tree.Size(), "the entry is missing")
	}
	return w.beyond()
}

// compare adds an entry to the tree and looks at the nodes that this makes.
func (w *walk) compare(record Record) error {
	w.follow(record)
	for level, want := range w.tree.Add(ledger.LeafHash(record.Data)) {
		have, err, ok := w.nodes()
		if err != nil {
			return err
		}
		good := ok && have.index == w.next && have.hash == want
		if !good && level == 0 && w.entry == nil {
			w.entry = entryFault(record.Seq, "its bytes have the hash %s, and leaf %d of the signed tree is %s", want, record.Seq, have.hash)
		}
		switch {
		case good || w.node != nil:
		case ok && have.index < w.next:
			return nodeFault(have.index, "no node has this number")
		case !ok || have.index != w.next:
			w.node = nodeFault(w.next, "the node is missing")
		default:
			w.node = nodeFault(w.next, "it is %s, and the entries make it %s", have.hash, want)
		}
		w.next++
	}
	return nil
}

// follow keeps the anchors up to date. What is wrong with an entry is of
// interest only once it is known to be the signed one.
func (w *walk) follow(record Record) {
	if w.anchor != nil {
		return
	}
	next, err := w.anchors.AfterRecord(record.Data)
	w.anchors = next
	if err != nil {
		w.anchor = entryFault(record.Seq, "%v", err)
	}
}

// beyond looks for nodes after the last.
func (w *walk) beyond() error {
	extra, err, ok := w.nodes()
	if err == nil && ok && w.node == nil {
		w.node = nodeFault(extra.index, "the node is beyond the signed head")
	}
	return err
}
