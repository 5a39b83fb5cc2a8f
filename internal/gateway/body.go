package gateway

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/postern-project/postern/internal/refusal"
)

// A body is the body of a request that was let in. It bounds how long the
// client may send nothing of it, so that nobody holds a request, and what
// stands behind, by announcing a body; one that comes slowly may take as long
// as it likes.
type body struct {
	io.ReadCloser
	x       *exchange
	control *http.ResponseController
	armed   time.Time // the deadline in force
}

// watchBody has r's body watched.
func (x *exchange) watchBody(r *http.Request) {
	if r.Body == nil || r.Body == http.NoBody {
		return
	}
	r.Body = &body{ReadCloser: r.Body, x: x, control: http.NewResponseController(x.ResponseWriter)}
}

// Read reads with a deadline that is at least half a stall away. At the end it
// lifts it, for what is read then is the next request.
func (b *body) Read(p []byte) (int, error) {
	limit := b.x.g.limits.Stall
	if now := time.Now(); b.armed.Sub(now) < limit/2 {
		b.armed = now.Add(limit)
		b.control.SetReadDeadline(b.armed)
	}
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == nil:
	case errors.Is(err, os.ErrDeadlineExceeded):
		b.x.stalled.Store(true)
	default:
		b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// instead returns the code for what a request came to, when a body that never
// came is the cause of it.
func (x *exchange) instead(code refusal.Code, detail string) (refusal.Code, string) {
	if x.stalled.Load() && (code == refusal.UpstreamDown || code == refusal.UpstreamTimeout) {
		return refusal.BodyStalled, "nothing of the body came for " + x.g.limits.Stall.String()
	}
	return code, detail
}
