package attack

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// identityFields are fields in which some application is told who asks.
var identityFields = []string{"X-Postern-Identity", "X-Postern-Serial", "X-Postern-Partner", "X-Forwarded-For", "X-Forwarded-Client-Cert",
	"X-SSL-Client-Cert", "X-SSL-Client-Verify", "SSL-Client-Subject-DN", "Ssl-Client-Verify", "Client-Cert", "Client-Cert-Chain", "Remote-User",
	"X-Remote-User", "X-Forwarded-User", "Forwarded", "X-Real-IP", "X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "X-Auth-Request-User",
	"X-WEBAUTH-USER", "X-Authentik-Username", "Tailscale-User-Login", "Proxy"}

// spellings are other ways to write a field that some program reads as it.
func spellings(name string) []string {
	return []string{name, strings.ToLower(name), strings.ToUpper(name), strings.ReplaceAll(name, "-", "_"), strings.ReplaceAll(name, "-", "."),
		strings.Replace(name, "-", "_", 1), strings.ReplaceAll(name, "-", "~"), name + "_", "HTTP_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))}
}

// Who asks is said by the gateway alone: on every kind of listener, to
// strangers and to the enrolled, in every spelling, twice, behind Connection
// and in trailers.
//
// OpenShift CVE-2026-46579; Caddy CVE-2026-30851, CVE-2026-52845; Traefik
// CVE-2024-45410, CVE-2026-29054, CVE-2026-39858; oauth2-proxy CVE-2025-64484,
// CVE-2026-40575; Envoy CVE-2026-26308; Go CVE-2021-33197.
func TestForgedIdentity(t *testing.T) {
	t.Parallel()
	h := theHouse(t)
	ben := h.identity(t, "ben/laptop")
	const mark = "mallory-was-here"
	for site, who := range map[string]*tls.Certificate{"open": nil, "off": nil, "ben": ben, "parts": ben, "hidden": ben, "old": ben, "partner": ben} {
		t.Run(site, func(t *testing.T) {
			host := site + ".attack.test"
			conn, err := h.dial(t, h.tls(who, host))
			must(t, err)
			r := bufio.NewReader(conn)
			send := func(what, request string) {
				t.Helper()
				got := speak(conn, r, request)
				if got.err != nil || got.status >= 400 { // refused is fine, and a new connection is needed
					if conn, err = h.dial(t, h.tls(who, host)); err != nil {
						t.Fatal(err)
					}
					r = bufio.NewReader(conn)
					return
				}
				if strings.Contains(strings.ReplaceAll(got.body, "X-Harmless: a "+what+": "+mark, ""), mark) { // unfolded, it is one line
					t.Errorf("%s reaches the application:\n%s", what, got.body)
				}
				if named := strings.Contains(got.body, "X-Postern-Identity: ben/laptop"); named != (who != nil) {
					t.Errorf("%s: the gateway's own word is wrong:\n%s", what, got.body)
				}
			}
			for _, name := range identityFields {
				for _, s := range spellings(name) {
					send(s, "GET / HTTP/1.1\r\nHost: "+host+"\r\n"+s+": "+mark+"\r\n"+s+": again "+mark+"\r\n\r\n")
				}
				send("Connection: "+name, "GET / HTTP/1.1\r\nHost: "+host+"\r\nConnection: "+strings.ToLower(name)+", keep-alive\r\n"+name+": "+mark+"\r\n\r\n")
				send(name, "GET / HTTP/1.1\r\nHost: "+host+"\r\nX-Harmless: a\r\n "+name+": "+mark+"\r\n\r\n")
				send("a space behind "+name, "GET / HTTP/1.1\r\nHost: "+host+"\r\n"+name+" : "+mark+"\r\n\r\n")
				send("a trailer "+name, "POST / HTTP/1.1\r\nHost: "+host+"\r\nTrailer: "+name+"\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"+name+": "+mark+"\r\n\r\n")
				send("an unannounced trailer "+name, "POST / HTTP/1.1\r\nHost: "+host+"\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"+name+": "+mark+"\r\n\r\n")
			}
			for _, bytes := range []string{"\x80", "\xff\xfe", "é"} {
				send("bytes beyond ASCII", "GET / HTTP/1.1\r\nHost: "+host+"\r\nX-Postern-Identity"+bytes+": "+mark+"\r\n\r\n")
			}
		})
	}
	t.Run("HTTP2", func(t *testing.T) {
		f := h.framer(t, h.tls(ben, "ben.attack.test"))
		passed, withTrailers := 0, 0
		for _, name := range identityFields {
			for _, s := range spellings(strings.ToLower(name)) {
				got := f.ask(t, "ben.attack.test", "GET", "/", hpack.HeaderField{Name: strings.ToLower(s), Value: mark}, hpack.HeaderField{Name: strings.ToLower(s), Value: "again " + mark})
				passed += min(len(got), 1)
				if strings.Contains(got, mark) || got != "" && !strings.Contains(got, "X-Postern-Identity: ben/laptop") {
					t.Errorf("%s over HTTP/2:\n%s", s, got)
				}
			}
			for _, announced := range []hpack.HeaderField{{Name: "trailer", Value: name}, {Name: "x-harmless", Value: "a"}} {
				f.trailers = []hpack.HeaderField{{Name: strings.ToLower(name), Value: mark}, {Name: strings.ToLower(strings.ReplaceAll(name, "-", "_")), Value: mark}}
				got := f.ask(t, "ben.attack.test", "POST", "/", announced)
				withTrailers += min(len(got), 1)
				if strings.Contains(got, mark) || got != "" && !strings.Contains(got, "X-Postern-Identity: ben/laptop") {
					t.Errorf("a trailer %s over HTTP/2:\n%s", name, got)
				}
				f.trailers = nil
			}
			for _, pseudo := range []string{":path", ":authority", ":x-postern-identity"} {
				f.trailers = []hpack.HeaderField{{Name: pseudo, Value: mark}}
				if got := f.ask(t, "ben.attack.test", "POST", "/"); strings.Contains(got, mark) {
					t.Errorf("a trailer %s over HTTP/2:\n%s", pseudo, got)
				}
				f.trailers = nil
			}
		}
		if passed < 100 || withTrailers == 0 {
			t.Errorf("%d requests were passed on, %d with trailers: nothing of this was tried", passed, withTrailers)
		}
	})
}

// A path has one reading, for the rule and for the application; what has two
// is refused.
//
// Caddy CVE-2026-27587; Traefik CVE-2025-32431, CVE-2025-47952, CVE-2025-66490,
// CVE-2026-40912; Envoy CVE-2026-73511, -73551, -73553; oauth2-proxy
// CVE-2025-54576; grpc-go CVE-2026-33186.
func TestAmbiguousPaths(t *testing.T) {
	t.Parallel()
	h := theHouse(t)
	ben := h.identity(t, "ben/laptop") // may use all but /admin/
	ways := []string{"/admin/", "/admin", "/admin/x", "/admin/?a", "/%61dmin/", "/%2561dmin/", "//admin/", "/x/../admin/", "/x/..%2fadmin/", "/x/%2e%2e/admin/", "/./admin/", "/%2e/admin/",
		"/admin%2f", "/admin%2Fx", "/admin%5cx", "/admin\\x", "/open/../admin/", "/open/..;/admin/", "/;/admin/", "/admin;x", "/admin;/", "/admin%3b", "/admin%00", "/admin/%00", "/admin\x00",
		"/\xc0\xafadmin/", "/%c0%afadmin/", "/%c0%ae%c0%ae/admin/", "/%e0%80%afadmin/", "/open/%252e%252e/admin/", "/open/..%252fadmin/", "/admin#", "/open#/../admin/", "/x?/../admin", "admin/", "\\admin\\", "/\tadmin/", "/ admin/", "/admin/..", "/open/..", "/%0aadmin", "/admin%0d%0aX: y",
		"https://parts.attack.test/admin/", "https://parts.attack.test//admin/", "https://parts.attack.test", "http://parts.attack.test/admin/", "file:///admin/", "*", "/.postern/../admin/", "/.postern%2f../admin/", "/open/%uff0e%uff0e/admin", "/open/．．/admin/", "/adm%C2%ADin/", "/admin/%"}
	for _, method := range []string{"GET", "HEAD", "POST"} {
		for _, way := range ways {
			got := h.ask(t, h.tls(ben, "parts.attack.test"), method+" "+way+" HTTP/1.1\r\nHost: parts.attack.test\r\nContent-Length: 0\r\n\r\n")
			if got.err != nil || got.status >= 400 || method == "HEAD" {
				continue
			}
			// what passed was judged as something else than /admin/, and says the same to the application
			target := strings.Fields(got.body)[1]
			clean := strings.Split(target, "?")[0]
			if clean == "/admin" || strings.HasPrefix(clean, "/admin/") || strings.ContainsAny(clean, "\\;\x00#") ||
				strings.Contains(clean, "..") || strings.Contains(clean, "//") || strings.Contains(strings.ToLower(clean), "%2f") || strings.Contains(strings.ToLower(clean), "%2e") {
				t.Errorf("%s %q was passed on as %q", method, way, target)
			}
		}
	}
	f := h.framer(t, h.tls(ben, "parts.attack.test"))
	for _, way := range ways {
		if got := f.ask(t, "parts.attack.test", "GET", way); strings.HasPrefix(got, "GET /admin") || strings.Contains(strings.SplitN(got, "?", 2)[0], "..") {
			t.Errorf("%q over HTTP/2 was passed on:\n%s", way, got)
		}
	}
}

// Two programs may not read one connection as different requests: whatever is
// sent, the application sees no request that the gateway did not judge.
//
// Go CVE-2025-22871; fasthttp's bare LF; nginx CVE-2026-42926; CL.TE, TE.CL,
// TE.TE and their kin.
func TestSmuggling(t *testing.T) {
	t.Parallel()
	h := theHouse(t)
	const inner = "GET /admin/smuggled HTTP/1.1\r\nHost: parts.attack.test\r\n\r\n"
	host := "Host: parts.attack.test\r\n"
	n := len(inner)
	attacks := map[string]string{
		"CL.TE":                          host + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner,
		"TE.CL":                          host + fmt.Sprintf("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", n, inner),
		"TE.TE, the second unknown":      host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n\r\n0\r\n\r\n" + inner,
		"TE.TE, the first unknown":       host + "Transfer-Encoding: cow\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner,
		"chunked twice":                  host + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" + inner,
		"identity":                       host + "Transfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n" + inner,
		"xchunked":                       host + "Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + inner,
		"space before the colon":         host + "Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + inner,
		"tab before the value":           host + "Transfer-Encoding:\tchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + inner,
		"vertical tab":                   host + "Transfer-Encoding: \x0bchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + inner,
		"folded":                         host + "Transfer-Encoding:\r\n chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + inner,
		"quoted":                         host + "Transfer-Encoding: \"chunked\"\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + inner,
		"two lengths":                    host + fmt.Sprintf("Content-Length: 0\r\nContent-Length: %d\r\n\r\n%s", n, inner),
		"two lengths in one":             host + fmt.Sprintf("Content-Length: 0, %d\r\n\r\n%s", n, inner),
		"a negative length":              host + "Content-Length: -1\r\n\r\n" + inner,
		"a signed length":                host + "Content-Length: +0\r\n\r\n" + inner,
		"a hexadecimal length":           host + "Content-Length: 0x0\r\n\r\n" + inner,
		"a length too large":             host + "Content-Length: 18446744073709551616\r\n\r\n" + inner,
		"bare LF ends the head":          host + "Content-Length: 0\n\n" + inner,
		"bare CR in a value":             host + "X: a\rTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + inner,
		"NUL in a value":                 host + "X: a\x00b\r\nContent-Length: 0\r\n\r\n" + inner,
		"a field without colon":          host + "Content-Length 0\r\n\r\n" + inner,
		"bare LF in a chunk line":        host + "Transfer-Encoding: chunked\r\n\r\n0\n\n" + inner,
		"bare LF in an extension":        host + "Transfer-Encoding: chunked\r\n\r\n1;a\nb\r\nx\r\n0\r\n\r\n" + inner,
		"an extension with CR":           host + "Transfer-Encoding: chunked\r\n\r\n1;a\rb\r\nx\r\n0\r\n\r\n" + inner,
		"a chunk size with a sign":       host + "Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n" + inner,
		"a chunk size with 0x":           host + "Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n" + inner,
		"a chunk size that wraps":        host + "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n\r\n" + inner,
		"a chunk longer than it says":    host + "Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n" + inner,
		"HTTP/1.0 and chunked":           "\x00" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner,
		"a length in a GET, short":       host + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", 1, "x"+inner),
		"early bytes after an upgrade":   host + "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" + inner,
		"upgrade to h2c":                 host + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n" + inner,
		"Expect and a body at once":      host + fmt.Sprintf("Expect: 100-continue\r\nContent-Length: %d\r\n\r\n%s", n, inner),
		"a length for the Connection":    host + fmt.Sprintf("Connection: Content-Length\r\nContent-Length: %d\r\n\r\n%s", n, inner),
		"TE named by Connection":         host + fmt.Sprintf("Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", n, inner),
		"an underscored length":          host + fmt.Sprintf("Content_Length: %d\r\nContent-Length: 0\r\n\r\n%s", n, inner),
		"trailers with a length":         host + "Transfer-Encoding: chunked\r\nTrailer: Content-Length\r\n\r\n0\r\nContent-Length: 100\r\n\r\n" + inner,
		"a second request, as it may be": host + "Content-Length: 0\r\n\r\n" + inner,
	}
	ben := h.identity(t, "ben/laptop") // may not use /admin/
	for sentence, text := range attacks {
		version := "HTTP/1.1"
		if rest, ok := strings.CutPrefix(text, "\x00"); ok {
			text, version = rest, "HTTP/1.0"
		}
		for _, method := range []string{"GET", "POST"} {
			h.say(t, h.tls(ben, "parts.attack.test"), method+" /outer "+version+"\r\n"+text)
			if got := h.app.saw("GET /admin/smuggled"); len(got) > 0 && strings.HasPrefix(got[len(got)-1].head, "GET /admin/smuggled") {
				t.Errorf("%s, %s: the application saw\n%s", sentence, method, got[len(got)-1].head)
			}
		}
	}
	for _, r := range h.app.saw("/outer") {
		lower := strings.ToLower(r.head)
		if strings.Count(lower, "\r\ncontent-length:")+strings.Count(lower, "\r\ntransfer-encoding:") > 1 || strings.Contains(strings.ReplaceAll(r.head, "\r\n", ""), "\r") || strings.Contains(strings.ReplaceAll(r.head, "\r\n", ""), "\n") {
			t.Errorf("the application saw a request of two readings: %q", r.head)
		}
	}
}

// What HTTP/2 allows in a field and HTTP/1.1 reads as more is refused, not
// translated.
//
// nginx CVE-2026-42926; h2.CL, h2.TE and request splitting by line breaks.
func TestDowngrade(t *testing.T) {
	t.Parallel()
	h := theHouse(t)
	ben := h.identity(t, "ben/laptop")
	const inner = "\r\n\r\nGET /admin/downgraded HTTP/1.1\r\nHost: parts.attack.test\r\n\r\n"
	field := func(name, value string) []hpack.HeaderField { return []hpack.HeaderField{{Name: name, Value: value}} }
	for sentence, extra := range map[string][]hpack.HeaderField{
		"line breaks in a value":    field("x-a", "b"+inner),
		"line breaks in a name":     field("x-a: b"+inner+"x", "c"),
		"bare LF in a value":        field("x-a", "b\nX-Postern-Identity: anna"),
		"bare CR in a value":        field("x-a", "b\rX-Postern-Identity: anna"),
		"NUL in a value":            field("x-a", "b\x00c"),
		"a colon in a name":         field("x-postern-identity: anna\r\nx", "b"),
		"capitals in a name":        field("X-Postern-Identity", "anna"),
		"transfer-encoding":         field("transfer-encoding", "chunked"),
		"connection":                field("connection", "x-a"),
		"upgrade":                   field("upgrade", "websocket"),
		"a length that is not true": field("content-length", "4"),
		"two lengths":               {{Name: "content-length", Value: "0"}, {Name: "content-length", Value: "4"}},
		"two paths":                 field(":path", "/admin/downgraded"),
		"an unknown pseudo-field":   field(":evil", "x"),
		"a late :authority":         field(":authority", "anna.attack.test"),
		"another host":              field("host", "anna.attack.test"),
		"te":                        field("te", "gzip, trailers"),
	} {
		f := h.framer(t, h.tls(ben, "parts.attack.test"))
		if got := f.ask(t, "parts.attack.test", "POST", "/outer2", extra...); got != "" {
			if strings.Contains(got, "downgraded") || strings.Contains(got, "\nX-Postern-Identity: anna") || !strings.HasPrefix(got, "POST /outer2 HTTP/1.1\r\n") {
				t.Errorf("%s: the application saw\n%s", sentence, got)
			}
		}
	}
	for _, r := range h.app.saw("downgraded") {
		t.Errorf("the application saw\n%s", r.head)
	}
	// a method, a path and an authority with line breaks
	f := h.framer(t, h.tls(ben, "parts.attack.test"))
	for _, c := range [][3]string{{"GET" + inner, "/", "parts.attack.test"}, {"GET", "/" + inner, "parts.attack.test"}, {"GET", "/", "parts.attack.test" + inner}, {"GET /admin/ HTTP/1.1", "/", "parts.attack.test"}} {
		if got := f.ask(t, c[2], c[0], c[1]); got != "" {
			t.Errorf("%q: the application saw\n%s", c, got)
		}
	}
	if got := f.ask(t, "anna.attack.test", "GET", "/"); got != "" {
		t.Errorf("a stream for another host: %s", got)
	}
	if got := f.ask(t, "parts.attack.test", "GET", "/"); !strings.HasPrefix(got, "GET / ") {
		t.Errorf("after all that: %q", got)
	}
}

// A framer speaks HTTP/2 by hand.
type framer struct {
	h *house
	c *tls.Config
	*tls.Conn
	*http2.Framer
	enc    *hpack.Encoder
	buf    *strings.Builder
	stream uint32
	dead   bool
	// trailers, and a body before them, follow each request.
	trailers []hpack.HeaderField
}

func (h *house) framer(t testing.TB, c *tls.Config) *framer {
	t.Helper()
	c.NextProtos = []string{"h2"}
	f := &framer{h: h, c: c}
	f.connect(t)
	return f
}

func (f *framer) connect(t testing.TB) {
	t.Helper()
	conn, err := f.h.dial(t, f.c)
	must(t, err)
	f.Conn, f.Framer, f.buf, f.stream, f.dead = conn, http2.NewFramer(conn, conn), &strings.Builder{}, 0, false
	f.enc = hpack.NewEncoder(f.buf)
	f.AllowIllegalWrites = true
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_, err = conn.Write([]byte(http2.ClientPreface))
	must(t, err)
	must(t, f.WriteSettings())
}

// ask sends one request and returns what the application saw of it; "" when it
// was refused in any way.
func (f *framer) ask(t testing.TB, authority, method, path string, extra ...hpack.HeaderField) string {
	t.Helper()
	if f.dead {
		f.connect(t)
	}
	f.stream += max(1, min(2, f.stream+1))
	f.buf.Reset()
	for _, h := range append([]hpack.HeaderField{{Name: ":method", Value: method}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: authority}, {Name: ":path", Value: path}}, extra...) {
		f.enc.WriteField(h)
	}
	must(t, f.WriteHeaders(http2.HeadersFrameParam{StreamID: f.stream, BlockFragment: []byte(f.buf.String()), EndStream: f.trailers == nil, EndHeaders: true}))
	if f.trailers != nil {
		f.WriteData(f.stream, false, []byte("body"))
		f.buf.Reset()
		for _, h := range f.trailers {
			f.enc.WriteField(h)
		}
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: f.stream, BlockFragment: []byte(f.buf.String()), EndStream: true, EndHeaders: true})
	}
	status, body := "", ""
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			f.dead = true
			return ""
		}
		if frame.Header().StreamID != f.stream {
			if _, away := frame.(*http2.GoAwayFrame); away {
				f.dead = true
			}
			continue
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			status = frame.PseudoValue("status")
		case *http2.DataFrame:
			body += string(frame.Data())
		case *http2.RSTStreamFrame:
			return ""
		}
		if frame.Header().Flags.Has(http2.FlagDataEndStream) {
			if status != fmt.Sprint(http.StatusOK) {
				return ""
			}
			return body
		}
	}
}

// A certificate is shown to whoever makes a browser ask. Another site's page
// changes nothing by that, whatever kind of request it can send.
//
// LXD CVE-2025-54286.
func TestCrossSite(t *testing.T) {
	t.Parallel()
	h := theHouse(t)
	ben, member := h.identity(t, "ben/laptop"), h.partner.sign(t, dnsDevice("api.acme.test"))
	const mark = "pressed-by-mallory"
	for site, who := range map[string]*tls.Certificate{"ben": ben, "parts": ben, "open": ben, "hidden": ben, "old": ben, "partner": member} {
		host := site + ".attack.test"
		for sentence, fields := range map[string]string{
			"a form":                 "Sec-Fetch-Site: cross-site\r\nOrigin: https://evil.test\r\nContent-Type: application/x-www-form-urlencoded\r\n",
			"a form without Origin":  "Sec-Fetch-Site: cross-site\r\n",
			"an old browser":         "Origin: https://evil.test\r\n",
			"a page in a sandbox":    "Origin: null\r\n",
			"a sibling":              "Sec-Fetch-Site: same-site\r\nOrigin: https://evil.attack.test\r\n",
			"hidden by Connection":   "Sec-Fetch-Site: cross-site\r\nOrigin: https://evil.test\r\nConnection: Sec-Fetch-Site, Origin\r\n",
			"a second, milder word":  "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Site: same-origin\r\nOrigin: https://evil.test\r\n",
			"a prefix of its origin": "Origin: https://" + host + ".evil.test\r\n",
		} {
			if got := h.ask(t, h.tls(who, host), "POST /"+mark+" HTTP/1.1\r\nHost: "+host+"\r\n"+fields+"Content-Length: 0\r\n\r\n"); got.String() != "cross-site" {
				t.Errorf("%s at %s: %s", sentence, site, got)
			}
		}
		websocket := "GET /accept-" + mark + " HTTP/1.1\r\nHost: " + host + "\r\nOrigin: https://evil.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
		if got := h.ask(t, h.tls(who, host), websocket); got.String() != "cross-site" {
			t.Errorf("a WebSocket at %s: %s", site, got)
		}
		own := "Sec-Fetch-Site: same-origin\r\nOrigin: https://" + host + "\r\n"
		if got := h.ask(t, h.tls(who, host), "POST /own HTTP/1.1\r\nHost: "+host+"\r\n"+own+"Content-Length: 0\r\n\r\n"); got.String() != "200" {
			t.Errorf("its own page at %s: %s", site, got)
		}
	}
	if got := h.app.saw(mark); len(got) > 0 {
		t.Errorf("the application saw %q", got[0].head)
	}
	for _, path := range []string{"/.postern/renew", "/.postern/again"} {
		got := h.ask(t, h.tls(ben, "ben.attack.test"), "POST "+path+" HTTP/1.1\r\nHost: ben.attack.test\r\nSec-Fetch-Site: cross-site\r\nOrigin: https://evil.test\r\nContent-Length: 0\r\n\r\n")
		if got.String() != "cross-site" {
			t.Errorf("%s: %s", path, got)
		}
	}
}
