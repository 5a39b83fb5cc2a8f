package store

import (
	"context"
	"iter"

	"github.com/postern-project/postern/internal/ledger"
)

// A Snapshot reads one moment of a store, whatever is written meanwhile.
type Snapshot struct{ reader }

// Snapshot runs f on one moment of the store. It disturbs nobody: writers go
// on.
func (s *Store) Snapshot(ctx context.Context, f func(Snapshot) error) error {
	return s.frozen(ctx, func(r reader) error { return f(Snapshot{r}) })
}

// A Copy is what is kept of a certificate beside the ledger: the certificate
// itself, or its to-be-signed part alone while it has no signature.
type Copy struct {
	TBS      ledger.Hash
	Raw, DER []byte // one of them
}

// Copies returns what is kept of certificates, by the hash of the to-be-signed
// part.
func (r reader) Copies(ctx context.Context) iter.Seq2[Copy, error] {
	return paged(ctx, r.session, "SELECT tbs, raw, der FROM certificate_copy WHERE tbs > $1 ORDER BY tbs LIMIT $2", []any{[]byte{}},
		func(scan scanner) (c Copy, err error) {
			err = scan(hashColumn(&c.TBS), &c.Raw, &c.DER)
			return c, err
		}, func(c Copy) []any { return []any{c.TBS[:]} })
}
