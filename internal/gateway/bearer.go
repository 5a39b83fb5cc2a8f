package gateway

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/apptoken"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/refusal"
)

// AppTokens say how an app that shows no certificate may present a token. The
// zero AppTokens are not at all.
type AppTokens struct {
	// Header takes the token from the field X-Postern-App-Token.
	Header bool
	// Path takes it from the path: /.postern/token/TOKEN comes before the path
	// that is meant.
	Path bool
}

const (
	headerAppToken = "X-Postern-App-Token"
	tokenPath      = reservedPath + "/token/"
)

// redacted returns a path that shows no token.
func redacted(path string) string {
	if at := strings.Index(path, tokenPath); at >= 0 {
		return path[:at+len(tokenPath)] + "…"
	}
	return path
}

// target is a request's target as the log may show it.
func target(r *http.Request) string {
	if strings.Contains(r.URL.Path, tokenPath) {
		return clip(redacted(r.URL.Path))
	}
	return clip(r.RequestURI)
}

// carry takes the token out of a request, wherever it is, so that nothing behind
// the door sees it, and notes it for the judgement. A certificate speaks for its
// connection; a token beside one says nothing.
func (x *exchange) carry(r *http.Request) (refusal.Code, string) {
	given := r.Header[headerAppToken]
	if from := r.Header["Referer"]; len(from) > 0 && strings.Contains(strings.Join(from, " "), tokenPath) {
		delete(r.Header, "Referer") // in which the page before tells its address
	}
	accepts := x.door.site.AppTokens
	rest, inPath := strings.CutPrefix(r.URL.Path, tokenPath)
	if !inPath && (len(given) == 0 || !accepts.Header) { // stripRequest drops a field that nobody asked for
		return "", ""
	}
	if inPath {
		if !accepts.Path {
			return refusal.BadToken, "this site takes no token in the path"
		}
		text, path, found := strings.Cut(rest, "/")
		if !found {
			path = ""
		}
		r.URL.Path = "/" + path
		x.path, x.errand.path = redacted(r.URL.Path), r.URL.Path
		given = append([]string{text}, given...)
		x.secret = true
	}
	if len(x.conn.presented) > 0 {
		return "", ""
	}
	if len(given) > 1 {
		return refusal.BadToken, "more than one token"
	}
	token, err := apptoken.Parse(given[0])
	if err != nil {
		return refusal.BadToken, err.Error()
	}
	x.errand.token = token.Hash()
	if inPath {
		x.lead = tokenPath + given[0]
	}
	if !x.conn.bearer.Swap(true) {
		x.g.index.bear(x.conn)
	}
	return "", ""
}

// keepLead has a redirect of the application's within its site stay behind the
// token in the path, without which the app would come back as a stranger.
func (x *exchange) keepLead() {
	to := x.Header()["Location"]
	if x.lead == "" || len(to) != 1 {
		return
	}
	u, err := url.Parse(to[0])
	own := err == nil && (u.Scheme == "" && u.Host == "" || u.Scheme == "https" && u.User == nil && strings.EqualFold(u.Host, x.request.Host))
	if !own || !strings.HasPrefix(u.Path, "/") || isReserved(u.Path) {
		return
	}
	u.Scheme, u.Host = "", ""
	x.Header()["Location"] = []string{x.lead + u.String()}
}

// vouch says whom a token speaks for at a host right now.
func (g *Gateway) vouch(token ledger.Hash, host string, now time.Time) verdict {
	known, ok := g.roster.Token(token)
	id := ledger.TokenID(token)
	bad := func(format string, args ...any) verdict {
		return verdict{code: refusal.BadToken, detail: fmt.Sprintf(format, args...)}
	}
	switch {
	case !ok:
		return bad("the ledger holds no token %s", id)
	case known.Revoked:
		return bad("token %s of %s was revoked", id, known.Name)
	case known.Site != host:
		return bad("token %s of %s is for %s", id, known.Name, known.Site)
	case !now.Before(known.Expires):
		return bad("token %s of %s ended %s", id, known.Name, known.Expires.Format(time.DateOnly))
	}
	if by, suspended := g.roster.Suspended(known.Name); suspended {
		return verdict{code: refusal.Suspended, detail: by.String() + " is suspended"}
	}
	return verdict{client: Client{Name: known.Name, Token: id}}
}

// speaker says whom a request on c speaks for: the certificate of its
// connection, and without one its token.
func (g *Gateway) speaker(c *conn, a *errand, now time.Time) verdict {
	if a != nil && !a.token.IsZero() && len(c.presented) == 0 {
		return g.vouch(a.token, c.host, now)
	}
	return g.recognise(c, now)
}
