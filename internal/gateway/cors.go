package gateway

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/postern-project/postern/internal/refusal"
)

// CORS says which other origins' pages may use a part of a site (the Fetch
// standard, section 3.2). What it says replaces what is behind the door says.
type CORS struct {
	// Origins are serialized origins such as https://app.example.com, compared
	// byte by byte; or "*" alone for all, who then come without credentials,
	// that is without a certificate and cookies.
	Origins []string
	// Methods besides GET, HEAD and POST.
	Methods []string
	// Headers that requests may carry besides the harmless ones, in small
	// letters.
	Headers []string
	// Expose are the response's fields that a page may read besides the
	// harmless ones.
	Expose []string
	// MaxAge is how long a browser may remember a preflight's answer.
	MaxAge time.Duration
}

// AnyOrigin stands for all of them.
const AnyOrigin = "*"

// allows returns what Access-Control-Allow-Origin says to origin, "" when that
// is not allowed.
func (c *CORS) allows(origin string) string {
	switch {
	case slices.Contains(c.Origins, AnyOrigin):
		return AnyOrigin
	case origin != "null" && slices.Contains(c.Origins, origin):
		return origin
	}
	return ""
}

// preflight returns the part of the door whose CORS policy answers r, or nil
// when r is no preflight or that part has no policy. A browser sends none of
// what could identify it along with a preflight, so nothing is asked.
func (d *door) preflight(r *http.Request) *way {
	if r.Method != http.MethodOptions || len(r.Header["Origin"]) != 1 {
		return nil
	}
	wanted := r.Header["Access-Control-Request-Method"]
	if len(wanted) != 1 || !httpguts.ValidHeaderFieldName(wanted[0]) {
		return nil
	}
	if w := d.way(wanted[0], r.URL.Path); w.CORS != nil {
		return w
	}
	return nil
}

// answerPreflight answers for w's policy; nothing reaches what is behind.
func (x *exchange) answerPreflight(r *http.Request) {
	x.hurry(x.g.limits.Header)
	c, origin := x.way.CORS, r.Header.Get("Origin")
	if c.allows(origin) == "" {
		x.refuse(r, refusal.OriginNotAllowed, "a page of "+clip(origin)+" asks")
		return
	}
	h := x.Header()
	h.Set("Access-Control-Allow-Methods", strings.Join(append([]string{"GET", "HEAD", "POST"}, c.Methods...), ", "))
	if len(c.Headers) > 0 {
		h.Set("Access-Control-Allow-Headers", strings.Join(c.Headers, ", "))
	}
	if c.MaxAge > 0 {
		h.Set("Access-Control-Max-Age", strconv.Itoa(int(c.MaxAge.Seconds())))
	}
	h.Add("Vary", "Access-Control-Request-Method")
	h.Add("Vary", "Access-Control-Request-Headers")
	x.WriteHeader(http.StatusNoContent)
}

// share writes the policy's fields into an answer's header, in place of those
// that are there.
func (c *CORS) share(h http.Header, origin string) {
	for name := range h {
		if strings.HasPrefix(name, "Access-Control-Allow-Origin") || strings.HasPrefix(name, "Access-Control-Allow-Credentials") ||
			strings.HasPrefix(name, "Access-Control-Expose-") {
			delete(h, name)
		}
	}
	h.Add("Vary", "Origin")
	allowed := c.allows(origin)
	if allowed == "" {
		return
	}
	h.Set("Access-Control-Allow-Origin", allowed)
	if allowed != AnyOrigin {
		h.Set("Access-Control-Allow-Credentials", "true")
	}
	if len(c.Expose) > 0 {
		h.Set("Access-Control-Expose-Headers", strings.Join(c.Expose, ", "))
	}
}

// dress adds what a policy says to the answer's header, once, before it is
// sent.
func (x *exchange) dress() {
	if x.status != 0 {
		return
	}
	x.tellHTTP3()
	if x.secret {
		x.Header().Set("Referrer-Policy", "no-referrer")
		x.keepLead()
	}
	if x.way == nil || x.way.CORS == nil {
		return
	}
	origin := ""
	if o := x.request.Header["Origin"]; len(o) == 1 {
		origin = o[0]
	}
	x.way.CORS.share(x.Header(), origin)
}
