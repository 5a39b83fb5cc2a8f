package gateway

import (
	lru "container/list"
	"sync"
	"time"
)

// A contentCache keeps the files used last within a budget. It is safe for
// concurrent use.
type contentCache struct {
	budget int64
	trust  time.Duration // for how long a file that was looked at is not again

	mu      sync.Mutex // guards what follows
	entries map[string]*lru.Element
	order   *lru.List // of *cached, the one used last in front
	used    int64
	loading map[loadKey]*loadCall
}

type cached struct {
	name    string
	content *content
	checked time.Time // when it was last seen to be what the file is
}

type loadKey struct {
	name  string
	stamp stamp
}

// A loadCall is a read that others wait for as well.
type loadCall struct {
	begun   time.Time
	done    chan struct{}
	content *content
	err     error
}

func newContentCache(budget int64) *contentCache {
	return &contentCache{budget: budget, trust: fileCheck, entries: map[string]*lru.Element{}, order: lru.New(), loading: map[loadKey]*loadCall{}}
}

// fileCheck is how often a file in memory is compared with the one on disk
// while it is asked for.
const fileCheck = time.Second

// recent returns the file of that name if it was looked at a moment ago.
func (c *contentCache) recent(name string, now time.Time) *content {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[name]
	if !ok {
		return nil
	}
	entry := e.Value.(*cached)
	if entry.content.fresh || now.Sub(entry.checked) >= c.trust {
		return nil
	}
	c.order.MoveToFront(e)
	return entry.content
}

// content returns the file of that name in the state of now, from memory or
// by read, which runs once for all who ask at the same time.
func (c *contentCache) content(name string, now stamp, read func() (*content, error)) (*content, error) {
	c.mu.Lock()
	if e, ok := c.entries[name]; ok {
		entry := e.Value.(*cached)
		if kept := entry.content; kept.stamp == now && !kept.fresh {
			entry.checked = time.Now()
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
	call := &loadCall{begun: time.Now(), done: make(chan struct{}), err: errUnsettled}
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
	c.entries[key.name] = c.order.PushFront(&cached{key.name, call.content, call.begun})
	for c.used > c.budget {
		c.drop(c.order.Back())
	}
}

func (c *contentCache) drop(e *lru.Element) {
	entry := c.order.Remove(e).(*cached)
	delete(c.entries, entry.name)
	c.used -= entry.content.cost()
}
