// Package backup writes a data folder into one stream while it is in use, and
// makes a data folder from one. The stream holds the ledger, what is kept of
// certificates, and the public files; private keys only when asked for, and
// then sealed. TreatmentOf knows every kind of file.
package backup

import (
	"archive/tar"
	"bufio"
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
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"filippo.io/age"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/store"
)

// format is the version of the stream. A reader refuses newer ones.
const format = 1

// The parts of a stream, in their order.
const (
	manifestPart = "postern-backup.json"
	publicPart   = "files/"
	ledgerPart   = "ledger/"
	copiesPart   = "certificates/"
	keysPart     = "keys.tar.age"
	endPart      = "end"
)

// chunk is about how many bytes of records one part holds.
const chunk = 1 << 20

// A Manifest says what a stream holds. It is not believed: the ledger's own
// signatures are.
type Manifest struct {
	Format      int       `json:"format"`
	TrustDomain string    `json:"trust_domain"`
	Created     time.Time `json:"created"`
	Epoch       uint64    `json:"epoch"`
	Size        uint64    `json:"size"`
	Root        []byte    `json:"root"`
	Note        []byte    `json:"note"` // the signed checkpoint
	Keys        bool      `json:"keys"` // sealed keys are in it
}

// Options say what is backed up.
type Options struct {
	// Dir is the data folder.
	Dir string
	// Recipients open the private keys, which are left out when there are none.
	Recipients []age.Recipient
	Now        time.Time
}

// Write writes a backup of one moment of the data folder to w, which may be in
// use by a server.
func Write(ctx context.Context, w io.Writer, o Options) (Manifest, error) {
	s, err := store.Open(ctx, filepath.Join(o.Dir, authority.DatabaseFile), store.Options{})
	if err != nil {
		return Manifest{}, err
	}
	defer s.Close()
	buffered := bufio.NewWriterSize(w, 1<<16)
	var m Manifest
	err = s.Snapshot(ctx, func(snap store.Snapshot) error {
		out := &writer{tar: tar.NewWriter(buffered), sum: sha256.New(), at: o.Now}
		if m, err = out.manifest(ctx, snap, o); err != nil {
			return err
		}
		return out.all(ctx, snap, o)
	})
	if err != nil {
		return Manifest{}, err
	}
	return m, buffered.Flush()
}

// A writer writes parts and sums them up.
type writer struct {
	tar *tar.Writer
	sum hash.Hash
	at  time.Time
}

func (w *writer) part(name string, data []byte) error {
	fmt.Fprintf(w.sum, "%d %s %d\n", len(name), name, len(data))
	w.sum.Write(data)
	if err := w.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(data)), ModTime: w.at.Truncate(time.Second), Format: tar.FormatUSTAR}); err != nil {
		return err
	}
	_, err := w.tar.Write(data)
	return err
}

func (w *writer) manifest(ctx context.Context, snap store.Snapshot, o Options) (Manifest, error) {
	head, err := snap.Head(ctx)
	if err != nil {
		return Manifest{}, err
	}
	genesis, err := snap.Genesis(ctx)
	if err != nil {
		return Manifest{}, err
	}
	m := Manifest{
		Format: format, TrustDomain: genesis.TrustDomain.String(), Created: o.Now.UTC(), Epoch: head.Epoch, Size: head.Size,
		Root: head.Root[:], Note: head.Note, Keys: len(o.Recipients) > 0,
	}
	data, err := json.Marshal(m)
	if err != nil {
		return Manifest{}, err
	}
	return m, w.part(manifestPart, data)
}

func (w *writer) all(ctx context.Context, snap store.Snapshot, o Options) error {
	if err := w.publicFiles(o.Dir); err != nil {
		return err
	}
	ledger := chunks{w: w, part: ledgerPart}
	for r, err := range snap.Records(ctx, 0) {
		if err != nil {
			return err
		}
		if err := ledger.add(r.Data); err != nil {
			return err
		}
	}
	if err := ledger.flush(); err != nil {
		return err
	}
	copies := chunks{w: w, part: copiesPart}
	for c, err := range snap.Copies(ctx) {
		if err != nil {
			return err
		}
		if err := copies.add(encodeCopy(c)); err != nil {
			return err
		}
	}
	if err := copies.flush(); err != nil {
		return err
	}
	if len(o.Recipients) > 0 {
		if err := w.keys(o); err != nil {
			return err
		}
	}
	if err := w.part(endPart, []byte(hex.EncodeToString(w.sum.Sum(nil)))); err != nil {
		return err
	}
	return w.tar.Close()
}

// encodeCopy writes what is kept of a certificate: its hash, whether it is
// signed, and the bytes.
func encodeCopy(c store.Copy) []byte {
	signed, data := byte(0), c.Raw
	if c.DER != nil {
		signed, data = 1, c.DER
	}
	return append(append(c.TBS[:], signed), data...)
}

// chunks gathers records, each with its length before it, into parts.
type chunks struct {
	w    *writer
	part string
	n    int
	buf  bytes.Buffer
}

func (c *chunks) add(record []byte) error {
	c.buf.Write(binary.BigEndian.AppendUint32(nil, uint32(len(record))))
	c.buf.Write(record)
	if c.buf.Len() < chunk {
		return nil
	}
	return c.flush()
}

func (c *chunks) flush() error {
	if c.buf.Len() == 0 {
		return nil
	}
	err := c.w.part(fmt.Sprintf("%s%08d", c.part, c.n), c.buf.Bytes())
	c.n++
	c.buf.Reset()
	return err
}

// publicFiles writes what everybody may read.
func (w *writer) publicFiles(dir string) error {
	names, err := filesOf(dir, Public)
	if err != nil {
		return err
	}
	if !slices.Contains(names, authority.RootFile) {
		return fmt.Errorf("%s is not in the data folder, and a backup without it is of no use: 'postern up' writes it again", authority.RootFile)
	}
	for _, name := range names {
		data, err := read(dir, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // answered, or retired, in the meantime
		}
		if err != nil {
			return err
		}
		if err := w.part(publicPart+name, data); err != nil {
			return err
		}
	}
	return nil
}

// read reads a file of a data folder that a backup can bring back.
func read(dir, name string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s has %d bytes, and a backup holds files of %d at most", name, len(data), maxFile)
	}
	return data, err
}

// keys seals the private files into one part. They are small, and touch no
// disk on the way.
func (w *writer) keys(o Options) error {
	names, err := filesOf(o.Dir, Secret)
	if err != nil {
		return err
	}
	if len(names) > maxKeys {
		return fmt.Errorf("the data folder has %d files with keys, and a backup holds %d at most", len(names), maxKeys)
	}
	var sealed bytes.Buffer
	seal, err := age.Encrypt(&sealed, o.Recipients...)
	if err != nil {
		return fmt.Errorf("seal the keys: %w", err)
	}
	inner := tar.NewWriter(seal)
	for _, name := range names {
		data, err := read(o.Dir, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		err = inner.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(data)), ModTime: o.Now.Truncate(time.Second), Format: tar.FormatUSTAR})
		if err == nil {
			_, err = inner.Write(data)
		}
		clear(data)
		if err != nil {
			return err
		}
	}
	if err := errors.Join(inner.Close(), seal.Close()); err != nil {
		return err
	}
	if sealed.Len() > maxPart {
		return fmt.Errorf("the keys take %d bytes, and a backup holds %d at most", sealed.Len(), maxPart)
	}
	return w.part(keysPart, sealed.Bytes())
}
