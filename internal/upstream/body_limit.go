package upstream

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/postern-project/postern/internal/refusal"
)

// limitBody refuses requests whose body is larger than most bytes: at once
// where they say so, else when it turns out.
func limitBody(next *groupHandler, onError OnError, most int64) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > most {
			onError(w, r, refusal.BodyTooLarge, fmt.Sprintf("a body of %d bytes, and %d are allowed", r.ContentLength, most))
			return
		}
		if r.ContentLength == 0 {
			next.ServeHTTP(w, r)
			return
		}
		limited := *r
		body := &boundedBody{ReadCloser: r.Body, left: most}
		limited.Body = body
		h := *next
		h.onError = func(w http.ResponseWriter, r *http.Request, code refusal.Code, detail string) {
			if body.over {
				code, detail = refusal.BodyTooLarge, fmt.Sprintf("a body of more than %d bytes", most)
			}
			onError(w, r, code, detail)
		}
		h.ServeHTTP(w, &limited)
	})
}

var errBodyTooLarge = errors.New("the body is larger than allowed")

// A boundedBody fails when there is more of it than allowed. It is read by one
// goroutine.
type boundedBody struct {
	io.ReadCloser
	left int64
	over bool
}

// Read reads no more than is left, and one byte to see whether that was all.
func (b *boundedBody) Read(p []byte) (int, error) {
	if b.over {
		return 0, errBodyTooLarge
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if int64(n) > b.left {
		b.over = true
		return int(b.left), errBodyTooLarge
	}
	b.left -= int64(n)
	return n, err
}
