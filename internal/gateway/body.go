package gateway

import (
	"io"
	"net/http"
	"os"
	"time"

	"github.com/postern-project/postern/internal/refusal"
)

// A body is the body of a request that was let in. It bounds how long the
// client may send nothing of it while somebody waits for it, so that nobody
// holds a request, and what stands behind, by announcing a body. One that comes
// slowly may take as long as it likes, and the time in which nobody reads is
// not the client's.
type body struct {
	io.ReadCloser
	x       *exchange
	control *http.ResponseController
}

// watchBody has r's body watched.
func (x *exchange) watchBody(r *http.Request) {
	if r.Body == nil || r.Body == http.NoBody {
		return
	}
	r.Body = &body{ReadCloser: r.Body, x: x, control: http.NewResponseController(x.ResponseWriter)}
}

// Read reads, for no longer than a client may be silent.
func (b *body) Read(p []byte) (int, error) {
	if b.x.stalled.Load() {
		return 0, os.ErrDeadlineExceeded
	}
	b.x.coming.begin(b.x.g.limits.Stall, b)
	defer b.x.coming.end()
	return b.ReadCloser.Read(p)
}

// giveUp ends a Read to which nothing came.
func (b *body) giveUp() {
	b.x.stalled.Store(true)
	b.control.SetReadDeadline(time.Unix(1, 0))
}

// instead returns the code for what a request came to, when a body that never
// came is the cause of it.
func (x *exchange) instead(code refusal.Code, detail string) (refusal.Code, string) {
	if x.stalled.Load() && (code == refusal.UpstreamDown || code == refusal.UpstreamTimeout) {
		return refusal.BodyStalled, "nothing of the body came for " + x.g.limits.Stall.String()
	}
	return code, detail
}
