package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"os"
	"time"

	"github.com/postern-project/postern/internal/http1"
)

// A desk is where the plain requests of one HTTP/1.1 connection are read and
// answered, in one goroutine. The first request that is not plain, and all
// that follow it, are left to the HTTP server, with what was read of it.
type desk struct {
	listener *listener
	conn     *conn
	tls      *tls.Conn
	state    *tls.ConnectionState
	ctx      context.Context // of the requests
	remote   string

	in     [http1.MaxHead]byte // in[r:w] was read and not yet used
	r, w   int
	ahead  bool // the last of it is the beginning of what was sent while a request took long
	answer *http1.Answer
	watch  watch
	readBy time.Time // the deadline in force; zero when there is none or it is not known
}

// What comes next on a connection.
type next int

const (
	request next = iota
	rest
	over
)

// plainly reports whether requests on c may be read at a desk.
func (l *listener) plainly(c *conn, state tls.ConnectionState) bool {
	return !l.g.table.Load().standardReader && state.NegotiatedProtocol != "h2" && c.watchable()
}

// attend answers what comes on a connection, until it ends, is parked, or is
// left to the HTTP server.
func (l *listener) attend(c *conn, t *tls.Conn, state *tls.ConnectionState) {
	l.attending.Add(1)
	defer l.attending.Add(-1)
	c.attended.Store(true)
	d := l.desk(c, t, state)
	left, end := d.run()
	c.attended.Store(false)
	d.leave()
	switch {
	case left != nil:
		t.SetReadDeadline(time.Time{})
		if !l.inner.give(&seat{Conn: t, c: c, state: state, early: left}) {
			t.Close()
		}
	case !end.IsZero():
		go l.park(c, t, state, end)
	}
}

// desk returns an empty one for a connection.
func (l *listener) desk(c *conn, t *tls.Conn, state *tls.ConnectionState) *desk {
	d, ok := l.desks.Get().(*desk)
	if !ok {
		d = new(desk)
		d.answer = http1.NewAnswer(d.closing, d.behind, d.follows)
	}
	ctx := context.WithValue(context.Background(), http.ServerContextKey, l.server)
	ctx = context.WithValue(ctx, http.LocalAddrContextKey, c.LocalAddr())
	d.listener, d.conn, d.tls, d.state, d.ctx, d.remote = l, c, t, state, c.attach(ctx), c.RemoteAddr().String()
	d.r, d.w, d.ahead, d.readBy = 0, 0, false, time.Time{}
	return d
}

// leave gives the desk to the next one.
func (d *desk) leave() {
	l := d.listener
	d.listener, d.conn, d.tls, d.state, d.ctx = nil, nil, nil, nil, nil
	d.answer.Begin(nil)
	l.desks.Put(d)
}

// run answers requests. It returns what was read of one that is not plain, or
// the time until which the connection may rest; neither when it has ended or
// belongs to somebody else.
func (d *desk) run() (left []byte, until time.Time) {
	for first := true; ; first = false {
		if d.r == d.w || d.ahead {
			what, end := d.await(first || d.ahead)
			switch what {
			case rest:
				return nil, end
			case over:
				d.tls.Close()
				return nil, time.Time{}
			}
		}
		r, n, ok := http1.Parse(d.in[d.r:d.w])
		if !ok {
			return append([]byte(nil), d.in[d.r:d.w]...), time.Time{}
		}
		d.r += n
		more := d.serve(r)
		switch {
		case d.answer.Taken():
			return nil, time.Time{}
		case !more:
			d.tls.Close()
			return nil, time.Time{}
		}
	}
}

// await reads until something has come: of the first request, or of one that
// has begun, for as long as a header may take, and else until the connection is
// to be parked or its time is over.
func (d *desk) await(first bool) (what next, end time.Time) {
	d.compact()
	d.ahead = false
	if d.w == len(d.in) {
		return request, end
	}
	limits := &d.listener.g.limits
	now := time.Now()
	until, slack := now.Add(limits.Header), time.Duration(0)
	if !first {
		end = now.Add(limits.Idle)
		until, slack = now.Add(parkAfter), parkAfter/2
		if end.Before(until.Add(slack)) {
			until, slack = end, 0
		}
	}
	if d.readBy.Before(until) || d.readBy.After(until.Add(slack)) {
		d.readBy = until.Add(slack)
		d.tls.SetReadDeadline(d.readBy)
	}
	if d.listener.inner.ended() { // looked at last: from here on it ends the read
		return over, end
	}
	n, err := d.tls.Read(d.in[d.w:])
	d.w += n
	switch {
	case n > 0:
		return request, end
	case err == nil:
		return d.await(first) // a record without content
	case !first && until.Before(end) && errors.Is(err, os.ErrDeadlineExceeded) && !time.Now().Before(until):
		return rest, end
	}
	return over, end
}

// serve answers one request, and reports whether another may follow.
func (d *desk) serve(r *http.Request) (more bool) {
	r.RemoteAddr, r.TLS = d.remote, d.state
	l := &life{Context: d.ctx}
	d.conn.live(l)
	d.answer.Begin(d.tls)
	d.watch.begin(d, l)
	defer func() {
		p := recover() // http.ErrAbortHandler: an answer that cannot be finished is broken off
		d.conn.live(nil)
		l.end()
		more = d.watch.end(d) && more && p == nil
	}()
	d.listener.g.answer(l, d.conn, d.answer, r)
	l.end()
	if d.answer.Taken() {
		return false
	}
	more, _ = d.answer.End()
	return more
}

// closing reports whether connections end with the answer under way.
func (d *desk) closing() bool { return d.listener.inner.ended() }

// follows says whether more of an answer follows each write at once.
func (d *desk) follows(more bool) { d.conn.follows(more) }

// push puts what was read ahead behind what is in the buffer, in which the
// request under way has left room.
func (d *desk) push(b []byte) {
	if d.w+len(b) > len(d.in) {
		d.compact()
	}
	d.w += copy(d.in[d.w:], b)
	d.ahead = d.ahead || len(b) > 0
}

func (d *desk) compact() {
	d.w = copy(d.in[:], d.in[d.r:d.w])
	d.r = 0
}

// behind hands over what was read of the next request.
func (d *desk) behind() []byte {
	d.watch.end(d)
	left := d.in[d.r:d.w]
	d.r = d.w
	return left
}
