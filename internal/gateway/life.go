package gateway

import (
	"context"
	"sync"
)

// A life is the context of one request at a desk. It does what
// context.WithCancel does, for next to nothing where nobody asks. Values are
// those of the connection's context, and so is the cause of its end.
type life struct {
	context.Context // of the connection
	exchange        *exchange

	mu   sync.Mutex // guards what follows
	done chan struct{}
	err  error
	last *ending
}

// An ending is what is to be called at the end of a life.
type ending struct {
	of     *life
	call   func()
	before *ending
}

// Value returns the exchange, or a value of the connection.
func (l *life) Value(key any) any {
	if _, ok := key.(exchangeKey); ok {
		return l.exchange
	}
	return l.Context.Value(key)
}

// Done returns a channel that is closed at the end.
func (l *life) Done() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done == nil {
		l.done = make(chan struct{})
		if l.err != nil {
			close(l.done)
		}
	}
	return l.done
}

// Err returns context.Canceled after the end.
func (l *life) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// AfterFunc has f called in a goroutine of its own at the end. stop reports
// whether it has kept that from happening. The context package looks for this.
func (l *life) AfterFunc(f func()) (stop func() bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		go f()
		return func() bool { return false }
	}
	l.last = &ending{l, f, l.last}
	return l.last.stop
}

func (e *ending) stop() bool {
	l := e.of
	l.mu.Lock()
	defer l.mu.Unlock()
	for at := &l.last; *at != nil; at = &(*at).before {
		if *at == e {
			*at = e.before
			return true
		}
	}
	return false
}

// end ends the life. It may be called more than once.
func (l *life) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	l.err = context.Canceled
	if l.done != nil {
		close(l.done)
	}
	for e := l.last; e != nil; e = e.before {
		go e.call()
	}
	l.last = nil
}
