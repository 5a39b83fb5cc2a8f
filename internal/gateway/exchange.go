package gateway

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/postern-project/postern/internal/refusal"
)

// An exchange is one request and its answer: what the access log tells.
type exchange struct {
	http.ResponseWriter
	g       *Gateway
	conn    *conn
	request *http.Request
	path    string // as it was received, without the query
	door    *door
	start   time.Time
	client  Client
	errand  errand
	way     *way // nil until it is known
	holds   []hold

	stranger bool // one of those that are counted

	secret bool   // the path held a token
	lead   string // what stood before the path, with a token in it that may be one

	hastened bool  // a part of the answer was to be sent at once
	stuck    stuck // of the answer
	coming   stuck // of the request's body

	given http.Header // all that a server said which asks about another's request

	status    int // 0 until the answer began
	bytes     int64
	code      refusal.Code
	would     refusal.Code // in audit mode: what would have been refused
	reference refusal.Reference
	detail    string
	stalled   atomic.Bool // nothing of the body came for too long while it was waited for
}

func (g *Gateway) newExchange(ctx context.Context, c *conn, w http.ResponseWriter, r *http.Request) (*exchange, *http.Request) {
	x := &exchange{ResponseWriter: w, g: g, conn: c, path: redacted(r.URL.Path), start: g.now(), errand: errand{method: r.Method, path: r.URL.Path}}
	if l, ok := ctx.(*life); ok {
		l.exchange = x
	} else {
		ctx = context.WithValue(ctx, exchangeKey{}, x)
	}
	x.request = r.WithContext(ctx)
	return x, x.request
}

// identify writes the gateway's own header fields for whoever is behind it.
func (x *exchange) identify(h http.Header, host string) {
	var name, serial string
	switch {
	case x.client.Token != "":
		name = x.client.Name.String()
	case !x.client.IsZero():
		name, serial = x.conn.spokeFor()
	}
	setIdentity(h, name, serial, x.request.RemoteAddr, host)
	setPartner(h, x.client.Partner)
}

// greet tells of the first request that the connection's certificate opened
// the door for.
func (x *exchange) greet() {
	if visited := x.g.options.Visited; visited != nil && !x.conn.greeted.Load() && !x.conn.greeted.Swap(true) {
		visited(x.client, x.conn.host)
	}
}

// hurry bounds how long the rest of the request may take to arrive, so that
// nobody keeps a connection by announcing a body. The server lifts the bound
// before the next request.
func (x *exchange) hurry(limit time.Duration) {
	if x.request.Body == nil || x.request.Body == http.NoBody {
		return
	}
	http.NewResponseController(x.ResponseWriter).SetReadDeadline(time.Now().Add(limit))
}

// known reports whether the certificate that was shown is good right now, for
// whatever site.
func (x *exchange) known() bool {
	return !x.client.IsZero() || x.g.recognise(x.conn, x.g.now()).code == ""
}

// end writes the exchange down. It is deferred, and keeps a panic in the
// handler to this request.
func (x *exchange) end() {
	p := recover()
	x.conn.lay(&x.errand)
	x.release()
	x.dismissStranger()
	x.calm()
	x.stuck.over()
	x.coming.over()
	if p != nil && p != http.ErrAbortHandler {
		x.g.log.Error("handler panicked", "site", x.conn.host, "path", clip(x.path), "panic", p, "stack", string(debug.Stack()))
		if x.status == 0 {
			x.Header().Set("Connection", "close")
			http.Error(x, "internal error", http.StatusInternalServerError)
			p = nil
		}
	}
	if x.stalled.Load() && x.status == 0 && x.code == "" {
		code, detail := x.instead(refusal.UpstreamDown, "")
		x.refuse(x.request, code, detail)
		p = nil
	}
	if x.conn.silent.Load() {
		p = http.ErrAbortHandler // half an answer is not to look like a whole one
	}
	if x.status == 0 && p == nil {
		x.dress()
		x.status = http.StatusOK // net/http answers so for a handler that wrote nothing
	}
	x.count()
	known := x.known()
	x.record(known)
	x.g.crowd.rest(x.conn, known)
	if p != nil {
		if !x.request.ProtoAtLeast(1, 1) {
			breakOff(x.conn) // the end of TLS would be that of the answer
		}
		panic(http.ErrAbortHandler) // the answer cannot be finished: net/http breaks it off
	}
}

func (x *exchange) count() {
	if x.door == nil {
		return
	}
	if i := x.status / 100; i < len(x.door.served) && x.door.served[i] != nil {
		x.door.served[i].Inc()
	}
}

// record writes the line of the access log. Of strangers' lines, which anybody
// can cause, there is a bounded number.
func (x *exchange) record(known bool) {
	level, message := slog.LevelInfo, "request served"
	switch {
	case x.code != "" && refusal.Lookup(x.code).Alarm:
		level, message = slog.LevelError, "forged certificate refused: an issuer's key is in strange hands"
	case x.code != "":
		message = "request refused"
	}
	if !x.g.log.Enabled(context.Background(), level) {
		return
	}
	name, serial := x.conn.spokeFor()
	attrs := make([]slog.Attr, 0, 16)
	attrs = append(attrs,
		slog.String("site", x.conn.host))
	switch {
	case x.client.Token != "":
		attrs = append(attrs, slog.String("id", x.client.Name.String()), slog.String("via", "token "+x.client.Token))
	case name != "":
		attrs = append(attrs, slog.String("id", name), slog.String("serial", serial))
	}
	attrs = append(attrs, partnerAttrs(x.client.Partner)...)
	if x.way != nil && x.way.match != "" {
		attrs = append(attrs, slog.String("route", x.way.match))
	}
	if x.conn.wire() != nil {
		attrs = append(attrs, slog.String("protocol", "h3"))
	}
	if len(x.errand.headers) > 0 {
		attrs = append(attrs, loggable(x.errand.headers))
	}
	attrs = append(attrs, slog.String("address", x.request.RemoteAddr), slog.String("method", clip(x.request.Method)),
		slog.String("path", clip(x.path)), slog.Int("status", x.status), slog.Int64("bytes", x.bytes),
		slog.Duration("took", x.g.now().Sub(x.start)))
	if x.code != "" {
		attrs = append(attrs, slog.String("code", string(x.code)), slog.String("reference", x.reference.String()))
		if x.detail != "" {
			attrs = append(attrs, slog.String("detail", clipTo(x.detail, maxDetail)))
		}
		attrs = append(attrs, x.conn.shown().attrs(serial)...)
	}
	if x.would != "" {
		attrs = append(attrs, slog.String("would_refuse", string(x.would)), slog.String("reference", x.reference.String()), slog.String("detail", clipTo(x.detail, maxDetail)))
	}
	if known && x.code == "" {
		x.g.log.LogAttrs(context.Background(), level, message, attrs...)
		return
	}
	x.g.tell(level, message, x.code, x.request.RemoteAddr, attrs...)
}

// WriteHeader notes the status.
func (x *exchange) WriteHeader(status int) {
	x.dress()
	if status < 200 {
		x.hasten()
	}
	if x.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		x.status = status
	}
	x.ResponseWriter.WriteHeader(status)
}

// Write counts what is written.
func (x *exchange) Write(b []byte) (int, error) {
	if x.conn.silent.Load() {
		return 0, x.conn.why()
	}
	x.begin()
	if x.conn.sheaf.Load() != nil {
		return x.writeFrames(b)
	}
	n, err := x.ResponseWriter.Write(b)
	x.bytes += int64(n)
	return n, err
}

// ReadFrom lets the server below use its own buffers, where it has some.
func (x *exchange) ReadFrom(r io.Reader) (int64, error) {
	x.begin()
	if x.conn.sheaf.Load() != nil {
		room, ok := x.g.frames.Get().(*[2 * roomInFrame]byte)
		if !ok {
			room = new([2 * roomInFrame]byte)
		}
		defer x.g.frames.Put(room)
		return io.CopyBuffer(justWriter{x}, r, room[:])
	}
	n, err := io.Copy(x.ResponseWriter, r)
	x.bytes += n
	return n, err
}

type justWriter struct{ io.Writer }

// roomInFrame is what goes into an HTTP/2 frame that fills a TLS record. A frame
// of the usual 16 KiB and its header would be one record and nine bytes of
// another.
const roomInFrame = sheafMost - frameHeader

// writeFrames writes b in pieces that each become a record, as long as anything
// may be written.
func (x *exchange) writeFrames(b []byte) (sent int, err error) {
	for {
		if x.conn.silent.Load() {
			return sent, x.conn.why()
		}
		x.stuck.begin(x.g.limits.Stall, x)
		n, err := x.ResponseWriter.Write(b[:min(len(b), roomInFrame)])
		x.stuck.end()
		sent += n
		x.bytes += int64(n)
		if b = b[n:]; err != nil || len(b) == 0 {
			return sent, err
		}
	}
}

func (x *exchange) begin() {
	if x.status == 0 {
		x.dress()
		x.status = http.StatusOK
	}
}

// Flush sends what was written so far.
func (x *exchange) Flush() { x.FlushError() }

// FlushError is Flush for http.ResponseController.
func (x *exchange) FlushError() error {
	x.begin()
	x.hasten()
	if x.conn.sheaf.Load() != nil {
		x.stuck.begin(x.g.limits.Stall, x)
		defer x.stuck.end()
	}
	return http.NewResponseController(x.ResponseWriter).Flush()
}

// Hijack hands the connection to the handler. It stays in the index, so that
// it is cut like any other.
func (x *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, rw, err := http.NewResponseController(x.ResponseWriter).Hijack()
	if err == nil && x.status == 0 {
		x.status = http.StatusSwitchingProtocols
	}
	return nc, rw, err
}

// Unwrap is for http.ResponseController.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }
