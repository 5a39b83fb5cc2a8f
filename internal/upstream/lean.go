package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/postern-project/postern/internal/refusal"
)

// A leanExchange is one request on its way to the application and back, over
// HTTP/1.1 and in the goroutine of the handler that serves it. A body that is
// not small is sent by a goroutine of its own.
type leanExchange struct {
	upstream  *Upstream
	in        *http.Request
	w         http.ResponseWriter
	onError   func(http.ResponseWriter, *http.Request, refusal.Code, string)
	upgrade   bool     // the client may switch to WebSocket
	announced []string // trailers of the request
	began     bool     // the answer to the client
	unread    bool     // the client's body, or a part of it
	settled   bool     // nobody reads the client's body any more
	gone      bool     // the client, before that
}

// lean returns the handler of an application that speaks HTTP/1.1.
func (u *Upstream) lean(onError func(http.ResponseWriter, *http.Request, refusal.Code, string)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := leanExchange{upstream: u, in: r, w: w, onError: onError, upgrade: wantsWebSocket(r)}
		if err := x.run(); err != nil {
			x.fail(err)
		}
	})
}

// dialLink connects to the application.
func (u *Upstream) dialLink(ctx context.Context) (*link, error) {
	if u.dialer.tls != nil {
		conn, err := u.dialer.secure(ctx)
		if err != nil {
			return nil, err
		}
		return newLink(conn, 0, time.Now()), nil // what is below TLS bounds the writes
	}
	conn, err := u.dialer.connect(ctx)
	if err != nil {
		return nil, err
	}
	return newLink(conn, u.dialer.write, time.Now()), nil
}

// run does the exchange. A connection from the pool that turns out to have
// ended is no reason to fail what can be asked again: it is asked on a new one.
func (x *leanExchange) run() error {
	scratch := x.upstream.heads.Get().(*[]byte)
	defer x.upstream.heads.Put(scratch)
	head, err := x.appendHead((*scratch)[:0], x.in)
	if err != nil {
		return &bodyError{err}
	}
	head, complete, err := x.inline(head)
	if cap(head) <= keptBuffer {
		*scratch = head
	}
	if err != nil {
		return err
	}
	for {
		l, again, err := x.upstream.pool.get(x.in.Context(), time.Now())
		if err != nil {
			return err
		}
		err = x.on(l, again, head, complete)
		switch {
		case err == nil:
			return nil
		case err == errStale:
			continue // there is one less in the pool
		case !again || !x.repeatable(l, err):
			return err
		}
		if l, err = x.upstream.pool.dial(x.in.Context()); err != nil {
			return err
		}
		return x.on(l, false, head, complete)
	}
}

// repeatable reports whether the request may be sent once more: the connection
// ended without a word, and asking twice does what asking once does.
func (x *leanExchange) repeatable(l *link, err error) bool {
	if l.answered || x.began || x.in.Context().Err() != nil || !x.noBody() {
		return false
	}
	switch x.in.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions: // RFC 9110 section 9.2.1
		return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
	}
	return false
}

// on does the exchange on one connection, which it then keeps or ends. rested
// says that the connection comes from the pool: if it turns out not to be
// silent, the error is errStale and nothing was sent. head is the request's, and
// complete when the body stands behind it.
func (x *leanExchange) on(l *link, rested bool, head []byte, complete bool) (err error) {
	keep := false
	stop := afterFunc(x.in.Context(), l.aborting)
	defer func() {
		if stop() && keep {
			x.upstream.pool.put(l, time.Now())
		} else {
			l.close()
		}
	}()
	if err := x.say(l, rested, head, complete); err != nil {
		return err
	}
	keep, err = x.answer(l, complete)
	return err
}

// say sends the head, and may read the first of the answer.
func (x *leanExchange) say(l *link, rested bool, head []byte, complete bool) error {
	switch {
	case !rested:
	case complete && l.plain:
		limit := x.upstream.headerTimeout
		if err := l.awaitUntil(time.Now().Add(limit), slackOf(limit)); err != nil {
			return err
		}
		sent, err := l.ask(head)
		if err != nil {
			return err
		}
		head = head[sent:]
	case !l.quiet():
		return errStale
	}
	_, err := l.Write(head)
	return err
}

// afterFunc is context.AfterFunc, without the detour where a context offers it
// by itself.
func afterFunc(ctx context.Context, f func()) (stop func() bool) {
	if own, ok := ctx.(interface {
		AfterFunc(func()) func() bool
	}); ok {
		return own.AfterFunc(f)
	}
	return context.AfterFunc(ctx, f)
}

// answer reads the answer and hands it on, sending the body meanwhile if it
// was not sent with the head. It reports whether the connection may be used
// again.
func (x *leanExchange) answer(l *link, complete bool) (keep bool, err error) {
	var s *sender
	if !complete {
		http.NewResponseController(x.w).EnableFullDuplex() // HTTP/2 says that it knows no other way
		defer func() { x.settle(l, s) }()
		if !x.expects() || !x.hears(l) {
			s = x.send(l)
		}
	}
	head, s, err := x.finalHead(l, s, complete)
	if err != nil {
		return false, s.first(err)
	}
	if head.status == http.StatusSwitchingProtocols {
		return false, x.tunnel(l, &head)
	}
	if !complete && !s.sent() {
		x.unread = true
		if head.status >= http.StatusBadRequest {
			// RFC 9112 section 9.5. An application that answers early and
			// reads on would take what the client says now for a request.
			l.refused.Store(true)
		}
	}
	reusable, err := x.pass(l, &head)
	return reusable && !l.refused.Load() && (complete || s.sent()), err
}

// expectTimeout is how long a client that awaits leave to send its body waits
// for the application's word (RFC 9110 section 10.1.1).
const expectTimeout = time.Second

// hears waits for the application to say something, and reports whether it
// did.
func (x *leanExchange) hears(l *link) bool {
	return l.awaitUntil(time.Now().Add(expectTimeout), 0) == nil && l.fill(maxAnswerHeader) == nil
}

// finalHead reads heads until one is final, and hands on those before it. The
// one that asks for the body has it sent.
func (x *leanExchange) finalHead(l *link, s *sender, complete bool) (answerHead, *sender, error) {
	limit := x.upstream.headerTimeout
	for range maxInterim {
		if s != nil {
			if err := s.await(); err != nil {
				return answerHead{}, s, err
			}
		}
		if err := l.awaitUntil(time.Now().Add(limit), slackOf(limit)); err != nil {
			return answerHead{}, s, err
		}
		head, err := l.readHead(x.in.Method)
		switch {
		case err != nil:
			return answerHead{}, s, err
		case head.status == http.StatusSwitchingProtocols:
			return head, s, x.inspect(&head)
		case head.status >= 200:
			return head, s, nil
		case head.status == http.StatusContinue:
			if !complete && s == nil {
				s = x.send(l)
			}
		case x.in.ProtoAtLeast(1, 1):
			x.interim(&head)
		}
	}
	return answerHead{}, s, fmt.Errorf("malformed HTTP: more than %d interim answers", maxInterim)
}

// interim hands on an answer before the final one, such as 103 Early Hints.
func (x *leanExchange) interim(head *answerHead) {
	h := x.w.Header()
	before := maps.Clone(h)
	head.copyTo(h)
	x.w.WriteHeader(head.status)
	clear(h) // the final answer has fields of its own
	maps.Copy(h, before)
}

// pass hands the final answer to the client, and reports whether the
// application's connection is ready for another request.
func (x *leanExchange) pass(l *link, head *answerHead) (reusable bool, err error) {
	trailers, err := announced(head)
	if err != nil {
		return false, err
	}
	h := x.w.Header()
	head.copyTo(h)
	x.lastOf()
	if len(trailers) > 0 && head.framing == byChunks {
		h["Trailer"] = []string{strings.Join(trailers, ", ")}
	}
	if _, typed := h["Content-Type"]; !typed {
		h["Content-Type"] = nil // the server is not to guess one
	}
	x.began = true
	x.w.WriteHeader(head.status)
	body := answerBody{link: l, framing: head.framing, left: head.length}
	if head.framing == byLength && int64(l.w-l.r) >= body.left {
		_, err := x.w.Write(l.buffered(body.left))
		body.take(int(body.left))
		return !head.last, err
	}
	if head.framing != empty {
		// An answer may go on for as long as it likes.
		if err := l.awaitUntil(time.Time{}, 0); err != nil {
			return false, err
		}
		if err := body.relay(x.w, head.prompt, x.upstream.buffers); err != nil {
			return false, err
		}
		body.passTrailer(x.w, trailers)
	}
	return !head.last, nil
}

// settle ends the sending of a body that nobody wants any more, and waits for
// it: the handler must not return while somebody reads its request.
func (x *leanExchange) settle(l *link, s *sender) {
	x.unread = x.unread || !s.sent()
	if !x.unread {
		return
	}
	client := http.NewResponseController(x.w)
	// a read that is broken off looks to the server like a client that left
	x.gone, x.settled = x.in.Context().Err() != nil, true
	if s != nil && !s.ended() {
		l.close()
		client.SetReadDeadline(time.Unix(1, 0))
		<-s.done
	}
	// the server reads on for a moment, so that the client sees the answer and
	// no reset
	client.SetReadDeadline(time.Now().Add(lastWord))
	x.lastOf() // if the answer has not begun
}

// lastOf makes the answer the last one on the client's connection when the
// request's body was not read to its end. With full duplex the server itself
// does not look, and would take the rest of the body for the next request,
// which a page of somebody else may have written.
func (x *leanExchange) lastOf() {
	if x.unread && x.in.ProtoMajor == 1 {
		x.w.Header()["Connection"] = []string{"close"}
	}
}

// fail turns what went wrong into a refusal, or breaks off what has begun.
func (x *leanExchange) fail(err error) {
	if !x.settled {
		x.gone = x.in.Context().Err() != nil
	}
	if x.began || x.gone {
		if x.began {
			x.upstream.log.Debug("answer broke off", "upstream", x.upstream.spec, "err", err)
			http.NewResponseController(x.w).Flush() // what came of it
		}
		panic(http.ErrAbortHandler)
	}
	if body, ok := errors.AsType[*bodyError](err); ok {
		if left(body.err) {
			panic(http.ErrAbortHandler)
		}
		x.onError(x.w, x.in, refusal.BadRequest, body.Error())
		return
	}
	code, detail := x.upstream.blame(err)
	x.onError(x.w, x.in, code, detail)
}
