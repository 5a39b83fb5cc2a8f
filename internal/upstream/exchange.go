package upstream

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"sync/atomic"

	"github.com/postern-project/postern/internal/refusal"
)

// owned are the fields that the gateway wrote into a request. They survive
// whatever ReverseProxy removes.
var owned = [...]string{
	"X-Postern-Identity", "X-Postern-Serial", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto",
	"Client-Cert", "Client-Cert-Chain", "X-Forwarded-Client-Cert", "X-Postern-Token", "Forwarded",
}

// Handler forwards requests as they are: the path as canonical by the
// caller, the query byte for byte, the Host unchanged. It calls onError, which
// then answers, when the application is to blame (upstream-down or
// upstream-timeout) or the client's body is no HTTP (bad-request); detail is
// for the operator. A client that went away is nobody's refusal: the handler
// then panics with http.ErrAbortHandler, as it does when an answer breaks off.
func (u *Upstream) Handler(onError func(w http.ResponseWriter, r *http.Request, code refusal.Code, detail string)) http.Handler {
	if u.transport == nil {
		return u.lean(onError)
	}
	return u.reversed(onError)
}

// reversed returns the handler of an application that speaks HTTP/2: the
// standard library's proxy.
func (u *Upstream) reversed(onError func(http.ResponseWriter, *http.Request, refusal.Code, string)) http.Handler {
	errorLog := slog.NewLogLogger(u.log.Handler(), slog.LevelDebug)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := &exchange{upstream: u, in: r, onError: onError}
		x.proxy = httputil.ReverseProxy{
			Rewrite: x.rewrite, Transport: u.transport, BufferPool: u.buffers, ErrorLog: errorLog,
			ModifyResponse: x.inspect, ErrorHandler: x.fail,
		}
		if r.Body != nil && r.ContentLength != 0 {
			watched, stop := x.taking.watch(r, u.dialer.write)
			defer stop()
			r = watched
		}
		x.proxy.ServeHTTP(w, r)
	})
}

// An exchange is one request on its way to the application and back.
type exchange struct {
	upstream *Upstream
	in       *http.Request
	onError  func(http.ResponseWriter, *http.Request, refusal.Code, string)
	proxy    httputil.ReverseProxy
	bodyErr  atomic.Pointer[error] // what reading the client's body ended with, if not well
	taking   taking                // of the client's body by the application
}

func (x *exchange) rewrite(p *httputil.ProxyRequest) {
	p.Out.URL.Scheme, p.Out.URL.Host = x.upstream.scheme, x.upstream.host
	p.Out.URL.RawQuery = p.In.URL.RawQuery // ReverseProxy tidies it up; we did not judge it
	for _, name := range owned {
		if v, ok := p.In.Header[name]; ok {
			p.Out.Header[name] = v
		}
	}
	delete(p.Out.Header, "Upgrade") // HTTP/2 has none (RFC 9113 section 8.2.2)
	delete(p.Out.Header, "Connection")
	if p.Out.Body != nil {
		p.Out.Body = &body{ReadCloser: p.Out.Body, x: x, trailer: p.Out.Trailer}
	}
}

// inspect refuses a switch of protocols that nobody asked for, before it
// reaches the client, so that the connection is closed.
func (x *exchange) inspect(res *http.Response) error {
	x.taking.answered(res.Body)
	if res.StatusCode == http.StatusSwitchingProtocols {
		return fmt.Errorf("the answer switches to protocol %q, which was not asked for", res.Header.Get("Upgrade"))
	}
	return nil
}

// fail turns what went wrong into a refusal, or into nothing when it was the
// client that left.
func (x *exchange) fail(w http.ResponseWriter, _ *http.Request, err error) {
	if x.in.Context().Err() != nil {
		panic(http.ErrAbortHandler)
	}
	if x.taking.none.Load() {
		x.onError(w, x.in, refusal.UpstreamTimeout, x.taking.detail(x.upstream.dialer.address))
		return
	}
	if client := x.bodyErr.Load(); client != nil {
		if left(*client) {
			panic(http.ErrAbortHandler)
		}
		x.onError(w, x.in, refusal.BadRequest, fmt.Sprintf("request body: %v", *client))
		return
	}
	code, detail := x.upstream.blame(err)
	x.onError(w, x.in, code, detail)
}

// blame returns the refusal that err means, and what was dialled. A timeout
// of the dial is an application that is down.
func (u *Upstream) blame(err error) (refusal.Code, string) {
	if dial, ok := errors.AsType[*dialError](err); ok {
		return refusal.UpstreamDown, dial.Error()
	}
	if err == io.EOF {
		err = errors.New("the connection was closed without an answer")
	}
	detail := fmt.Sprintf("%s: %v", u.dialer.address, err)
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return refusal.UpstreamTimeout, detail
	}
	return refusal.UpstreamDown, detail
}

// left reports whether reading from the client ended because it is gone or
// stuck, and not because it wrote something wrong.
func left(err error) bool {
	_, network := errors.AsType[net.Error](err)
	return network || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, http.ErrBodyReadAfterClose)
}

// A body is the client's body on its way out. It remembers how it ended, and
// then hands on the trailers that were announced and that the caller left.
type body struct {
	io.ReadCloser
	x       *exchange
	trailer http.Header // the outgoing request's
}

// Read reads from the client no faster than the application takes it: it is
// called when all that was read before is on its way.
func (b *body) Read(p []byte) (int, error) {
	b.x.taking.taken()
	n, err := b.ReadCloser.Read(p[:min(len(p), pieceSize)])
	if n > 0 || err == io.EOF {
		b.x.taking.handed()
	}
	switch {
	case err == io.EOF:
		for name := range b.trailer {
			b.trailer[name] = b.x.in.Trailer[name]
		}
	case err != nil:
		b.x.bodyErr.Store(&err)
	}
	return n, err
}
