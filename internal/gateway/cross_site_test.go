package gateway

import (
	"fmt"
	"strings"
	"testing"

	"github.com/postern-project/postern/internal/refusal"
)

// A certificate is shown to whoever makes a browser ask, so pages of other
// origins change nothing unless they are named (LXD CVE-2025-54286).
func TestPagesOfOtherOriginsChangeNothing(t *testing.T) {
	w := newWorld(t)
	ben := w.enrol("ben/phone")
	list, friend := allow(t, "ben"), []string{"https://friend.example.com"}
	const host = "app.example.com"
	h := w.open(Options{}, Site{Host: host, Handler: whoami, List: list, Routes: []Route{
		crossing(route(t, "/any/", "ben"), Policy{CrossSite: CrossSite{Any: true}}),
		crossing(route(t, "/friend/", "ben"), Policy{CrossSite: CrossSite{Origins: friend}}),
		crossing(route(t, "/cors/", "ben"), Policy{CORS: &CORS{Origins: friend}}),
		crossing(route(t, "/star/", "ben", "strangers"), Policy{CORS: &CORS{Origins: []string{"*"}}}),
		crossing(route(t, "/audit/", "ben"), Policy{Audit: true}),
	}})
	evil, good := "Origin: https://evil.example.com\r\n", "Origin: https://friend.example.com\r\n"
	cross := "Sec-Fetch-Site: cross-site\r\n"
	websocket := "Connection: Upgrade\r\nUpgrade: websocket\r\n"
	for sentence, c := range map[string]struct {
		who                  *device
		method, path, fields string
		refused              bool
	}{
		"a program":                           {ben, "POST", "/", "", false},
		"the site's own page":                 {ben, "POST", "/", "Origin: https://app.example.com\r\nSec-Fetch-Site: same-origin\r\n", false},
		"its own page in an old browser":      {ben, "POST", "/", "Origin: https://app.example.com\r\n", false},
		"what a person typed":                 {ben, "POST", "/", "Sec-Fetch-Site: none\r\n", false},
		"another site's page":                 {ben, "POST", "/", evil + cross, true},
		"its form, without an origin":         {ben, "POST", "/", cross, true},
		"in an old browser":                   {ben, "POST", "/", evil, true},
		"a page without an origin":            {ben, "POST", "/", "Origin: null\r\n", true},
		"a sibling's page":                    {ben, "POST", "/", "Origin: https://other.example.com\r\nSec-Fetch-Site: same-site\r\n", true},
		"plain HTTP of the same host":         {ben, "POST", "/", "Origin: http://app.example.com\r\n", true},
		"another port of the same host":       {ben, "POST", "/", "Origin: https://app.example.com:8443\r\n", true},
		"two origins":                         {ben, "POST", "/", "Origin: https://app.example.com\r\n" + evil, true},
		"two words of the browser's":          {ben, "POST", "/", "Sec-Fetch-Site: same-origin\r\n" + cross, true},
		"a word that does not exist":          {ben, "POST", "/", "Sec-Fetch-Site: friendly\r\n", true},
		"hidden from the gateway":             {ben, "POST", "/", evil + cross + "Connection: origin, sec-fetch-site\r\n", true},
		"DELETE":                              {ben, "DELETE", "/", evil + cross, true},
		"a method nobody knows":               {ben, "FROB", "/", evil + cross, true},
		"a link":                              {ben, "GET", "/", cross, false},
		"a picture":                           {ben, "HEAD", "/", cross, false},
		"a WebSocket of another site's":       {ben, "GET", "/", evil + websocket, true},
		"a WebSocket of its own":              {ben, "GET", "/", "Origin: https://app.example.com\r\n" + websocket, false},
		"where the application sees to it":    {ben, "POST", "/any/", evil + cross, false},
		"a page that is named":                {ben, "POST", "/friend/", good + cross, false},
		"another than is named":               {ben, "POST", "/friend/", evil + cross, true},
		"a page that may share":               {ben, "POST", "/cors/", good + cross, false},
		"another than may share":              {ben, "POST", "/cors/", evil + cross, true},
		"all may share, without certificates": {ben, "POST", "/star/", evil + cross, true},
		"a stranger where strangers may":      {nil, "POST", "/star/", evil + cross, false},
		"audit mode":                          {ben, "POST", "/audit/", evil + cross, false},
	} {
		t.Run(sentence, func(t *testing.T) {
			conn := h.mustDial(w.clientTLS(c.who, host))
			fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\nAccept: application/problem+json\r\nContent-Length: 0\r\n%s\r\n", c.method, c.path, host, c.fields)
			buf := make([]byte, 8192)
			n, err := conn.Read(buf)
			must(t, err)
			for !strings.Contains(string(buf[:n]), "\r\n\r\n") {
				m, err := conn.Read(buf[n:])
				must(t, err)
				n += m
			}
			if got := strings.HasPrefix(string(buf[:n]), "HTTP/1.1 403"); got != c.refused {
				t.Errorf("%s", buf[:n])
			}
		})
	}
	if n := h.count("postern_would_refuse_total", "code", string(refusal.CrossSite)); n != 1 {
		t.Errorf("audit mode counted %v", n)
	}
}

func crossing(r Route, p Policy) Route {
	r.Policy = p
	return r
}
