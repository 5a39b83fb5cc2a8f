package gateway

import (
	lru "container/list"
	"sync"
)

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
