package store

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/postern-project/postern/internal/ledger"
)

// maxBatch bounds how many Updates share a commit, and so how long the first
// of them waits for the last.
const maxBatch = 256

// A call is one Update under way. Its function runs on the goroutine of its
// caller, when the writing goroutine gives it the turn.
type call struct {
	ctx  context.Context
	turn chan *Tx
	gone chan struct{} // closed by a caller who gave up before its turn
	ran  chan error    // what the function returned
	done chan error    // what became of the batch
}

// Update runs f in a transaction, which it shares with other Updates that
// wait at the same moment, and returns when what f did is durable and
// Committed was told. When f fails or panics nothing of it is kept and the
// others are not harmed. f runs at most once, must not keep tx, and must not
// call Update or wait for one. Once f runs, the context is no longer heeded: an
// error always means that nothing was changed, but for a commit whose outcome
// the disk did not tell.
func (s *Store) Update(ctx context.Context, f func(tx *Tx) error) error {
	if s.writers == nil {
		return fmt.Errorf("%s is opened to read only: %w", s.path, ErrReadOnly)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	c := &call{ctx: ctx, turn: make(chan *Tx), gone: make(chan struct{}), ran: make(chan error, 1), done: make(chan error, 1)}
	select {
	case s.calls <- c:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing:
		return ErrClosed
	}
	select {
	case tx := <-c.turn:
		c.run(tx, f)
	case err := <-c.done: // the transaction could not begin
		return err
	case <-ctx.Done():
		close(c.gone)
		return ctx.Err()
	}
	return <-c.done
}

var errLeft = errors.New("the function ended its goroutine inside a transaction")

// run answers the writing goroutine whatever f does: return, panic, or end
// its goroutine as t.Fatal does.
func (c *call) run(tx *Tx, f func(tx *Tx) error) {
	err := errLeft
	defer func() {
		if v := recover(); v != nil {
			tx.store.options.Log.Error("transaction panicked", "err", v, "stack", string(debug.Stack()))
			err = &PanicError{v}
		}
		c.ran <- err
	}()
	err = f(tx)
}

// write is the writing goroutine. It ends when the store is closed.
func (s *Store) write() {
	for {
		select {
		case c := <-s.calls:
			s.batch(c)
		case <-s.copies.due:
			s.batch(nil)
		case <-s.closing:
			if s.copies.waiting() {
				s.batch(nil)
			}
			return
		}
	}
}

// batch serves first and whoever waits behind it in one transaction. A nil
// first only keeps the copies that wait.
func (s *Store) batch(first *call) {
	b, err := s.begin()
	if err != nil {
		s.refuse(first, err)
		return
	}
	if first != nil {
		b.serve(first)
	}
	for range maxBatch - 1 {
		if b.broken != nil {
			break
		}
		c := s.next()
		if c == nil {
			break
		}
		b.serve(c)
	}
	err = b.finish()
	if err == nil && len(b.entries) > 0 {
		s.tell(b.first, b.entries, b.head)
	}
	b.answer(err)
}

// tell makes what was committed known in this process.
func (s *Store) tell(first uint64, entries []ledger.Entry, head Head) {
	s.vouched.follow(entries)
	if s.options.Committed != nil {
		s.options.Committed(first, entries, head)
	}
	s.lane.told = head.Size
}

// next returns a call that waits already, or nil.
func (s *Store) next() *call {
	select {
	case c := <-s.calls:
		return c
	default:
		return nil
	}
}

// refuse answers first and all that wait with err.
func (s *Store) refuse(first *call, err error) {
	for c := first; c != nil; c = s.next() {
		c.done <- err
	}
}

type served struct {
	*call
	err error
}

// serve runs one call in a savepoint.
func (b *batch) serve(c *call) {
	if b.broken = b.do("SAVEPOINT call"); b.broken != nil {
		b.served = append(b.served, served{c, b.broken})
		return
	}
	before := b.state
	tx := &Tx{reader: reader{b.lane.session}, store: b.store, batch: b, ctx: context.WithoutCancel(c.ctx)}
	var err error
	select {
	case c.turn <- tx:
		if err = <-c.ran; err == nil {
			err = tx.failed
		}
		tx.over = true
	case <-c.gone:
		err = context.Canceled
	}
	if err != nil {
		b.state = before
		b.entries, b.data = b.entries[:before.entries], b.data[:before.entries]
		b.broken = b.do("ROLLBACK TO SAVEPOINT call")
	}
	if b.broken == nil {
		b.broken = b.do("RELEASE SAVEPOINT call")
	}
	if b.broken != nil && err != nil {
		b.broken = err // the statement that took the whole transaction with it
	}
	b.served = append(b.served, served{c, err})
}

// answer tells every caller of the batch what became of it. A call that
// failed by itself hears why, unless the batch failed: then what it had read
// may never have been.
func (b *batch) answer(err error) {
	for _, c := range b.served {
		if err != nil {
			c.done <- err
		} else {
			c.done <- c.err
		}
	}
}

// add keeps an entry for the tail of the ledger.
func (b *batch) add(e ledger.Entry, data []byte) {
	b.entries, b.data = append(b.entries, e), append(b.data, data)
	b.state.entries = len(b.entries)
	b.state.newest = e.At
	if o, ok := e.Body.(ledger.EpochOpened); ok {
		b.state.epoch = o.Epoch
	}
}
