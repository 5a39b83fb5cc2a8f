package store

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"time"

	"github.com/postern-project/postern/internal/ledger"
)

// A lane is the one connection that writes. It belongs to the writing
// goroutine.
type lane struct {
	conn    *sql.Conn
	session *session
	tail    *tail  // nil until it is read, and after every doubt
	known   bool   // told holds something
	told    uint64 // how much of the ledger Committed knows of
}

// A tail is the end of the ledger: all that appending needs to know.
type tail struct {
	head    Head
	tree    ledger.Builder
	newest  time.Time // of the newest entry
	signer  *ledger.Signer
	signing uint64 // the epoch of signer
}

// close ends the connection for good: whatever state it was left in, nobody
// gets it again.
func (l *lane) close() {
	if l.conn == nil {
		return
	}
	l.session.close()
	_ = l.conn.Raw(func(any) error { return driver.ErrBadConn })
	*l = lane{known: l.known, told: l.told}
}

// A batch is one transaction that several Updates share.
type batch struct {
	store  *Store
	lane   *lane
	tail   tail // what the lane's will be
	first  uint64
	state  state
	head   Head // after finish
	served []served
	broken error // the transaction as a whole has failed

	entries []ledger.Entry
	data    [][]byte // entries, marshalled
}

// state is what a failed call must not have changed.
type state struct {
	entries int
	epoch   uint64
	newest  time.Time
	copies  int // rows written that are no view
}

func (b *batch) do(query string) error {
	_, err := b.lane.session.exec(context.Background(), query)
	return err
}

// begin starts a transaction and reads the ledger's head.
func (s *Store) begin() (*batch, error) {
	ctx := context.Background()
	if err := s.connect(ctx); err != nil {
		return nil, err
	}
	b := &batch{store: s, lane: &s.lane}
	if err := b.do(beginWriting); err != nil {
		s.lane.close()
		return nil, err
	}
	if err := b.open(ctx); err != nil {
		b.abandon()
		return nil, err
	}
	return b, nil
}

// connect makes sure of the lane's connection.
func (s *Store) connect(ctx context.Context) error {
	if s.lane.conn != nil {
		return nil
	}
	conn, err := s.writers.Conn(ctx)
	if err != nil {
		return explain(s.path, err)
	}
	s.lane.conn, s.lane.session = conn, newSession(s.path, conn, true)
	if s.options.connected != nil {
		return s.options.connected(s.lane.session)
	}
	return nil
}

// open makes sure of the tail that the batch goes on from.
func (b *batch) open(ctx context.Context) error {
	r := reader{b.lane.session}
	head, err := r.Head(ctx)
	if err != nil {
		return err
	}
	if b.lane.known && head.Size < b.lane.told {
		return b.damaged("the ledger has %d entries and had %d a moment ago: somebody put an older file in place, stop postern and put the newer one back", head.Size, b.lane.told)
	}
	if t := b.lane.tail; t == nil || t.head.Size != head.Size || t.head.Root != head.Root || t.head.Epoch != head.Epoch {
		if b.lane.tail, err = b.readTail(ctx, r, head); err != nil {
			return err
		}
	}
	if b.lane.known && head.Size > b.lane.told {
		if err := b.catchUp(ctx, r, head); err != nil {
			return err
		}
	}
	b.lane.known, b.lane.told = true, head.Size
	b.tail = *b.lane.tail
	b.first = head.Size
	b.state = state{epoch: head.Epoch, newest: b.tail.newest}
	return nil
}

// catchUp tells of entries that are there though we did not see them commit:
// the disk reported an error and had written them all the same, or another
// process was at work.
func (b *batch) catchUp(ctx context.Context, r reader, head Head) error {
	var missed []ledger.Entry
	for e, err := range r.Entries(ctx, b.lane.told) {
		if err != nil {
			return err
		}
		missed = append(missed, e)
	}
	b.store.tell(b.lane.told, missed, head)
	return nil
}

// readTail reads the tail that belongs to head, and makes sure that we signed
// that head: Ed25519 signs the same text twice in the same way. Otherwise a
// changed database would get a good signature with the next entry.
func (b *batch) readTail(ctx context.Context, r reader, head Head) (*tail, error) {
	t := &tail{head: head}
	if head.Size == 0 {
		return t, nil
	}
	tree, err := ledger.ResumeBuilder(head.Size, r.nodes(ctx))
	if err != nil {
		return nil, err
	}
	if t.tree = *tree; tree.Root() != head.Root {
		return nil, b.damaged("the nodes of the ledger do not add up to its head: 'postern ledger verify' names the damage, put the file back from a backup")
	}
	note, err := t.sign(b.store.options.Signer, head)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(note, head.Note) {
		return nil, b.damaged("the head of the ledger is not signed by this ledger.key: the key belongs to another folder, or the head was changed; put both back from one backup")
	}
	for e, err := range r.Entries(ctx, head.Size-1) {
		if err != nil {
			return nil, err
		}
		t.newest = e.At
	}
	return t, nil
}

func (t *tail) sign(signer func(uint64) (*ledger.Signer, error), h Head) ([]byte, error) {
	if t.signer == nil || t.signing != h.Epoch {
		s, err := signer(h.Epoch)
		if err != nil {
			return nil, fmt.Errorf("signer of epoch %d: %w", h.Epoch, err)
		}
		t.signer, t.signing = s, h.Epoch
	}
	return t.signer.Sign(ledger.Checkpoint{Size: h.Size, Root: h.Root})
}

// finish writes the tail of the ledger and commits.
func (b *batch) finish() error {
	ctx := context.Background()
	kept := b.keepCopies(ctx)
	if b.broken == nil && len(b.entries) > 0 {
		b.broken = b.writeTail(ctx)
	}
	if b.broken == nil && len(b.entries) == 0 && b.state.copies == 0 && len(kept) == 0 {
		b.do("ROLLBACK") // nothing to keep
		return nil
	}
	if b.broken == nil {
		b.broken = b.do("COMMIT")
	}
	if b.broken != nil {
		b.abandon()
		return b.broken
	}
	b.store.copies.drop(kept)
	*b.lane.tail = b.tail
	return nil
}

// abandon leaves the lane without a transaction. Whether SQLite has rolled
// back already is all the same: the connection is not used again.
func (b *batch) abandon() {
	b.do("ROLLBACK")
	b.lane.close()
}

// writeTail writes the batch's entries, the nodes they add to the tree, and
// the head, whose row has to be as it was found.
func (b *batch) writeTail(ctx context.Context) error {
	node := ledger.NodeCount(b.first)
	for i, data := range b.data {
		if _, err := b.lane.session.exec(ctx, "INSERT INTO ledger_entry (seq, data) VALUES ($1, $2)", int64(b.first)+int64(i), data); err != nil {
			return err
		}
		for _, h := range b.tail.tree.Add(ledger.LeafHash(data)) {
			if _, err := b.lane.session.exec(ctx, "INSERT INTO ledger_node (idx, hash) VALUES ($1, $2)", node, h[:]); err != nil {
				return err
			}
			node++
		}
	}
	head := Head{Epoch: b.state.epoch, Size: b.tail.tree.Size(), Root: b.tail.tree.Root()}
	note, err := b.tail.sign(b.store.options.Signer, head)
	if err != nil {
		return err
	}
	head.Note = note
	n, err := b.lane.session.exec(ctx, "UPDATE ledger_head SET epoch = $1, size = $2, root = $3, note = $4 WHERE id = 1 AND size = $5",
		int64(head.Epoch), int64(head.Size), head.Root[:], head.Note, int64(b.first))
	if err == nil && n != 1 {
		err = b.damaged("the head of the ledger moved under the transaction: another process writes to it, end it")
	}
	b.head, b.tail.head, b.tail.newest = head, head, b.state.newest
	return err
}

func (b *batch) damaged(format string, args ...any) error {
	return &located{ErrDamaged, b.store.path + ": " + fmt.Sprintf(format, args...), ErrDamaged}
}
