package gateway

import (
	"errors"
	"os"
	"sync"
	"time"
)

// watchAfter is how long a request takes before anybody looks whether its
// client is still there.
const watchAfter = 20 * time.Millisecond

// A watch notices a client that leaves while its request takes long, by
// reading on at its desk. Whoever answers the request calls begin and end.
type watch struct {
	timer *time.Timer

	mu      sync.Mutex // guards what follows
	running bool       // a request is being answered
	life    *life
	looking chan struct{} // closed when the look has ended; nil when there was none
	read    []byte        // by it
	gone    bool
}

// begin watches over a request, and ends its life when the client is
// gone.
func (w *watch) begin(d *desk, l *life) {
	w.mu.Lock()
	w.running, w.life, w.gone = true, l, false
	w.mu.Unlock()
	if w.timer == nil {
		w.timer = time.AfterFunc(watchAfter, func() { w.look(d) })
		return
	}
	w.timer.Reset(watchAfter)
}

// end ends that, puts what was read where it belongs, and reports whether the
// client is still there.
func (w *watch) end(d *desk) bool {
	w.timer.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running, w.life = false, nil
	if looking := w.looking; looking != nil {
		d.tls.SetReadDeadline(time.Unix(1, 0))
		d.readBy = time.Time{}
		w.mu.Unlock()
		<-looking
		w.mu.Lock()
		d.push(w.read)
		w.looking, w.read = nil, nil
	}
	return !w.gone
}

// look waits for a byte of the next request, or the end.
func (w *watch) look(d *desk) {
	w.mu.Lock()
	if !w.running || w.looking != nil {
		w.mu.Unlock()
		return
	}
	ended := make(chan struct{})
	defer close(ended)
	w.looking = ended
	t := d.tls
	t.SetReadDeadline(time.Time{})
	w.mu.Unlock()
	var b [1]byte
	n, err := t.Read(b[:])
	w.mu.Lock()
	defer w.mu.Unlock()
	w.read = b[:n]
	if n == 0 && !errors.Is(err, os.ErrDeadlineExceeded) {
		w.gone = true
		if w.life != nil {
			w.life.end()
		}
	}
}
