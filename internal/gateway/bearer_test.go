package gateway

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/apptoken"
	"github.com/postern-project/postern/internal/ledger"
)

// tokenApp says what an application sees of a request.
var tokenApp = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Referrer-Policy", "unsafe-url")
	fmt.Fprintf(w, "%s|%s|%s|%s|%v", r.Header.Get(headerIdentity), r.URL.RequestURI(), r.Header.Get("Referer"), r.Header.Get("Client-Cert"), r.Header["X-Postern-App-Token"])
})

// issueToken records a token for a name and a site.
func (w *world) issueToken(who, site string, left time.Duration) apptoken.Token {
	w.tb.Helper()
	secret := apptoken.New()
	w.append(ledger.TokenIssued{Token: secret.Hash(), Name: name(w.tb, who), Site: site, Expires: time.Now().Add(left)})
	return secret
}

// An app without a certificate comes in by its token, at its site, by the ways
// that the site takes, as its device and no more; the application sees nothing
// of the token, and neither does the log.
func TestAppTokens(t *testing.T) {
	w, log := newWorld(t), new(lines)
	site := func(host string, by AppTokens) Site {
		return Site{Host: host + ".example.com", Handler: tokenApp, List: allow(t, "ben"), AppTokens: by, Identity: []Form{FormClientCert, FormXFCC}}
	}
	aged := site("aged", AppTokens{true, true})
	aged.Policy = when(t, `certificate.key != "rsa-2048"`)
	h := w.open(Options{Log: log.logger()}, site("music", AppTokens{true, true}), site("books", AppTokens{Header: true}), site("none", AppTokens{}), aged)
	anna := w.enrol("anna")
	good, other, ended := w.issueToken("ben/app", "music.example.com", time.Hour), w.issueToken("ben/app", "books.example.com", time.Hour), w.issueToken("ben/app", "music.example.com", -time.Second)
	stranger, revoked, suspended := w.issueToken("carl", "music.example.com", time.Hour), w.issueToken("ben/old", "music.example.com", time.Hour), w.issueToken("ben/lost", "music.example.com", time.Hour)
	certified, whole := w.issueToken("ben/app", "aged.example.com", time.Hour), w.issueToken("ben/gone/app", "music.example.com", time.Hour)
	w.append(ledger.TokenRevoked{Token: revoked.Hash()}, ledger.IdentitySuspended{Name: name(t, "ben/lost")}, ledger.CertificatesRevoked{Name: name(t, "ben/gone")})
	head := func(tokens ...string) string {
		return headerAppToken + ": " + strings.Join(tokens, "\r\n"+headerAppToken+": ") + "\r\n"
	}
	in := func(uri string) string { return "ben/app|" + uri + "|||[]" }
	for sentence, c := range map[string]struct {
		host, path, fields, want string
		as                       *device
	}{
		"by the header":                          {host: "music", path: "/a?b=c", fields: head(good.String()), want: in("/a?b=c")},
		"by the path":                            {host: "music", path: tokenPath + good.String() + "/a/b?c=d", want: in("/a/b?c=d")},
		"by the path alone":                      {host: "music", path: tokenPath + good.String(), want: in("/")},
		"the page before is not told":            {host: "music", path: tokenPath + good.String() + "/a", fields: "Referer: https://music.example.com" + tokenPath + good.String() + "/\r\n", want: in("/a")},
		"by the header, from such a page":        {host: "music", path: "/", fields: "Referer: https://music.example.com" + tokenPath + good.String() + "/\r\n" + head(good.String()), want: in("/")},
		"another page before":                    {host: "music", path: "/", fields: "Referer: https://music.example.com/x\r\n" + head(good.String()), want: "ben/app|/|https://music.example.com/x||[]"},
		"in other letters of the field":          {host: "music", path: "/", fields: "x-POSTERN-app-token: " + good.String() + "\r\n", want: in("/")},
		"named in Connection":                    {host: "music", path: "/", fields: "Connection: X-Postern-App-Token\r\n" + head(good.String()), want: in("/")},
		"in the query":                           {host: "music", path: "/?token=" + good.String(), want: "no-certificate"},
		"as a bearer's authorization":            {host: "music", path: "/", fields: "Authorization: Bearer " + good.String() + "\r\n", want: "no-certificate"},
		"under a name that folds":                {host: "music", path: "/", fields: "X_Postern_App_Token: " + good.String() + "\r\n", want: "no-certificate"},
		"of another site":                        {host: "music", path: "/", fields: head(other.String()), want: "bad-token"},
		"that has ended":                         {host: "music", path: "/", fields: head(ended.String()), want: "bad-token"},
		"of somebody who is not on the list":     {host: "music", path: "/", fields: head(stranger.String()), want: "not-on-list"},
		"that was revoked":                       {host: "music", path: "/", fields: head(revoked.String()), want: "bad-token"},
		"of a name that was revoked as a whole":  {host: "music", path: "/", fields: head(whole.String()), want: "bad-token"},
		"of a suspended name":                    {host: "music", path: "/", fields: head(suspended.String()), want: "suspended"},
		"that nobody made":                       {host: "music", path: "/", fields: head(apptoken.New().String()), want: "bad-token"},
		"that is none":                           {host: "music", path: "/", fields: head("postern_x"), want: "bad-token"},
		"twice":                                  {host: "music", path: "/", fields: head(good.String(), good.String()), want: "bad-token"},
		"in both places":                         {host: "music", path: tokenPath + good.String() + "/", fields: head(good.String()), want: "bad-token"},
		"with a list of them":                    {host: "music", path: "/", fields: head(good.String() + ", " + good.String()), want: "bad-token"},
		"in a query behind what is no path":      {host: "music", path: "/a//b?token=" + good.String(), want: "ambiguous-path"},
		"in what is almost the place":            {host: "music", path: "/.postern/Token/" + good.String() + "/", want: "no-certificate"},
		"in any other place":                     {host: "music", path: "/play/" + good.String() + ".mp3", want: "no-certificate"},
		"behind it a way out":                    {host: "music", path: tokenPath + good.String() + "/../x", want: "ambiguous-path"},
		"behind it the gateway's own":            {host: "music", path: tokenPath + good.String() + "/.postern/renew", want: "no-certificate"},
		"by the path where only the header is":   {host: "books", path: tokenPath + other.String() + "/", want: "bad-token"},
		"by the header there":                    {host: "books", path: "/", fields: head(other.String()), want: in("/")},
		"at a site that takes none":              {host: "none", path: "/", fields: head(good.String()), want: "no-certificate"},
		"beside somebody else's certificate":     {host: "music", path: "/", fields: head(good.String()), as: anna, want: "not-on-list"},
		"where a condition asks of certificates": {host: "aged", path: "/", fields: head(certified.String()), want: "condition"},
	} {
		t.Run(sentence, func(t *testing.T) {
			conn := h.mustDial(w.clientTLS(c.as, c.host+".example.com"))
			resp, body := raw(t, conn, "GET "+c.path+" HTTP/1.1\r\nHost: "+c.host+".example.com\r\n"+c.fields+"\r\n")
			if got := string(refusalIn(body)); got != c.want && body != c.want {
				t.Errorf("%s %q, want %q", resp.Status, body, c.want)
			}
			if strings.HasPrefix(c.path, tokenPath) && resp.StatusCode == http.StatusOK && (len(resp.Header["Referrer-Policy"]) != 1 || resp.Header.Get("Referrer-Policy") != "no-referrer") {
				t.Errorf("links from there tell the token: %q", resp.Header["Referrer-Policy"])
			}
			if strings.Contains(body, apptoken.Prefix) {
				t.Errorf("the answer holds a token: %s", body)
			}
		})
	}
	for _, token := range []apptoken.Token{good, other, ended, stranger, revoked, suspended, certified, whole} {
		if strings.Contains(log.String(), strings.TrimPrefix(token.String(), apptoken.Prefix)) {
			t.Errorf("the log holds a token:\n%s", log)
		}
	}
	if !strings.Contains(log.String(), `path=/a/b `) {
		t.Errorf("the log does not say what was asked for:\n%s", log)
	}
	if !strings.Contains(log.String(), `id=ben/app via="token `+ledger.TokenID(good.Hash())) {
		t.Errorf("the log does not say who came by which token:\n%s", log)
	}
}

// What takes a token's right away cuts what its bearer has open, and nobody else.
func TestTokensAreCut(t *testing.T) {
	for sentence, change := range map[string]func(*world, apptoken.Token){
		"the token is revoked":           func(w *world, x apptoken.Token) { w.append(ledger.TokenRevoked{Token: x.Hash()}) },
		"the name above it is suspended": func(w *world, _ apptoken.Token) { w.append(ledger.IdentitySuspended{Name: name(t, "ben")}) },
		"the name is revoked":            func(w *world, _ apptoken.Token) { w.append(ledger.CertificatesRevoked{Name: name(t, "ben/app")}) },
		"the list loses the name":        nil,
		"it ends":                        nil,
	} {
		for _, h2 := range []bool{false, true} {
			t.Run(fmt.Sprint(sentence, " h2=", h2), func(t *testing.T) {
				t.Parallel()
				w, s, clock := newWorld(t), newStage(), &shiftedClock{}
				site := Site{Host: "music.example.com", Handler: s, List: allow(t, "ben", "anna"), AppTokens: AppTokens{Header: true}}
				h := w.open(Options{Now: clock.now}, site)
				open := func(who string) (ended chan error) {
					token := w.issueToken(who, "music.example.com", time.Minute)
					if who == "anna" {
						token = w.issueToken(who, "music.example.com", time.Hour)
					}
					config := w.clientTLS(nil, "music.example.com")
					if h2 {
						config.NextProtos = []string{"h2"}
					}
					r, err := http.NewRequest("GET", "https://music.example.com/hold", nil)
					must(t, err)
					r.Header.Set(headerAppToken, token.String())
					resp, err := client(t, h.addr, config).Do(r)
					must(t, err)
					if resp.StatusCode != http.StatusOK {
						t.Fatalf("%s came in with %s", who, resp.Status)
					}
					ended = make(chan error, 1)
					go func() {
						_, err := io.Copy(io.Discard, resp.Body)
						ended <- err
					}()
					if who == "ben/app" && change != nil {
						change(w, token)
					}
					return ended
				}
				friend := open("anna")
				ben := open("ben/app")
				switch sentence {
				case "the list loses the name":
					site.List = allow(t, "anna")
					must(t, h.Configure(Config{Sites: []Site{site}}))
				case "it ends":
					clock.advance(2 * time.Minute)
				}
				select {
				case <-ben:
				case <-time.After(3 * time.Second):
					t.Error("the connection lives on")
				}
				select {
				case err := <-friend:
					t.Errorf("somebody else's was cut: %v", err)
				case <-time.After(30 * time.Millisecond):
				}
			})
		}
	}
}

// A connection at rest over which tokens came lives through reloads.
func TestABearerAtRestIsLetBe(t *testing.T) {
	w := newWorld(t)
	site := Site{Host: "music.example.com", Handler: tokenApp, List: allow(t, "ben"), AppTokens: AppTokens{Header: true}}
	h := w.open(Options{}, site)
	token := w.issueToken("ben", "music.example.com", time.Hour)
	conn := h.mustDial(w.clientTLS(nil, "music.example.com"))
	ask := func(want int) {
		t.Helper()
		if resp, body := raw(t, conn, "GET / HTTP/1.1\r\nHost: music.example.com\r\n"+headerAppToken+": "+token.String()+"\r\n\r\n"); resp.StatusCode != want {
			t.Fatalf("%s %s", resp.Status, body)
		}
	}
	ask(200)
	must(t, h.Configure(Config{Sites: []Site{site, {Host: "other.example.com", Handler: tokenApp, List: allow(t, "anna")}}}))
	w.append(ledger.IdentitySuspended{Name: name(t, "carl")})
	ask(200)
	w.append(ledger.TokenRevoked{Token: token.Hash()})
	ask(403)
}

// Whoever comes by a token in the path stays behind it when the application
// sends them elsewhere on its site, and takes it to no other.
func TestRedirectsStayBehindTheToken(t *testing.T) {
	w := newWorld(t)
	h := w.open(Options{}, Site{Host: "music.example.com", List: allow(t, "ben"), AppTokens: AppTokens{true, true}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", r.URL.Query().Get("to"))
		w.WriteHeader(http.StatusFound)
	})})
	token := w.issueToken("ben", "music.example.com", time.Hour)
	lead := tokenPath + token.String()
	for to, want := range map[string]string{
		"/login?a=b%2Fc#d":                lead + "/login?a=b%2Fc#d",
		"https://music.example.com/login": lead + "/login",
		"https://MUSIC.example.com/login": lead + "/login",
		"login":                           "login",
		"?page=2":                         "?page=2",
		"//evil.example.com/login":        "//evil.example.com/login",
		"/\\evil.example.com":             lead + "/%5Cevil.example.com",
		"https://evil.example.com/":       "https://evil.example.com/",
		"https://music.example.com:444/":  "https://music.example.com:444/",
		"https://x@music.example.com/":    "https://x@music.example.com/",
		"http://music.example.com/":       "http://music.example.com/",
		"app:music.example.com/":          "app:music.example.com/",
		"/.postern/health":                "/.postern/health",
		lead + "/a":                       lead + "/a",
		"https://music.example.com":       "https://music.example.com",
		"%zz":                             "%zz",
	} {
		for _, c := range []struct{ path, field, want string }{{lead + "/", "", want}, {"/", headerAppToken + ": " + token.String() + "\r\n", to}} {
			conn := h.mustDial(w.clientTLS(nil, "music.example.com"))
			resp, _ := raw(t, conn, "GET "+c.path+"?to="+url.QueryEscape(to)+" HTTP/1.1\r\nHost: music.example.com\r\n"+c.field+"\r\n")
			if got := resp.Header.Get("Location"); got != c.want {
				t.Errorf("%q at %.20s: %q, want %q", to, c.path, got, c.want)
			}
		}
	}
}

// Over HTTP/3 a token is what it is over TCP, and its end ends what it opened.
func TestTokensOverHTTP3(t *testing.T) {
	w, s, log := newWorld(t), newStage(), new(lines)
	h := w.open(Options{Log: log.logger()}, Site{Host: "music.example.com", HTTP3: true, List: allow(t, "ben"), AppTokens: AppTokens{true, true}, Handler: tokenApp},
		Site{Host: "live.example.com", HTTP3: true, List: allow(t, "ben"), AppTokens: AppTokens{Header: true}, Handler: s},
		Site{Host: "none.example.com", HTTP3: true, List: allow(t, "ben"), Handler: tokenApp})
	addr, _ := h.overQUIC()
	good, live := w.issueToken("ben/app", "music.example.com", time.Hour), w.issueToken("ben/app", "live.example.com", time.Hour)
	for sentence, c := range map[string]struct {
		host, path, token, want string
		as                      *device
	}{
		"by the header":          {host: "music", path: "/a", token: good.String(), want: "ben/app|/a|||[]"},
		"by the path":            {host: "music", path: tokenPath + good.String() + "/a", want: "ben/app|/a|||[]"},
		"of another site":        {host: "music", path: "/", token: live.String(), want: "bad-token"},
		"that nobody made":       {host: "music", path: "/", token: apptoken.New().String(), want: "bad-token"},
		"no token":               {host: "music", path: "/", want: "no-certificate"},
		"where none is taken":    {host: "none", path: "/", token: good.String(), want: "no-certificate"},
		"beside a certificate":   {host: "music", path: "/", token: good.String(), as: w.enrol("anna"), want: "not-on-list"},
		"behind it a way out":    {host: "music", path: tokenPath + good.String() + "/%2e%2e/x", want: "ambiguous-path"},
		"behind it the reserved": {host: "music", path: tokenPath + good.String() + "/.postern/renew", want: "no-certificate"},
	} {
		k := mustCall(t, addr, w.clientTLS(c.as, c.host+".example.com"))
		var fields []string
		if c.token != "" {
			fields = []string{headerAppToken, c.token}
		}
		for n := range 2 { // a second request of the connection is judged like the first
			resp, body := k.ask(http.MethodGet, "https://"+c.host+".example.com"+c.path, "", nil, fields...)
			if resp == nil && n > 0 && !strings.HasPrefix(c.want, "ben") {
				break // the refusal ended the connection
			}
			if resp == nil {
				t.Fatalf("%s: %s", sentence, body)
			}
			if got := string(refusalIn(body)); got != c.want && body != c.want {
				t.Errorf("%s: %s %q, want %q", sentence, resp.Status, body, c.want)
			}
			if resp.StatusCode == http.StatusOK && strings.HasPrefix(c.path, tokenPath) && resp.Header.Get("Referrer-Policy") != "no-referrer" {
				t.Errorf("%s: links from there tell the token", sentence)
			}
		}
	}
	k := mustCall(t, addr, w.clientTLS(nil, "live.example.com"))
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://live.example.com/hold", nil)
	must(t, err)
	r.Header.Set(headerAppToken, live.String())
	resp, err := k.RoundTrip(r)
	must(t, err)
	<-s.held
	w.append(ledger.TokenRevoked{Token: live.Hash()})
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("half an answer looks like a whole one")
	}
	select {
	case <-k.conn.Context().Done():
	case <-time.After(20 * time.Second):
		t.Error("the connection lives on")
	}
	if strings.Contains(log.String(), strings.TrimPrefix(good.String(), apptoken.Prefix)) {
		t.Errorf("the log holds a token:\n%s", log)
	}
}
