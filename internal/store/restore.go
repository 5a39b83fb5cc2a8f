package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/postern-project/postern/internal/ledger"
)

// A Restorer writes a ledger, entry by entry, into a new database, and makes
// the views from it. Nothing is there before Finish has found the whole of it
// to be what its checkpoint was signed for.
type Restorer struct {
	path    string
	db      *sql.DB
	conn    *sql.Conn
	session *session
	tree    ledger.Builder
	node    int64
}

// NewRestorer begins a database at path, where there must be none. The caller
// ends it with Finish or Abandon.
func NewRestorer(ctx context.Context, path string) (_ *Restorer, err error) {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is there already: nothing is restored over it", path)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	f.Close()
	r := &Restorer{path: path}
	defer func() {
		if err != nil {
			r.Abandon()
		}
	}()
	known, err := embedded()
	if err != nil {
		return nil, err
	}
	if err := r.connect(ctx); err != nil {
		return nil, err
	}
	if err := migrate(ctx, r.db, known); err != nil {
		return nil, explain(path, err)
	}
	if r.conn, err = r.db.Conn(ctx); err != nil {
		return nil, explain(path, err)
	}
	r.session = newSession(path, r.conn, true)
	_, err = r.session.exec(ctx, beginWriting)
	return r, err
}

func (r *Restorer) connect(ctx context.Context) error {
	dsn, err := writerSource(r.path)
	if err != nil {
		return err
	}
	if r.db, err = sql.Open(driverName, dsn); err != nil {
		return err
	}
	r.db.SetMaxOpenConns(1)
	return explain(r.path, r.db.PingContext(ctx))
}

// Entry appends the next entry, as it was stored.
func (r *Restorer) Entry(ctx context.Context, data []byte) error {
	seq := r.tree.Size()
	e, err := ledger.Unmarshal(data)
	if err != nil {
		return fmt.Errorf("ledger entry %d: %w", seq, err)
	}
	if err := apply(ctx, r.session, seq, e); err != nil {
		return entryFault(seq, "it does not fit the entries before it: %v", err)
	}
	if _, err := r.session.exec(ctx, "INSERT INTO ledger_entry (seq, data) VALUES ($1, $2)", int64(seq), data); err != nil {
		return err
	}
	for _, h := range r.tree.Add(ledger.LeafHash(data)) {
		if _, err := r.session.exec(ctx, "INSERT INTO ledger_node (idx, hash) VALUES ($1, $2)", r.node, h[:]); err != nil {
			return err
		}
		r.node++
	}
	return nil
}

// Copy keeps what was kept of a certificate, unless it is not what it says.
func (r *Restorer) Copy(ctx context.Context, c Copy) error {
	if (c.Raw == nil) == (c.DER == nil) || c.Raw != nil && sha256.Sum256(c.Raw) != c.TBS || c.DER != nil && !holds(c.DER, c.TBS) {
		return fmt.Errorf("the copy of certificate %s is not what it says", c.TBS)
	}
	_, err := r.session.exec(ctx, "INSERT INTO certificate_copy (tbs, raw, der) VALUES ($1, $2, $3)", c.TBS[:], nullable(c.Raw), nullable(c.DER))
	return err
}

func nullable(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}

// Finish writes the head, makes sure that the ledger is the one it was signed
// for, and closes the database.
func (r *Restorer) Finish(ctx context.Context, head Head) (err error) {
	defer func() {
		if err != nil {
			r.Abandon()
		}
	}()
	if r.tree.Size() != head.Size || r.tree.Root() != head.Root {
		return &located{ErrDamaged, fmt.Sprintf("%d entries with root %s are there, and the checkpoint is of %d with root %s: the copy is damaged or was cut off, take another",
			r.tree.Size(), r.tree.Root(), head.Size, head.Root), ErrDamaged}
	}
	if _, err := r.session.exec(ctx, "UPDATE ledger_head SET epoch = $1, size = $2, root = $3, note = $4 WHERE id = 1",
		int64(head.Epoch), int64(head.Size), head.Root[:], head.Note); err != nil {
		return err
	}
	if err := checkLedger(ctx, reader{r.session}); err != nil {
		return fmt.Errorf("the copy is not a ledger that its key has signed: %w", err)
	}
	if _, err := r.session.exec(ctx, "COMMIT"); err != nil {
		return err
	}
	return r.close()
}

func (r *Restorer) close() error {
	var errs []error
	if r.session != nil {
		r.session.close()
	}
	if r.conn != nil {
		errs = append(errs, r.conn.Close())
	}
	if r.db != nil {
		errs = append(errs, r.db.Close())
	}
	r.session, r.conn, r.db = nil, nil, nil
	return errors.Join(errs...)
}

// Abandon removes what was begun. After Finish it does nothing.
func (r *Restorer) Abandon() {
	if r.db == nil {
		return
	}
	r.close()
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		os.Remove(r.path + suffix)
	}
}
