package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/store"
)

func newLedgerExport(a *app) *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:   "export",
		Short: "Every entry, one JSON object a line",
		Long: `Write every entry of the ledger, oldest first, as one JSON object a line, and
the signed checkpoint that covers them last. "data" is the entry as it is
hashed, so that the export can be checked against the checkpoint elsewhere.`,
		Example: "  postern ledger export --out ledger.jsonl",
		Args:    arguments(0, 0, "", ""),
		RunE:    func(c *cobra.Command, _ []string) error { return a.ledgerExport(c.Context(), out) },
	}
	c.Flags().StringVar(&out, "out", "", "write to `FILE` instead of standard output")
	return c
}

// exported is one line of an export: an entry, or at the end the head.
type exported struct {
	Seq  *uint64     `json:"seq,omitempty"`
	Kind string      `json:"kind,omitempty"`
	At   time.Time   `json:"at,omitzero"`
	Body ledger.Body `json:"body,omitempty"`
	// TrustDomain is entry 0's.
	TrustDomain string  `json:"trust_domain,omitempty"`
	Data        []byte  `json:"data,omitempty"`
	Size        *uint64 `json:"size,omitempty"`
	Note        string  `json:"note,omitempty"`
}

// ledgerExport reads beside a running server: whoever reads disturbs nobody.
func (a *app) ledgerExport(ctx context.Context, out string) error {
	if err := a.haveData(); err != nil {
		return err
	}
	s, err := store.Open(ctx, filepath.Join(a.data(), authority.DatabaseFile), store.Options{Now: a.Now})
	if err != nil {
		return err
	}
	defer s.Close()
	if out == "" {
		return export(ctx, s, escaper{a.Stdout})
	}
	f, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	defer f.Close()
	if err := export(ctx, s, f); err != nil {
		return err
	}
	return f.Sync()
}

func export(ctx context.Context, s *store.Store, to io.Writer) error {
	head, err := s.Head(ctx)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(to)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	for r, err := range s.Records(ctx, 0) {
		if err != nil {
			return err
		}
		if r.Seq >= head.Size {
			break // came after the checkpoint that we print
		}
		entry, err := ledger.Unmarshal(r.Data)
		if err != nil {
			return fmt.Errorf("ledger entry %d: %w", r.Seq, err)
		}
		if err := e.Encode(lineOf(r, entry)); err != nil {
			return err
		}
	}
	if err := e.Encode(exported{Size: &head.Size, Note: string(head.Note)}); err != nil {
		return err
	}
	return w.Flush()
}

func lineOf(r store.Record, e ledger.Entry) exported {
	line := exported{Seq: &r.Seq, Kind: e.Body.Kind().String(), At: e.At, Body: e.Body, Data: r.Data}
	if g, ok := e.Body.(ledger.Genesis); ok {
		line.TrustDomain = g.TrustDomain.String()
	}
	return line
}
