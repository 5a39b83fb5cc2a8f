package upstream

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"
)

// A taking watches over a body on its way to an application that speaks HTTP/2.
// One that opens no window blocks nothing on the wire, where the write timeout
// would notice, and the standard library's client waits for it for ever.
type taking struct {
	limit  time.Duration      // how long the application may take none of it
	ctx    context.Context    // of the request; nil for one without a body
	cancel context.CancelFunc // ends it
	since  atomic.Int64       // when the piece under way was handed over, ns since 1970; 0 for none
	none   atomic.Bool        // nothing was taken for too long

	mu    sync.Mutex // guards what follows
	timer *time.Timer
	over  func() bool // calls off what the end of the request would do; may be nil
	ended bool
}

// pieceSize is the most of a body that is handed over at once, in bytes: an
// application that takes less in the time of a write is one that takes nothing.
const pieceSize = 16 << 10

// watch returns a request whose body is watched until stop is called. It stands
// for r on the way out.
func (t *taking) watch(r *http.Request, limit time.Duration) (out *http.Request, stop func()) {
	ctx, cancel := context.WithCancel(r.Context())
	t.limit, t.cancel = limit, cancel
	// the piece that ends a body is followed by no Read
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { t.taken() }})
	t.ctx = ctx
	t.mu.Lock()
	defer t.mu.Unlock()
	t.timer = time.AfterFunc(limit, t.look)
	return r.WithContext(ctx), t.stop
}

// answered has the end of the request end the answer as well. Once an answer has
// begun, the standard library's client waits for room without a look at the
// request's context.
func (t *taking) answered(answer io.Closer) {
	if t.ctx == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = context.AfterFunc(t.ctx, func() { answer.Close() })
}

func (t *taking) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	t.timer.Stop()
	if t.over != nil {
		t.over()
	}
	t.cancel()
}

// handed notes that there is something to take, and taken that all of it was.
func (t *taking) handed() { t.since.Store(time.Now().UnixNano()) }
func (t *taking) taken()  { t.since.Store(0) }

// look ends the request when a piece has not been taken for too long.
func (t *taking) look() {
	t.mu.Lock()
	defer t.mu.Unlock()
	since := t.since.Load()
	switch {
	case t.ended:
	case since == 0 || time.Since(time.Unix(0, since)) < t.limit:
		t.timer.Reset(t.limit / 4)
	default:
		t.none.Store(true)
		t.cancel()
	}
}

// detail says for the operator what the application did.
func (t *taking) detail(address string) string {
	return fmt.Sprintf("%s: it took nothing of the request's body for %v", address, t.limit)
}
