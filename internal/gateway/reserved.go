package gateway

import (
	"io"
	"net/http"
	"strings"

	pages "github.com/postern-project/postern/internal/page"
	"github.com/postern-project/postern/internal/refusal"
)

// reservedPath is the part of every site that is the gateway's own. Nothing
// below it is ever forwarded.
const reservedPath = "/.postern"

// isReserved reports whether a canonical path is the gateway's own.
func isReserved(path string) bool {
	rest, ok := strings.CutPrefix(path, reservedPath)
	return ok && (rest == "" || rest[0] == '/')
}

// answerReserved answers for the gateway itself; rest follows reservedPath.
func (g *Gateway) answerReserved(x *exchange, r *http.Request, rest string) {
	x.hurry(g.limits.Header)
	switch {
	case rest == "/health":
		g.answerHealth(x, r)
	case rest == "/renew", strings.HasPrefix(rest, "/renew/"):
		g.answerRenew(x, r)
	case rest == "/again":
		g.answerAgain(x, r)
	default:
		if v := g.reach(x.conn, x.door, x.start); v.code != "" {
			x.refuse(r, v.code, v.detail)
			return
		}
		pages.NotFound(x.door.host).Write(x, http.StatusNotFound)
	}
}

// answerHealth says that the gateway answers for this site, and no more.
func (g *Gateway) answerHealth(x *exchange, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		x.refuse(r, refusal.MethodNotServed, "health is asked with GET")
		return
	}
	x.Header().Set("Content-Type", "text/plain; charset=utf-8")
	x.Header().Set("Cache-Control", "no-store")
	io.WriteString(x, "ok\n")
}

// answerRenew lets the holder of a good certificate have its successor,
// whatever the site's list says: losing a place on a list does not end a
// device, revoking it does.
func (g *Gateway) answerRenew(x *exchange, r *http.Request) {
	v := g.renewer(x.conn, x.start)
	if v.code != "" {
		x.refuse(r, v.code, v.detail)
		return
	}
	if v.client.IsZero() {
		x.refuse(r, refusal.NoIdentity, "a partner's certificate is not renewed here")
		return
	}
	x.client = v.client
	defer func() { x.client = Client{} }() // known says whether it is good for more than this
	// A certificate goes along with requests that other sites' pages make.
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		x.refuse(r, refusal.CrossSite, err.Error())
		return
	}
	if g.options.Renew == nil {
		x.refuse(r, refusal.NotConfigured, "this gateway does not renew")
		return
	}
	x.identify(r.Header, r.Host)
	g.options.Renew.ServeHTTP(x, r)
}
