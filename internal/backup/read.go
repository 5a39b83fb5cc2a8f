package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/store"
)

// Bounds on a stream, which may come from anywhere.
const (
	maxPart = 32 << 20 // bytes; an entry has 16 MiB at most
	maxKeys = 10_000   // files
	maxFile = 1 << 20  // bytes of a file
)

// Errors that a caller branches on.
var (
	// ErrNoBackup is the error of a stream that is something else.
	ErrNoBackup = errors.New("this is no backup by postern")
	// ErrCutOff is the error of a stream that ends before its end.
	ErrCutOff = errors.New("the backup was cut off: take another copy of it")
	// ErrKeysSealed is the error of a backup whose keys nobody opened.
	ErrKeysSealed = errors.New("the keys in this backup are sealed: name what opens them with --identity or --passphrase-file, or leave them closed with --without-keys")
)

// RestoreOptions say how a data folder is made.
type RestoreOptions struct {
	// Dir is where: a folder that does not hold an authority.
	Dir string
	// Identities open the sealed keys. With none, a backup that has keys is
	// ErrKeysSealed, unless WithoutKeys.
	Identities  []age.Identity
	WithoutKeys bool
	// Check, if set, is shown the manifest before anything is written.
	Check func(Manifest) error
}

// A Restored is what a backup held.
type Restored struct {
	Manifest
	// KeyFiles are the files with private keys that were written.
	KeyFiles []string
}

// Restore makes the files of a data folder below o.Dir from a stream. The
// ledger is made anew entry by entry and checked against its signed checkpoint,
// and the views are made from it. On an error it leaves o.Dir with what it
// wrote: the caller restores into a folder of its own, and moves it.
func Restore(ctx context.Context, from io.Reader, o RestoreOptions) (Restored, error) {
	r := &restoring{RestoreOptions: o, ctx: ctx, tar: tar.NewReader(from), sum: sha256.New()}
	defer func() {
		if r.db != nil {
			r.db.Abandon()
		}
	}()
	for {
		name, data, err := r.next()
		if err != nil {
			return Restored{}, err
		}
		if name == endPart {
			return r.done, r.end(data)
		}
		if err := r.part(name, data); err != nil {
			return Restored{}, err
		}
	}
}

type restoring struct {
	RestoreOptions
	ctx    context.Context
	tar    *tar.Reader
	sum    hash.Hash
	db     *store.Restorer
	done   Restored
	before [sha256.Size]byte // the sum before the last part
}

// next reads one part.
func (r *restoring) next() (name string, data []byte, err error) {
	h, err := r.tar.Next()
	first := r.done.Format == 0
	switch {
	case first && err != nil, first && h.Name != manifestPart:
		return "", nil, ErrNoBackup
	case err != nil:
		return "", nil, ErrCutOff
	case h.Size > maxPart || h.Typeflag != tar.TypeReg || len(h.Name) > 200:
		return "", nil, fmt.Errorf("%w: part %q is none of its parts", ErrNoBackup, h.Name)
	}
	data = make([]byte, h.Size)
	if _, err := io.ReadFull(r.tar, data); err != nil {
		return "", nil, ErrCutOff
	}
	r.sum.Sum(r.before[:0])
	fmt.Fprintf(r.sum, "%d %s %d\n", len(h.Name), h.Name, len(data))
	r.sum.Write(data)
	return h.Name, data, nil
}

func (r *restoring) part(name string, data []byte) error {
	switch {
	case name == manifestPart && r.done.Format == 0:
		return r.manifest(data)
	case strings.HasPrefix(name, publicPart):
		return r.file(strings.TrimPrefix(name, publicPart), data, Public, 0o644)
	case strings.HasPrefix(name, ledgerPart):
		return split(data, func(record []byte) error { return r.db.Entry(r.ctx, record) })
	case strings.HasPrefix(name, copiesPart):
		return split(data, r.copy)
	case name == keysPart:
		return r.keys(data)
	}
	return fmt.Errorf("%w: part %q is none of its parts", ErrNoBackup, name)
}

func (r *restoring) manifest(data []byte) error {
	if err := json.Unmarshal(data, &r.done.Manifest); err != nil || r.done.Format < 1 || len(r.done.Root) != len(ledger.Hash{}) {
		return ErrNoBackup
	}
	if r.done.Format > format {
		return fmt.Errorf("the backup has format %d and this postern reads up to %d: use the postern that wrote it, or a later one", r.done.Format, format)
	}
	if r.Check != nil {
		if err := r.Check(r.done.Manifest); err != nil {
			return err
		}
	}
	if r.done.Manifest.Keys && len(r.Identities) == 0 && !r.WithoutKeys {
		return ErrKeysSealed
	}
	if err := os.MkdirAll(filepath.Join(r.Dir, authority.IssuersFolder), 0o700); err != nil {
		return err
	}
	var err error
	r.db, err = store.NewRestorer(r.ctx, filepath.Join(r.Dir, authority.DatabaseFile))
	return err
}

func (r *restoring) file(name string, data []byte, wanted Treatment, mode os.FileMode) error {
	if TreatmentOf(name) != wanted { // whoever made the backup chooses no paths
		return fmt.Errorf("%w: %q is no file of a data folder", ErrNoBackup, name)
	}
	path := filepath.Join(r.Dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// split calls f for each record of a part.
func split(data []byte, f func([]byte) error) error {
	for len(data) > 0 {
		if len(data) < 4 {
			return ErrCutOff
		}
		n := binary.BigEndian.Uint32(data)
		if data = data[4:]; uint64(n) > uint64(len(data)) {
			return ErrCutOff
		}
		if err := f(data[:n]); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

func (r *restoring) copy(record []byte) error {
	if len(record) < len(ledger.Hash{})+1 {
		return ErrCutOff
	}
	c := store.Copy{TBS: ledger.Hash(record[:32])}
	if data := record[33:]; record[32] == 1 {
		c.DER = data
	} else {
		c.Raw = data
	}
	return r.db.Copy(r.ctx, c)
}

// keys opens the sealed private files.
func (r *restoring) keys(sealed []byte) error {
	if len(r.Identities) == 0 {
		return nil // WithoutKeys
	}
	opened, err := age.Decrypt(bytes.NewReader(sealed), r.Identities...)
	if err != nil {
		return fmt.Errorf("the keys in this backup do not open with that: %w", err)
	}
	inner := tar.NewReader(opened)
	for range maxKeys {
		h, err := inner.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil || h.Size > maxFile || h.Typeflag != tar.TypeReg {
			return fmt.Errorf("%w: its sealed keys cannot be read", ErrNoBackup)
		}
		data, err := io.ReadAll(inner)
		if err == nil {
			err = r.file(h.Name, data, Secret, 0o600)
		}
		clear(data)
		if err != nil {
			return err
		}
		r.done.KeyFiles = append(r.done.KeyFiles, h.Name)
	}
	return fmt.Errorf("%w: it holds more than %d keys", ErrNoBackup, maxKeys)
}

// end compares the sum of all parts and closes the database.
func (r *restoring) end(sum []byte) error {
	if hex.EncodeToString(r.before[:]) != string(sum) {
		return errors.New("the backup is damaged: its parts do not have the sum that was written last: take another copy of it")
	}
	return r.db.Finish(r.ctx, store.Head{Epoch: r.done.Epoch, Size: r.done.Size, Root: ledger.Hash(r.done.Root), Note: r.done.Note})
}
