package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/store"
)

func newLedgerImport(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "import FILE",
		Short: "Bring back what an export has and this ledger lost",
		Long: `Read an export of this ledger and add what it has beyond this one. When this
ledger is merely shorter it becomes what the export is. When it went on in a
new epoch, after 'postern restore --accept-loss', the lost entries are added at
its end: certificates issued since then are good again, and revocations count.
The export has to be signed by this ledger's key.`,
		Example: "  postern ledger import elsewhere.jsonl",
		Args:    arguments(1, 1, "the export", "postern ledger import FILE"),
		RunE:    func(c *cobra.Command, args []string) error { return a.ledgerImport(c.Context(), args[0]) },
	}
}

// maxLine bounds a line of an export: an entry of 16 MiB, in base64, with its
// words.
const maxLine = 64 << 20

// exportedLine is what is believed of a line: the bytes, which the checkpoint
// at the end covers.
type exportedLine struct {
	Seq  *uint64 `json:"seq"`
	Data []byte  `json:"data"`
	Size *uint64 `json:"size"`
	Note string  `json:"note"`
}

// readExport yields the lines of an export, the checkpoint last.
func readExport(r io.Reader) iter.Seq2[exportedLine, error] {
	return func(yield func(exportedLine, error) bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(make([]byte, 64<<10), maxLine)
		var next uint64
		for lines.Scan() {
			var l exportedLine
			err := json.Unmarshal(lines.Bytes(), &l)
			switch {
			case err != nil:
				err = fmt.Errorf("line %d is no line of an export: %w", next+1, err)
			case l.Note == "" && (l.Seq == nil || *l.Seq != next || len(l.Data) == 0):
				err = fmt.Errorf("line %d does not hold entry %d: take the whole export, as it was written", next+1, next)
			}
			next++
			if !yield(l, err) || err != nil || l.Note != "" {
				return
			}
		}
		err := lines.Err()
		if err == nil {
			err = errors.New("the export was cut off: its last line, the signed checkpoint, is missing")
		}
		yield(exportedLine{}, err)
	}
}

// imported is what 'ledger import --json' prints.
type imported struct {
	Added   int    `json:"added"`
	Skipped int    `json:"skipped"`
	Size    uint64 `json:"size"`
	Epoch   uint64 `json:"epoch"`
}

func (a *app) ledgerImport(ctx context.Context, path string) error {
	if err := a.haveData(); err != nil {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	lock, err := api.Hold(ctx, a.data(), api.DefaultWait)
	if err != nil {
		return err
	}
	database := filepath.Join(lock.Dir(), authority.DatabaseFile)
	p, err := compareExport(ctx, file, database)
	if err != nil {
		lock.Close()
		return err
	}
	var result imported
	switch {
	case p.head.Size <= p.common:
		lock.Close()
		result = imported{Size: p.have.Size, Epoch: p.have.Epoch}
	case p.common == p.have.Size && p.head.Epoch == p.have.Epoch:
		result, err = a.extend(ctx, file, database, p)
		err = errors.Join(err, lock.Close())
	case p.reopened:
		result, err = a.appendAgain(ctx, file, lock, p)
	default:
		lock.Close()
		err = withHint(fmt.Errorf("the export and this ledger went different ways after entry %d", p.common),
			"an export of this ledger from before the loss is wanted, and a ledger that goes on from there by 'postern restore --accept-loss'")
	}
	if err != nil {
		return err
	}
	return a.show(result, func(w io.Writer) {
		say(w, "%s added; the ledger has %s.", entries(uint64(result.Added)), entries(result.Size))
		if result.Skipped > 0 {
			say(w, "%s left out, since they say what this ledger says already.", entries(uint64(result.Skipped)))
		}
	})
}

// A plan says how an export and a ledger compare.
type importPlan struct {
	have     store.Head // ours
	head     store.Head // the export's, signed
	common   uint64     // entries that both have
	reopened bool       // ours went on there in a new epoch
}

// compareExport reads the whole export, verifies its checkpoint with the keys
// of the ledger here, and finds where the two part.
func compareExport(ctx context.Context, file io.Reader, database string) (p importPlan, err error) {
	s, err := store.Open(ctx, database, store.Options{})
	if err != nil {
		return p, err
	}
	defer s.Close()
	if p.have, err = s.Head(ctx); err != nil {
		return p, err
	}
	ours, stop := iter.Pull2(s.Records(ctx, 0))
	defer stop()
	var tree ledger.Builder
	parted := false
	for l, err := range readExport(file) {
		if err != nil {
			return p, err
		}
		if l.Note != "" {
			p.head, err = signedExport(ctx, s, l, &tree)
			return p, err
		}
		tree.Add(ledger.LeafHash(l.Data))
		if parted || tree.Size() > p.have.Size {
			continue
		}
		own, err, ok := ours()
		if err != nil {
			return p, err
		}
		if ok && bytes.Equal(own.Data, l.Data) {
			p.common++
			continue
		}
		parted = true
		if e, err := ledger.Unmarshal(own.Data); err == nil && p.common > 0 {
			_, p.reopened = e.Body.(ledger.EpochOpened)
		}
	}
	return p, nil
}

// signedExport checks that the export's last line signs what came before it.
func signedExport(ctx context.Context, s *store.Store, l exportedLine, tree *ledger.Builder) (store.Head, error) {
	genesis, err := s.Genesis(ctx)
	if err != nil {
		return store.Head{}, err
	}
	anchors, err := s.Anchors(ctx)
	if err != nil {
		return store.Head{}, err
	}
	origin, _, _ := strings.Cut(l.Note, "\n")
	epoch, err := strconv.ParseUint(origin[strings.LastIndexByte(origin, '/')+1:], 10, 64)
	if err != nil || origin != ledger.Origin(genesis.TrustDomain, epoch) {
		return store.Head{}, withHint(fmt.Errorf("the export is of %q, and this ledger of %q", origin, genesis.TrustDomain), "an export of the same trust domain is wanted")
	}
	for _, key := range append(anchors.Keys(), genesis.LedgerKey) {
		signed, err := ledger.OpenCheckpoint([]byte(l.Note), origin, key)
		if err != nil {
			continue
		}
		if signed.Size != tree.Size() || signed.Root != tree.Root() {
			return store.Head{}, errors.New("the export is not what its checkpoint was signed for: entries were changed or left out")
		}
		return store.Head{Epoch: epoch, Size: signed.Size, Root: signed.Root, Note: []byte(l.Note)}, nil
	}
	return store.Head{}, errors.New("the export's checkpoint is not signed by this ledger's key")
}

// tail yields the entries of the export after those that both have.
func (p importPlan) tail(file io.ReadSeeker) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			yield(nil, err)
			return
		}
		for l, err := range readExport(file) {
			if err == nil && (l.Note != "" || *l.Seq < p.common) {
				continue
			}
			if !yield(l.Data, err) || err != nil {
				return
			}
		}
	}
}

func (a *app) extend(ctx context.Context, file io.ReadSeeker, database string, p importPlan) (imported, error) {
	if err := store.Extend(ctx, database, p.tail(file), p.head); err != nil {
		return imported{}, err
	}
	return imported{Added: int(p.head.Size - p.common), Size: p.head.Size, Epoch: p.head.Epoch}, nil
}

// appendAgain adds the lost entries at the end of the ledger.
func (a *app) appendAgain(ctx context.Context, file io.ReadSeeker, lock *api.Lock, p importPlan) (imported, error) {
	h, err := OpenHouse(ctx, lock, HouseOptions{Log: a.log(slog.LevelWarn), Now: a.Now, Policy: a.policy()})
	if err != nil {
		return imported{}, err
	}
	defer a.closeHouse(h)
	var result imported
	for data, err := range p.tail(file) {
		if err != nil {
			return result, err
		}
		e, err := ledger.Unmarshal(data)
		if err != nil {
			return result, err
		}
		added, err := authority.AppendLost(ctx, h.Store, e.Body)
		if err != nil {
			return result, fmt.Errorf("a lost entry, %s, cannot be added: %w", e.Body.Kind(), err)
		}
		if added {
			result.Added++
		} else {
			result.Skipped++
		}
	}
	head, err := h.Store.Head(ctx)
	result.Size, result.Epoch = head.Size, head.Epoch
	return result, err
}
