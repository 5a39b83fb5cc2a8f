package gateway

import (
	"bytes"
	lru "container/list"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"sync"
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

// A contentCache keeps the files used last within a budget. It is safe for
// concurrent use.
type contentCache struct {
	budget int64

	mu      sync.Mutex // guards what follows
	entries map[string]*lru.Element
	order   *lru.List // of *cached, the one used last in front
	used    int64
	loading map[loadKey]*loadCall
}

type cached struct {
	name    string
	content *content
}

type loadKey struct {
	name  string
	stamp stamp
}

// A loadCall is a read that others wait for as well.
type loadCall struct {
	done    chan struct{}
	content *content
	err     error
}

func newContentCache(budget int64) *contentCache {
	return &contentCache{budget: budget, entries: map[string]*lru.Element{}, order: lru.New(), loading: map[loadKey]*loadCall{}}
}

// content returns the file of that name in the state of now, from memory or
// by read, which runs once for all who ask at the same time.
func (c *contentCache) content(name string, now stamp, read func() (*content, error)) (*content, error) {
	c.mu.Lock()
	if e, ok := c.entries[name]; ok {
		if kept := e.Value.(*cached).content; kept.stamp == now && !kept.fresh {
			c.order.MoveToFront(e)
			c.mu.Unlock()
			return kept, nil
		}
	}
	key := loadKey{name, now}
	if call, ok := c.loading[key]; ok {
		c.mu.Unlock()
		<-call.done
		return call.content, call.err
	}
	call := &loadCall{done: make(chan struct{}), err: errUnsettled}
	c.loading[key] = call
	c.mu.Unlock()
	defer c.finish(key, call)
	call.content, call.err = read()
	return call.content, call.err
}

// finish tells who waits, and keeps what was read.
func (c *contentCache) finish(key loadKey, call *loadCall) {
	close(call.done)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.loading, key)
	if e, ok := c.entries[key.name]; ok {
		c.drop(e)
	}
	if call.content == nil || call.content.cost() > c.budget {
		return
	}
	c.used += call.content.cost()
	c.entries[key.name] = c.order.PushFront(&cached{key.name, call.content})
	for c.used > c.budget {
		c.drop(c.order.Back())
	}
}

func (c *contentCache) drop(e *lru.Element) {
	entry := c.order.Remove(e).(*cached)
	delete(c.entries, entry.name)
	c.used -= entry.content.cost()
}
