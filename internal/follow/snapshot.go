package follow

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/roster"
	"github.com/postern-project/postern/internal/store"
)

// few is how many entries are read at every start rather than kept in a
// snapshot: it takes a tenth of a second.
const few = 10_000

// Snapshots keep a roster in a file beside the ledger, so that the next start
// reads only what came after it. A snapshot is believed when it is sealed by the
// ledger's key for the ledger that is there; every other one is as good as none.
//
// The file is the line "postern roster 2", the roster as roster.Snapshot
// writes it, a signed note of the ledger's length, its root and the SHA-256 of
// all before the note (ledger.Seal), and the length of the note in four bytes.
type Snapshots struct {
	path   string
	roster *roster.Roster
	signer func(identity.TrustDomain, uint64) (*ledger.Signer, error)
	log    *slog.Logger
	few    uint64 // what few is, but in tests

	mu      sync.Mutex // guards what follows
	head    store.Head // that the roster stands at
	kept    uint64     // the size of the newest snapshot
	busy    bool
	closed  bool
	working sync.WaitGroup // writing and auditing
	stop    context.CancelFunc
}

const magic = "postern roster 2\n"

// NewSnapshots returns the snapshots of r in the file at path. The signer is
// asked for the ledger's key of a trust domain and epoch; a nil log discards.
// The caller closes them, before the store.
func NewSnapshots(path string, r *roster.Roster, signer func(identity.TrustDomain, uint64) (*ledger.Signer, error), log *slog.Logger) *Snapshots {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Snapshots{path: path, roster: r, signer: signer, log: log, few: few, stop: func() {}}
}

// Load gives the roster the ledger of s as the function Load does, from the
// snapshot and what came after it when there is one to be believed. The entries
// before it are then looked at in the background; if they are not those of the
// signed head, the roster lets nobody in from then on.
func (x *Snapshots) Load(ctx context.Context, s *store.Store) error {
	head, err := s.Head(ctx)
	if err != nil {
		return err
	}
	err = x.resume(ctx, s, head)
	fatal, begun := errors.AsType[*tailError](err)
	switch {
	case begun:
		return fmt.Errorf("load the ledger: %w", fatal.error)
	case err == nil:
	case ctx.Err() != nil:
		return ctx.Err()
	default:
		if !errors.Is(err, fs.ErrNotExist) {
			x.log.Warn("snapshot of the roster not used: the whole ledger is read", "path", x.path, "err", err)
		}
		if err := Load(ctx, s, nil, x.roster); err != nil {
			return err
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.head = head
	return nil
}

// A tailError is a fault in what follows a snapshot that is in force already.
type tailError struct{ error }

// resume loads from the snapshot. An error that is no *tailError has left the
// roster as it was.
func (x *Snapshots) resume(ctx context.Context, s *store.Store, head store.Head) error {
	draft, seal, err := x.read(ctx, s, head)
	if err != nil {
		return err
	}
	l := loader{ctx: ctx, store: s, from: seal.Size, size: head.Size, anchors: draft.Anchors()}
	if l.tree, err = s.TreeAt(ctx, seal.Size); err != nil {
		return err
	}
	if l.tree.Root() != seal.Root {
		return errors.New("it is of another ledger: the first entries of this one have another root")
	}
	if err := begins(ctx, s, draft.First(), seal); err != nil {
		return err
	}
	root, err := l.survey()
	if err != nil {
		return err
	}
	if signed, err := l.open(head); err != nil {
		return err
	} else if root != signed.Root {
		return errors.New("the entries behind it do not lead to the signed head")
	}
	if err := x.roster.Adopt(draft); err != nil {
		return err
	}
	if err := l.finish(x.roster); err != nil {
		return &tailError{err}
	}
	x.kept = seal.Size
	x.audit(s, seal)
	return nil
}

// begins makes sure that the snapshot, the store and the tree agree on entry 0,
// from which all trust comes.
func begins(ctx context.Context, s *store.Store, first []byte, seal ledger.Seal) error {
	for record, err := range s.Records(ctx, 0) {
		if err != nil {
			return err
		}
		if !bytes.Equal(record.Data, first) {
			return errors.New("it begins with another entry than this ledger")
		}
		break
	}
	proof, err := s.Inclusion(ctx, 0, seal.Size)
	if err != nil {
		return err
	}
	return ledger.CheckInclusion(proof, 0, ledger.LeafHash(first), seal.Size, seal.Root)
}

// read reads the file and checks its seal, by the key that is in this data
// folder and that the snapshot's own entries name.
func (x *Snapshots) read(ctx context.Context, s *store.Store, head store.Head) (*roster.Draft, ledger.Seal, error) {
	fail := func(err error) (*roster.Draft, ledger.Seal, error) { return nil, ledger.Seal{}, err }
	f, err := os.Open(x.path)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	epoch, note, length, err := edges(f)
	if err != nil {
		return fail(err)
	}
	genesis, err := s.Genesis(ctx)
	if err != nil {
		return fail(err)
	}
	key, err := x.signer(genesis.TrustDomain, epoch)
	if err != nil {
		return fail(err)
	}
	seal, err := ledger.OpenSeal(note, ledger.Origin(genesis.TrustDomain, epoch), key.Public())
	switch {
	case err != nil:
		return fail(err)
	case seal.Size > head.Size || epoch > head.Epoch:
		return fail(fmt.Errorf("it is of %d entries (epoch %d) and the ledger has %d (epoch %d)", seal.Size, epoch, head.Size, head.Epoch))
	}
	body := newSummer(io.NewSectionReader(f, 0, length))
	draft, err := readBody(body)
	digest := body.sum()
	switch {
	case digest != seal.Digest: // which explains any other fault
		return fail(errors.New("it was changed: its sum is not the one that was signed"))
	case err != nil:
		return fail(err)
	case draft.Size() != seal.Size || draft.Epoch() != epoch:
		return fail(errors.New("it is of another moment than its seal"))
	case !draft.Anchors().LedgerKey.Equal(key.Public()):
		return fail(errors.New("ledger.key is not the key that its entries name"))
	}
	return draft, seal, nil
}

func readBody(from io.Reader) (*roster.Draft, error) {
	if _, err := io.ReadFull(from, make([]byte, len(magic))); err != nil {
		return nil, err
	}
	return roster.ReadSnapshot(from)
}

// edges reads what stands at both ends of the file: the epoch, and the note
// behind so many bytes.
func edges(f *os.File) (epoch uint64, note []byte, length int64, err error) {
	const most = 1024
	short := errors.New("it is cut off")
	info, err := f.Stat()
	if err != nil {
		return 0, nil, 0, err
	}
	begin := make([]byte, len(magic)+16)
	if info.Size() < int64(len(begin))+4 {
		return 0, nil, 0, short
	}
	if _, err := f.ReadAt(begin, 0); err != nil {
		return 0, nil, 0, err
	}
	if string(begin[:len(magic)]) != magic {
		return 0, nil, 0, errors.New("it was not written by this version of postern")
	}
	var last [4]byte
	if _, err := f.ReadAt(last[:], info.Size()-4); err != nil {
		return 0, nil, 0, err
	}
	n := int64(binary.BigEndian.Uint32(last[:]))
	if length = info.Size() - 4 - n; n > most || length < int64(len(begin)) {
		return 0, nil, 0, short
	}
	note = make([]byte, n)
	_, err = f.ReadAt(note, length)
	return binary.BigEndian.Uint64(begin[len(magic)+8:]), note, length, err
}

// audit looks in the background whether the entries before the snapshot are
// those that it was made of. It works a quarter of the time.
func (x *Snapshots) audit(s *store.Store, seal ledger.Seal) {
	ctx, stop := context.WithCancel(context.Background())
	x.stop = stop
	x.working.Go(func() {
		defer stop()
		err := x.look(ctx, s, seal)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			x.roster.Condemn()
			x.log.Error("ledger damaged: nobody is let in", "path", s.Path(), "err", err)
		default:
			x.log.Debug("ledger read in full", "path", s.Path())
		}
	})
}

func (x *Snapshots) look(ctx context.Context, s *store.Store, seal ledger.Seal) error {
	l := loader{ctx: ctx, store: s, size: seal.Size}
	began := time.Now()
	err := l.records(func(record store.Record, leaf ledger.Hash) error {
		l.tree.Add(leaf)
		if l.tree.Size()%chunk != 0 {
			return nil
		}
		select {
		case <-time.After(3 * time.Since(began)):
		case <-ctx.Done():
		}
		began = time.Now()
		return ctx.Err()
	})
	if err == nil && l.tree.Root() != seal.Root {
		err = fmt.Errorf("its first %d entries are not those that the roster was made of: put the folder back from a backup ('postern ledger verify' looks at all of it)", seal.Size)
	}
	return err
}

// Follow is told of every commit, after the roster. Now and then it has a
// snapshot written in the background.
func (x *Snapshots) Follow(head store.Head) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.head = head
	if x.busy || x.closed || head.Size-x.kept < x.due() {
		return
	}
	if moment, ok := x.moment(); ok {
		x.busy = true
		x.working.Go(func() { x.keep(moment, head) })
	}
}

// due is how many entries behind the newest snapshot make another one worth
// its writing, so that a start reads few and writing costs little.
func (x *Snapshots) due() uint64 { return max(x.few, x.head.Size/100) }

// moment returns the roster as it is at x.head.
func (x *Snapshots) moment() (*roster.Snapshot, bool) {
	moment, ok := x.roster.Snapshot()
	return moment, ok && moment.Size() == x.head.Size && moment.Epoch() == x.head.Epoch
}

// keep writes a snapshot. A failure costs the next start some time and nothing
// else.
func (x *Snapshots) keep(moment *roster.Snapshot, head store.Head) {
	err := x.write(moment, head)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.busy = false
	x.kept = head.Size // also after a failure, so that a full disk is not tried at every commit
	if err != nil {
		x.log.Warn("snapshot of the roster not written", "path", x.path, "err", err)
	}
}

func (x *Snapshots) write(moment *roster.Snapshot, head store.Head) error {
	signer, err := x.signer(x.roster.TrustDomain(), head.Epoch)
	if err != nil {
		return err
	}
	if !signer.Public().Equal(x.roster.Anchors().LedgerKey) {
		return errors.New("ledger.key is being exchanged")
	}
	return writeSnapshot(x.path, moment, signer, head)
}

func writeSnapshot(path string, moment *roster.Snapshot, signer *ledger.Signer, head store.Head) error {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) // a crash leaves no more than one
	if err != nil {
		return err
	}
	return replaceWith(path, f, func(w io.Writer) error {
		sum := sha256.New()
		both := io.MultiWriter(w, sum)
		if _, err := io.WriteString(both, magic); err != nil {
			return err
		}
		if err := moment.Write(both); err != nil {
			return err
		}
		note, err := signer.SignSeal(ledger.Seal{Size: head.Size, Root: head.Root, Digest: ledger.Hash(sum.Sum(nil))})
		if err != nil {
			return err
		}
		_, err = w.Write(binary.BigEndian.AppendUint32(note, uint32(len(note))))
		return err
	})
}

// Close ends what goes on in the background, and writes a snapshot when enough
// has happened since the newest one. The store must still be open.
func (x *Snapshots) Close() {
	x.mu.Lock()
	x.closed = true
	x.stop()
	x.mu.Unlock()
	x.working.Wait()
	if x.head.Size >= x.few && x.head.Size-x.kept >= max(1, x.due()/4) {
		if moment, ok := x.moment(); ok {
			x.keep(moment, x.head)
		}
	}
}

// A summer reads from another reader, and sums what was read beside it.
type summer struct {
	from   io.Reader
	hash   hash.Hash
	blocks chan []byte
	free   chan []byte
	done   chan struct{}
}

func newSummer(from io.Reader) *summer {
	s := &summer{from, sha256.New(), make(chan []byte, 4), make(chan []byte, 4), make(chan struct{})}
	for range cap(s.free) {
		s.free <- nil
	}
	go func() {
		defer close(s.done)
		for b := range s.blocks {
			s.hash.Write(b)
			s.free <- b
		}
	}()
	return s
}

// Read reads from the other reader.
func (s *summer) Read(p []byte) (int, error) {
	n, err := s.from.Read(p)
	if n > 0 {
		s.blocks <- append((<-s.free)[:0], p[:n]...)
	}
	return n, err
}

// sum reads the rest and returns the sum of everything, once.
func (s *summer) sum() (h ledger.Hash) {
	io.Copy(io.Discard, onlyReader{s})
	close(s.blocks)
	<-s.done
	s.hash.Sum(h[:0])
	return h
}

type onlyReader struct{ io.Reader }
