package gateway

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/postern-project/postern/internal/refusal"
	"github.com/postern-project/postern/internal/rule"
)

func when(tb testing.TB, text string) Policy {
	tb.Helper()
	c, err := rule.ParseCondition(text)
	must(tb, err)
	return Policy{When: c}
}

func TestConditions(t *testing.T) {
	w := newWorld(t)
	ben, anna := w.enrol("ben/phone"), w.enrol("anna/phone")
	at := func(r Route, text string) Route { r.Policy = when(t, text); return r }
	h := w.open(Options{}, Site{Host: "app.example.com", Handler: whoami, List: allow(t, "enrolled"), Routes: []Route{
		at(route(t, "/key/", "enrolled"), `certificate.key == "ecdsa-p256"`),
		at(route(t, "/hardware/", "enrolled"), `certificate.hardware`),
		at(route(t, "/fresh/", "enrolled"), `certificate.age < duration("1h") && certificate.left > duration("30m")`),
		at(route(t, "/stale/", "enrolled"), `certificate.age > duration("1h")`),
		at(route(t, "/version/", "enrolled"), `request.headers["x-version"] == "2"`),
		at(route(t, "/reading/", "enrolled"), `request.method in ["GET", "HEAD"]`),
		at(route(t, "/path/", "enrolled"), `request.path == "/path/a b"`),
		at(route(t, "/open/", "strangers"), `identity.name != "" || request.method == "GET"`),
		at(route(t, "/forwarded/", "enrolled"), `"x-forwarded-for" in request.headers`),
	}})
	for sentence, c := range map[string]struct {
		who          *device
		method, path string
		want         string
	}{
		"the kind of key":                        {ben, "GET", "/key/", "hello ben/phone"},
		"hardware that nobody has vouched for":   {ben, "GET", "/hardware/", "condition"},
		"a young certificate":                    {ben, "GET", "/fresh/", "hello ben/phone"},
		"a certificate that is not old":          {anna, "GET", "/stale/", "condition"},
		"a header field":                         {ben, "GET", "/version/", "hello ben/phone"},
		"a method":                               {ben, "GET", "/reading/", "hello ben/phone"},
		"another method":                         {ben, "POST", "/reading/", "condition"},
		"the decoded path":                       {ben, "GET", "/path/a%20b", "hello ben/phone"},
		"another path":                           {ben, "GET", "/path/b", "condition"},
		"a stranger for whom it holds":           {nil, "GET", "/open/", "hello "},
		"a stranger for whom it does not":        {nil, "POST", "/open/", "condition"},
		"somebody for whom it does":              {ben, "POST", "/open/", "hello ben/phone"},
		"a stranger who is not on the list":      {nil, "GET", "/key/", "no-certificate"},
		"what was stripped is not asked":         {ben, "GET", "/forwarded/", "condition"},
		"where nothing is asked nothing changes": {ben, "POST", "/", "hello ben/phone"},
	} {
		t.Run(sentence, func(t *testing.T) {
			r, err := http.NewRequest(c.method, "https://app.example.com"+c.path, nil)
			must(t, err)
			r.Header.Set("X-Version", "2")
			r.Header.Set("X-Forwarded-For", "192.0.2.1")
			resp, err := client(t, h.addr, w.clientTLS(c.who, "app.example.com")).Do(r)
			must(t, err)
			body := read(t, resp)
			if got := string(refusalIn(body)); got != c.want && body != c.want {
				t.Errorf("%d %q, want %s", resp.StatusCode, body, c.want)
			}
		})
	}
}

// A field that is sent twice is one list, and bytes that are no text answer no
// question: a condition that forbids a value is not passed by hiding it.
func TestAHeaderFieldIsNotHiddenFromACondition(t *testing.T) {
	w := newWorld(t)
	ben := w.enrol("ben/phone")
	h := w.open(Options{}, Site{Host: "app.example.com", Handler: whoami, List: allow(t, "ben"), Policy: when(t, `!request.headers["x-mode"].contains("admin")`)})
	for value, want := range map[string]string{
		"user": "hello ben/phone", "user\r\nX-Mode: admin": "condition", "admin\xff": "condition", "\xff": "condition",
		"user\r\nX_Mode: admin": "hello ben/phone", // another field, and dropped
	} {
		conn := h.mustDial(w.clientTLS(ben, "app.example.com"))
		_, got := raw(t, conn, "GET / HTTP/1.1\r\nHost: app.example.com\r\nConnection: close\r\nX-Mode: "+value+"\r\n\r\n")
		if !strings.Contains(got, want) {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
	conn := h.mustDial(w.clientTLS(ben, "app.example.com"))
	if _, got := raw(t, conn, "GET / HTTP/1.1\r\nHost: app.example.com\r\nConnection: close\r\n\r\n"); !strings.Contains(got, `"condition"`) {
		t.Errorf("without the field: %s", got)
	}
}

// A WebSocket that may live until six is cut at six.
func TestTimeCutsWhatIsOpen(t *testing.T) {
	w := newWorld(t)
	ben := w.enrol("ben/phone")
	var clock atomic.Int64
	start := time.Now().Truncate(time.Minute)
	clock.Store(start.UnixNano())
	echo := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(rw, r, nil)
		if err != nil {
			return
		}
		defer ws.CloseNow()
		for {
			kind, msg, err := ws.Read(r.Context())
			if err != nil || ws.Write(r.Context(), kind, msg) != nil {
				return
			}
		}
	})
	end := start.Add(10 * time.Minute).UTC()
	limited := route(t, "/timed", "ben")
	limited.Policy = when(t, `request.time < timestamp("`+end.Format(time.RFC3339)+`")`)
	h := w.open(Options{Now: func() time.Time { return time.Unix(0, clock.Load()) }},
		Site{Host: "app.example.com", Handler: echo, List: allow(t, "ben"), Routes: []Route{limited}})
	dial := func(path string) *websocket.Conn {
		ws, _, err := websocket.Dial(t.Context(), "wss://app.example.com"+path, &websocket.DialOptions{HTTPClient: client(t, h.addr, w.clientTLS(ben, "app.example.com"))})
		must(t, err)
		t.Cleanup(func() { ws.CloseNow() })
		return ws
	}
	alive := func(ws *websocket.Conn) bool {
		if ws.Write(t.Context(), websocket.MessageText, []byte("hi")) != nil {
			return false
		}
		_, _, err := ws.Read(t.Context())
		return err == nil
	}
	timed, free := dial("/timed"), dial("/free")
	clock.Store(end.Add(-time.Minute).UnixNano())
	h.tellTime()
	if !alive(timed) || !alive(free) {
		t.Fatal("cut too early")
	}
	clock.Store(end.UnixNano())
	for deadline := time.Now().Add(20 * time.Second); h.count("postern_cut_connections_total", "code", string(refusal.Condition)) == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the sweep does not cut it")
		}
	}
	if alive(timed) {
		t.Error("still open")
	}
	if !alive(free) {
		t.Error("the other one was cut as well")
	}
}
