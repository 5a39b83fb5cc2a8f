package gateway

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/klauspost/compress/gzip"
)

// Bounds of what is kept in memory, in bytes: a site's whole budget, a file
// worth compressing, any other file.
const (
	cacheBudget = 32 << 20
	keepText    = 2 << 20
	keepOther   = 64 << 10
	worthGzip   = 512 // smaller answers fit into a packet anyway
	entryCost   = 512 // the book-keeping of one entry
)

// How file systems tell time: the step of the kernel's clock, with room, and
// the coarsest unit that a time is stored in. A file that does not rest for
// that long is looked at settleTries times.
const (
	settled      = 50 * time.Millisecond
	trustedAfter = 2 * time.Second
	settleTries  = 8
)

// errUnsettled means that a file does not stop changing.
var errUnsettled = errors.New("the file is being written")

// A stamp tells one state of a file from another. Stamps compare with ==.
type stamp struct {
	size, mtime, ctime int64 // times in nanoseconds since 1970
	inode              uint64
}

func (s stamp) modified() time.Time { return time.Unix(0, s.mtime) }

// etag is the strong validator of a file too large to be hashed.
func (s stamp) etag() string {
	b := append(make([]byte, 0, 72), '"')
	for i, n := range [...]int64{s.size, s.mtime, s.ctime, int64(s.inode)} {
		if i > 0 {
			b = append(b, '-')
		}
		b = strconv.AppendUint(b, uint64(n), 36)
	}
	return string(append(b, '"'))
}

// fresh reports whether the file changed so lately, by a clock that is up to
// that coarse, that a further change might leave its stamp as it is. Times far
// in the future were set by somebody and say nothing.
func (s stamp) fresh(now time.Time, clock time.Duration) bool {
	for _, t := range [...]int64{s.mtime, s.ctime} {
		if age := time.Duration(now.UnixNano() - t); -clock < age && age < clock {
			return true
		}
	}
	return false
}

// A variant is one encoding of a file, with its header fields ready to send.
type variant struct {
	bytes  []byte
	etag   []string
	length []string
}

func newVariant(b []byte) *variant {
	sum := sha256.Sum256(b)
	return &variant{
		bytes:  b,
		etag:   []string{`"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`},
		length: []string{strconv.Itoa(len(b))},
	}
}

// content is one state of a small file. It is never changed.
type content struct {
	stamp    stamp
	fresh    bool // too young to be served again without reading
	plain    *variant
	gzip     *variant // nil when compressing does not pay
	modified []string
}

func (c *content) cost() int64 {
	n := int64(entryCost + len(c.plain.bytes))
	if c.gzip != nil {
		n += int64(len(c.gzip.bytes))
	}
	return n
}

// load reads a small file in one state. It returns nil when the file is no
// longer small.
func load(root *os.Root, name string, kind mediaType) (*content, error) {
	f, info, err := openRegular(root, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info.Size() > kind.keep() {
		return nil, nil
	}
	data, at, err := readSteady(f, info)
	if err != nil {
		return nil, err
	}
	c := &content{
		stamp: at, fresh: at.fresh(time.Now(), trustedAfter), plain: newVariant(data),
		modified: []string{at.modified().UTC().Format(http.TimeFormat)},
	}
	if kind.text && len(data) >= worthGzip {
		if packed := compress(data); len(packed) < len(data)*9/10 {
			c.gzip = newVariant(packed)
		}
	}
	return c, nil
}

// readSteady reads f until it was one and the same before and after, long
// enough after its last change for the file system's clock to tell.
func readSteady(f *os.File, info fs.FileInfo) ([]byte, stamp, error) {
	for range settleTries {
		before := stampOf(info)
		data := make([]byte, before.size)
		n, err := f.ReadAt(data, 0)
		if err != nil && err != io.EOF {
			return nil, stamp{}, err
		}
		young := before.fresh(time.Now(), settled)
		if info, err = f.Stat(); err != nil {
			return nil, stamp{}, err
		}
		if after := stampOf(info); after == before && int64(n) == before.size && !young {
			return data, after, nil
		}
		if info.Size() > keepText {
			return nil, stamp{}, errUnsettled
		}
		time.Sleep(settled / 2)
		if info, err = f.Stat(); err != nil {
			return nil, stamp{}, err
		}
	}
	return nil, stamp{}, errUnsettled
}

// settle waits until the last change of f is long enough ago for the file
// system's clock to tell it from another.
func settle(f *os.File, info fs.FileInfo) (stamp, error) {
	for range settleTries {
		at := stampOf(info)
		if !at.fresh(time.Now(), settled) {
			return at, nil
		}
		time.Sleep(settled)
		var err error
		if info, err = f.Stat(); err != nil {
			return stamp{}, err
		}
	}
	return stamp{}, errUnsettled
}

func compress(data []byte) []byte {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.DefaultCompression)
	if err != nil {
		return data // no such level: nothing gained
	}
	w.Write(data) // a bytes.Buffer takes everything
	w.Close()
	return b.Bytes()
}
