package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/postern-project/postern/internal/ledger"
)

// A Report is what Verify found.
type Report struct {
	OK    bool   `json:"ok"`
	Size  uint64 `json:"size"`
	Head  Head   `json:"head"`
	Fault *Fault `json:"fault,omitempty"` // nil when OK
}

// Verify compares all that is stored with the signed head: every entry and
// node of the tree, the views, which are made again from the entries and
// compared row by row, the kept certificates, the schema, and the file's own
// structure. It reads one snapshot, so the store may be in use. The error is
// for what kept it from looking.
func (s *Store) Verify(ctx context.Context) (Report, error) {
	return s.verify(ctx, func(ctx context.Context, r reader) error {
		return scratch(ctx, func(fresh *session) error {
			if err := checkSchema(ctx, fresh, r); err != nil {
				return err
			}
			if err := checkLedger(ctx, r); err != nil {
				return err
			}
			return checkViews(ctx, fresh, r)
		})
	}, checkCopies, checkFile)
}

// VerifyLedger is Verify for the ledger's own tables alone.
func (s *Store) VerifyLedger(ctx context.Context) (Report, error) {
	return s.verify(ctx, checkLedger)
}

type check = func(context.Context, reader) error

func (s *Store) verify(ctx context.Context, checks ...check) (report Report, err error) {
	err = s.frozen(ctx, func(r reader) error {
		if report.Head, err = r.Head(ctx); err != nil {
			return err
		}
		report.Size = report.Head.Size
		for _, c := range checks {
			if err := c(ctx, r); err != nil {
				return err
			}
		}
		return nil
	})
	if fault, ok := errors.AsType[*Fault](err); ok {
		report.Fault, err = fault, nil
	} else if errors.Is(err, ErrDamaged) {
		report.Fault, err = &Fault{What: err.Error()}, nil
	}
	report.OK = err == nil && report.Fault == nil
	return report, err
}

// frozen runs f on one snapshot of the database.
func (s *Store) frozen(ctx context.Context, f func(reader) error) error {
	tx, err := s.readers.BeginTx(ctx, &sql.TxOptions{})
	if err != nil {
		return explain(s.path, err)
	}
	defer tx.Rollback()
	snapshot := newSession(s.path, tx, false)
	defer snapshot.close()
	return f(reader{snapshot})
}

// A table is one whose rows follow from the entries.
type table struct {
	name string
	key  []string
}

func views() []table {
	return []table{
		{"issuer", []string{"seq"}},
		{"identity", []string{"name"}},
		{"membership", []string{"group_name", "name"}},
		{"invite", []string{"code"}},
		{"certificate", []string{"seq"}},
		{"certificate_host", []string{"host", "certificate"}},
		{"acme_key", []string{"id"}},
		{"token", []string{"token"}},
		{"acme_certificate", []string{"order_id"}},
	}
}

// checkSchema finds tables, indexes and triggers that do not belong there.
func checkSchema(ctx context.Context, fresh *session, r reader) error {
	want, err := schema(ctx, fresh)
	if err != nil {
		return err
	}
	have, err := schema(ctx, r.session)
	if err != nil {
		return err
	}
	for _, object := range want {
		if !slices.Contains(have, object) {
			return &Fault{Table: object.name, What: "this " + object.kind + " is missing or was changed"}
		}
	}
	for _, object := range have {
		if !slices.Contains(want, object) {
			return &Fault{Table: object.name, What: "this " + object.kind + " is not postern's"}
		}
	}
	return nil
}

type object struct{ kind, name, text string }

func schema(ctx context.Context, s *session) ([]object, error) {
	return collect(ctx, s, listSchema, nil, func(scan scanner) (o object, err error) {
		var text sql.NullString
		err = scan(&o.kind, &o.name, &text)
		o.text = strings.Join(strings.Fields(text.String), " ")
		return o, err
	})
}

// scratch runs f on an empty database with the newest schema.
func scratch(ctx context.Context, f func(*session) error) error {
	db, err := sql.Open(driverName, scratchSource())
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	known, err := embedded()
	if err != nil {
		return err
	}
	if err := migrate(ctx, db, known); err != nil {
		return fmt.Errorf("scratch database: %w", err)
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	fresh := newSession("scratch database", conn, false)
	defer fresh.close()
	return f(fresh)
}

// checkCopies finds kept certificates that are not what they are kept as.
func checkCopies(ctx context.Context, r reader) error {
	return r.session.each(ctx, "SELECT tbs, raw, der FROM certificate_copy ORDER BY tbs", nil, func(rows *sql.Rows) error {
		var tbs, raw, der []byte
		if err := rows.Scan(&tbs, &raw, &der); err != nil {
			return err
		}
		rawHash := sha256.Sum256(raw)
		good := len(tbs) == len(ledger.Hash{}) && (raw != nil || der != nil) &&
			(raw == nil || string(rawHash[:]) == string(tbs)) && (der == nil || holds(der, ledger.Hash(tbs)))
		if !good {
			return &Fault{Table: "certificate_copy", Key: "tbs=" + show(tbs), What: "what is kept does not have this hash"}
		}
		return nil
	})
}

// checkFile finds damage in the file that no query has met, such as an index
// that does not fit its table.
func checkFile(ctx context.Context, r reader) error {
	var answer string
	if err := r.session.row(ctx, fileCheck, nil, &answer); err != nil {
		return err
	}
	if answer != "ok" {
		return &Fault{What: answer}
	}
	return nil
}
