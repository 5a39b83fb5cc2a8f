package store

import (
	"context"
	"fmt"
	"iter"

	"github.com/postern-project/postern/internal/ledger"
)

// Extend adds to the database at path the entries that follow its own, up to
// the head that the ledger's key has signed. They are the ledger's own future,
// so no signature is made. All of it happens or nothing. Nobody else may have
// the database open.
func Extend(ctx context.Context, path string, entries iter.Seq2[[]byte, error], head Head) (err error) {
	r := Restorer{path: path}
	if err := r.connect(ctx); err != nil {
		return err
	}
	defer r.close()
	if r.conn, err = r.db.Conn(ctx); err != nil {
		return explain(path, err)
	}
	r.session = newSession(path, r.conn, true)
	if _, err := r.session.exec(ctx, beginWriting); err != nil {
		return err
	}
	defer func() {
		if err != nil && r.session != nil {
			r.session.exec(ctx, "ROLLBACK")
		}
	}()
	now := reader{r.session}
	have, err := now.Head(ctx)
	if err != nil {
		return err
	}
	tree, err := ledger.ResumeBuilder(have.Size, now.nodes(ctx))
	if err != nil {
		return err
	}
	r.tree, r.node = *tree, ledger.NodeCount(have.Size)
	for data, err := range entries {
		if err != nil {
			return err
		}
		if err := r.Entry(ctx, data); err != nil {
			return err
		}
	}
	if r.tree.Size() != head.Size || r.tree.Root() != head.Root {
		return fmt.Errorf("the entries do not lead to the signed checkpoint of %d entries: %w", head.Size, ErrDamaged)
	}
	if _, err := r.session.exec(ctx, "UPDATE ledger_head SET epoch = $1, size = $2, root = $3, note = $4 WHERE id = 1",
		int64(head.Epoch), int64(head.Size), head.Root[:], head.Note); err != nil {
		return err
	}
	if err := checkLedger(ctx, now); err != nil {
		return err
	}
	_, err = r.session.exec(ctx, "COMMIT")
	return err
}
