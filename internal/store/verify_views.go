package store

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/roster"
)

// checkViews makes the views again from the entries, by the function that
// made them, and compares every row.
func checkViews(ctx context.Context, fresh *session, r reader) error {
	if err := replay(ctx, r, fresh); err != nil {
		return err
	}
	for _, t := range views() {
		if err := t.compare(ctx, fresh, r.session); err != nil {
			return err
		}
	}
	return nil
}

// replay applies every entry to fresh and to a roster, which checks the
// root's signatures.
func replay(ctx context.Context, r reader, fresh *session) error {
	head, err := r.Head(ctx)
	if err != nil {
		return err
	}
	if _, err := fresh.exec(ctx, "BEGIN"); err != nil {
		return err
	}
	p := player{ctx: ctx, fresh: fresh, roster: roster.New()}
	for e, err := range r.Entries(ctx, 0) {
		if err != nil {
			return entryFault(p.seq, "%v", err)
		}
		if err := p.play(e); err != nil {
			return err
		}
	}
	if err := p.flush(); err != nil {
		return err
	}
	if p.epoch != head.Epoch {
		return headFault("epoch", fmt.Sprint(p.epoch), fmt.Sprint(head.Epoch), "not the epoch that the entries open")
	}
	_, err = fresh.exec(ctx, "COMMIT")
	return err
}

type player struct {
	ctx    context.Context
	fresh  *session
	roster *roster.Roster
	seq    uint64
	at     time.Time
	epoch  uint64
	batch  []ledger.Entry
}

func (p *player) play(e ledger.Entry) error {
	if e.At.Before(p.at) {
		return entryFault(p.seq, "its time is before that of the entry before it")
	}
	if err := apply(p.ctx, p.fresh, p.seq, e); err != nil {
		return entryFault(p.seq, "it does not fit the entries before it: %v", err)
	}
	if o, ok := e.Body.(ledger.EpochOpened); ok {
		p.epoch = o.Epoch
	}
	p.seq, p.at, p.batch = p.seq+1, e.At, append(p.batch, e)
	if len(p.batch) == page {
		return p.flush()
	}
	return nil
}

func (p *player) flush() error {
	if err := p.roster.Apply(p.seq-uint64(len(p.batch)), p.batch); err != nil {
		return &Fault{Table: "ledger_entry", What: err.Error()}
	}
	p.batch = p.batch[:0]
	return nil
}

// compare walks through both tables in the order of their keys.
func (t table) compare(ctx context.Context, fresh, stored *session) error {
	query := "SELECT * FROM " + t.name + " ORDER BY " + strings.Join(t.key, ", ")
	want, err := openCursor(ctx, fresh, query, t.key)
	if err != nil {
		return err
	}
	defer want.close()
	have, err := openCursor(ctx, stored, query, t.key)
	if err != nil {
		return err
	}
	defer have.close()
	for {
		if err := want.next(); err != nil {
			return err
		}
		if err := have.next(); err != nil {
			return err
		}
		switch order := want.order(have); {
		case want.values == nil && have.values == nil:
			return nil
		case order < 0:
			return &Fault{Table: t.name, Key: want.key(), What: "the row is missing"}
		case order > 0:
			return &Fault{Table: t.name, Key: have.key(), What: "the ledger knows nothing of this row"}
		}
		for i, column := range want.columns {
			if w, h := show(want.values[i]), show(have.values[i]); w != h {
				return &Fault{Table: t.name, Key: want.key(), Column: column, Want: w, Have: h, What: "the value was changed"}
			}
		}
	}
}

// A cursor stands on one row of a table; its values are nil past the end.
type cursor struct {
	path    string
	rows    *sql.Rows
	columns []string
	keys    []int // places of the key's columns
	values  []any
}

func openCursor(ctx context.Context, s *session, query string, key []string) (*cursor, error) {
	ctx, stmt, err := s.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	rows, err := stmt.QueryContext(ctx)
	if err != nil {
		return nil, explain(s.path, err)
	}
	c := &cursor{path: s.path, rows: rows}
	if c.columns, err = rows.Columns(); err != nil {
		rows.Close()
		return nil, err
	}
	for _, k := range key {
		for i, column := range c.columns {
			if column == k {
				c.keys = append(c.keys, i)
			}
		}
	}
	return c, nil
}

func (c *cursor) close() { c.rows.Close() }

func (c *cursor) next() error {
	if !c.rows.Next() {
		c.values = nil
		return explain(c.path, c.rows.Err())
	}
	c.values = make([]any, len(c.columns))
	dest := make([]any, len(c.columns))
	for i := range dest {
		dest[i] = &c.values[i]
	}
	return explain(c.path, c.rows.Scan(dest...))
}

// order compares the keys of the rows that c and o stand on; past the end
// comes last.
func (c *cursor) order(o *cursor) int {
	if c.values == nil || o.values == nil {
		return cmp.Compare(boolToInt(c.values == nil), boolToInt(o.values == nil))
	}
	for _, i := range c.keys {
		var order int
		switch v := c.values[i].(type) {
		case int64:
			w, _ := o.values[i].(int64)
			order = cmp.Compare(v, w)
		case string:
			w, _ := o.values[i].(string)
			order = cmp.Compare(v, w)
		case []byte:
			w, _ := o.values[i].([]byte)
			order = bytes.Compare(v, w)
		}
		if order != 0 {
			return order
		}
	}
	return 0
}

func boolToInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// key prints the key of the row that c stands on.
func (c *cursor) key() string {
	parts := make([]string, len(c.keys))
	for i, at := range c.keys {
		parts[i] = c.columns[at] + "=" + show(c.values[at])
	}
	return strings.Join(parts, " ")
}
