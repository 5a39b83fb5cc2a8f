package gateway

import (
	"context"
	"net"
	"net/http"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"

	"github.com/postern-project/postern/internal/apptoken"
	"github.com/postern-project/postern/internal/refusal"
)

// serve answers one request that the HTTP server has read, on a connection of
// either side.
func (g *Gateway) serve(w http.ResponseWriter, r *http.Request) {
	c := connOf(r.Context())
	if c == nil { // a server that is not ours: nothing is known, so nobody passes
		http.Error(w, "no connection", http.StatusInternalServerError)
		return
	}
	c.taken()
	describeTLS(r)
	g.answer(r.Context(), c, w, r)
}

// answer answers one request on c. ctx is the request's.
func (g *Gateway) answer(ctx context.Context, c *conn, w http.ResponseWriter, r *http.Request) {
	c.asked.Store(true)
	g.crowd.begin(c)
	x, r := g.newExchange(ctx, c, w, r)
	defer x.end()
	g.route(x, r)
}

// route is the order of checks: host, form, certificate, roster, and the list of
// the part of the site that the request is for. Only
// what passes them all reaches a handler, so no upstream is dialled before.
func (g *Gateway) route(x *exchange, r *http.Request) {
	since := g.changes.Load()
	t := g.table.Load()
	d := t.of(x.conn)
	if d == nil {
		x.refuse(r, refusal.UnknownHost, "the site was taken out of the configuration")
		return
	}
	x.door = d
	if code, detail := d.misfit(r); code != "" {
		x.refuse(r, code, detail)
		return
	}
	if d.site.ForwardHeader != "" {
		x.given = r.Header.Clone()
	}
	code, detail := x.carry(r)
	stripRequest(r)
	if code != "" {
		x.refuse(r, code, detail)
		return
	}
	r.Host = d.hostWithPort(r.Host)
	if d.public {
		x.hurry(g.limits.Header)
		x.pass(r, since)
		return
	}
	if isReserved(r.URL.Path) {
		g.answerReserved(x, r, r.URL.Path[len(reservedPath):])
		return
	}
	if x.way = d.preflight(r); x.way != nil {
		x.answerPreflight(r)
		return
	}
	x.way = d.way(r.Method, r.URL.Path)
	x.conn.detail(&x.errand, r.Header, x.way)
	v := g.judge(x.conn, x.way, &x.errand, x.start)
	switch {
	case x.way.spares(v.code):
		x.wouldRefuse(r, v.code, v.detail)
	case v.code != "":
		x.refuse(r, v.code, v.detail)
		return
	}
	x.client = v.client
	if fault := x.way.forgedBy(v.client, r.Method, r.Header, r.Host); fault != "" && v.code == "" {
		if !x.way.Audit {
			x.refuse(r, refusal.CrossSite, fault)
			return
		}
		x.wouldRefuse(r, refusal.CrossSite, fault)
	}
	switch {
	case !v.client.IsZero():
		g.crowd.know(x.conn)
		g.remember(x.conn)
		x.greet()
	case v.client.Partner.Name.IsZero() && !x.admitStranger() && !x.way.Audit:
		x.Header().Set("Retry-After", "1")
		x.refuse(r, refusal.RateLimited, "as many requests of strangers are in hand as may be")
		return
	}
	if len(x.way.limiters) > 0 {
		if code, detail := x.limit(); x.way.spares(code) {
			x.Header().Del("Retry-After")
			x.wouldRefuse(r, code, detail)
		} else if code != "" {
			x.refuse(r, code, detail)
			return
		}
	}
	if d.tcp() {
		x.refuse(r, refusal.NotHTTP, "a client that speaks HTTP, on a tcp site")
		return
	}
	x.pass(r, since)
}

// pass hands the request to what is behind the door. It was judged by what
// held at a count of changes; what changed since then has not found it.
func (x *exchange) pass(r *http.Request, since uint64) {
	x.conn.enter(&x.errand)
	if x.g.changes.Load() != since {
		x.g.judgeAnew([]*conn{x.conn}, "the rules changed while it was judged")
		if x.conn.silent.Load() {
			return
		}
	}
	if header := x.door.site.ForwardHeader; header != "" {
		x.g.answerForward(x, r, x.given, header)
		return
	}
	if x.door.site.Handler == nil {
		x.refuse(r, refusal.NotConfigured, "there is nothing behind this door")
		return
	}
	x.identify(r.Header, r.Host)
	if err := x.present(r.Header); err != nil {
		x.refuse(r, refusal.NotConfigured, "the application is to be told who asks: "+err.Error())
		return
	}
	if !x.door.public {
		x.remind()
		x.watchBody(r)
	}
	x.door.site.Handler.ServeHTTP(x, r)
}

// misfit looks at a request without knowing whose it is, and puts its path
// into the one form that is judged and forwarded.
func (d *door) misfit(r *http.Request) (refusal.Code, string) {
	if code, detail := d.foreign(r); code != "" {
		return code, detail
	}
	switch {
	case r.Method == http.MethodConnect, r.Method == http.MethodTrace:
		return refusal.MethodNotServed, r.Method + " is never served"
	case !httpguts.ValidHeaderFieldName(r.Method): // a token, RFC 9110 section 9.1
		return refusal.BadRequest, "the method is no word"
	case r.RequestURI == "*":
		return refusal.BadRequest, "a request for '*' is for no address here"
	case r.ProtoMajor >= 2 && !strings.HasPrefix(r.RequestURI, "/"): // RFC 9113 section 8.3.1
		return refusal.BadRequest, "request target " + target(r) + " is no path"
	}
	path, code := canonicalPath(r.URL, r.RequestURI)
	if code != "" {
		return code, "request target " + target(r)
	}
	r.URL.RawQuery = canonicalQuery(r.URL.RawQuery)
	r.URL.Path, r.URL.RawPath, r.URL.Scheme, r.URL.Host, r.URL.User = path, "", "", "", nil
	return "", ""
}

// foreign reports a request whose Host, or :authority, is not the door's.
func (d *door) foreign(r *http.Request) (refusal.Code, string) {
	if !d.names(r.Host) {
		return refusal.Misdirected, "the connection is for " + d.host + ", the request for " + clip(r.Host)
	}
	// HTTP/2 allows both, and RFC 9113 section 8.3.1 wants them to agree.
	for _, h := range r.Header["Host"] {
		if !d.names(h) {
			return refusal.Misdirected, "the connection is for " + d.host + ", a Host field for " + clip(h)
		}
	}
	return "", ""
}

// names reports whether hostport is a spelling of the door's name.
func (d *door) names(hostport string) bool {
	if hostport == d.host {
		return true
	}
	canonical, ok := canonicalHost(hostport)
	return ok && canonical == d.host
}

// hostWithPort returns the door's name with the port of hostport, if it has
// one: what handlers see.
func (d *door) hostWithPort(hostport string) string {
	if rest, ok := strings.CutPrefix(hostport, d.host); ok && (rest == "" || rest[0] == ':' && len(rest) > 1) {
		return hostport
	}
	if _, port, err := net.SplitHostPort(hostport); err == nil && port != "" {
		return net.JoinHostPort(d.host, port)
	}
	if strings.Contains(d.host, ":") {
		return "[" + d.host + "]"
	}
	return d.host
}

// clip bounds what a stranger can write into our records, and keeps tokens out
// of them, wherever somebody put one.
func clip(s string) string { return clipTo(apptoken.Veil(s), 256) }

// clipTo shortens s so that no more than most bytes are left after a log has
// escaped it.
func clipTo(s string, most int) string {
	for i, r := range s {
		switch {
		case unprintable(r):
			most -= len(`\U00000000`)
		case r == '"', r == '\\':
			most -= 2
		default:
			most -= utf8.RuneLen(r)
		}
		if most < 0 {
			return s[:i] + "…"
		}
	}
	return s
}
