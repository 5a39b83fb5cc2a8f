package upstream

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/postern-project/postern/internal/refusal"
)

// app is an application that answers with its name and counts its requests.
type app struct {
	*httptest.Server
	asked atomic.Int64
}

func newApp(t testing.TB, name string) *app {
	t.Helper()
	a := &app{}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.asked.Add(1)
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, name)
	}))
	t.Cleanup(a.Close)
	return a
}

// shut returns an address at which nobody listens.
func shut(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	return "http://" + ln.Addr().String()
}

// front serves a group as the gateway does, for whoever ?as= names.
func front(t testing.TB, o GroupOptions, specs ...string) (*httptest.Server, *refused) {
	t.Helper()
	g, err := NewGroup(specs, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	f := new(refused)
	forward := g.Handler(f.answer)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name := r.URL.Query().Get("as"); name != "" {
			r.Header[headerIdentity], r.Header[headerSerial] = []string{name}, []string{"01"}
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s, f
}

func TestWorkIsSharedInTurn(t *testing.T) {
	t.Parallel()
	a, b, c := newApp(t, "a"), newApp(t, "b"), newApp(t, "c")
	door, _ := front(t, GroupOptions{}, a.URL, b.URL, c.URL)
	for range 30 {
		get(t, door.URL)
	}
	if a.asked.Load() != 10 || b.asked.Load() != 10 || c.asked.Load() != 10 {
		t.Errorf("shared %d, %d, %d", a.asked.Load(), b.asked.Load(), c.asked.Load())
	}
}

func TestTheOneWithTheLeastToDoIsAsked(t *testing.T) {
	t.Parallel()
	arrived, leave := make(chan struct{}), make(chan struct{})
	busy := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		select {
		case <-leave:
		case <-r.Context().Done():
		}
	}))
	defer busy.Close()
	idle := newApp(t, "idle")
	door, _ := front(t, GroupOptions{Balance: LeastConnections}, busy.URL, idle.URL)
	held := make(chan struct{})
	go func() { // until one of them is held by the busy one
		defer close(held)
		for {
			resp, err := http.Get(door.URL)
			if err != nil {
				return
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if string(body) != "idle" {
				return
			}
		}
	}()
	<-arrived
	before := idle.asked.Load()
	for range 10 {
		if _, body := get(t, door.URL); body != "idle" {
			t.Error("the busy one was asked")
		}
	}
	if n := idle.asked.Load() - before; n != 10 {
		t.Errorf("the idle one was asked %d times", n)
	}
	close(leave)
	<-held
}

// What may be asked twice is, of somebody else; what may not is not.
func TestRetriesOnAnother(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		method, body string
		retries      int
		passes       bool
	}{
		"GET":                  {method: "GET", passes: true},
		"HEAD":                 {method: "HEAD", passes: true},
		"DELETE":               {method: "DELETE", passes: true},
		"POST without a body":  {method: "POST"},
		"PUT with a body":      {method: "PUT", body: "x"},
		"GET with a body":      {method: "GET", body: "x"},
		"GET without retrying": {method: "GET", retries: -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			good := newApp(t, "good")
			door, f := front(t, GroupOptions{Retries: c.retries}, shut(t), good.URL)
			failed := 0
			for range 2 { // one of the two begins with the one that is down
				req, err := http.NewRequest(c.method, door.URL, nil)
				if err != nil {
					t.Fatal(err)
				}
				if c.body != "" {
					req.Body, req.ContentLength = io.NopCloser(strings.NewReader(c.body)), int64(len(c.body))
				}
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if resp.StatusCode == http.StatusBadGateway {
					failed++
				} else if resp.StatusCode != 200 {
					t.Errorf("answered %d", resp.StatusCode)
				}
			}
			if want := map[bool]int{true: 0, false: 1}[c.passes]; failed != want {
				t.Errorf("%d failed, want %d: %s", failed, want, f.all())
			}
		})
	}
}

func TestWhenAllAreDownTheOperatorIsTold(t *testing.T) {
	t.Parallel()
	door, f := front(t, GroupOptions{Retries: 5}, shut(t), shut(t), shut(t))
	status, _ := get(t, door.URL)
	if status != 502 || !strings.Contains(f.all(), "connection refused (the last of 3 that were tried)") {
		t.Fatal(status, f.all())
	}
	for range 10 { // paused or not, somebody is asked
		get(t, door.URL)
	}
	if n := strings.Count(f.all(), "upstream-down"); n != 11 {
		t.Errorf("%d of 11 were reported", n)
	}
}

// An answer that has begun is never mixed with another one.
func TestAnAnswerThatBreaksOffIsNotRetried(t *testing.T) {
	t.Parallel()
	good := newApp(t, "good")
	bad := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "half of")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer bad.Close()
	door, _ := front(t, GroupOptions{}, bad.URL, good.URL)
	broken := 0
	once := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // so that it does not ask again by itself
	for range 2 {
		resp, err := once.Get(door.URL)
		if err != nil { // it broke off before its first byte was handed on
			broken++
			continue
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if strings.Contains(string(body), "half") && strings.Contains(string(body), "good") {
			t.Fatalf("two answers in one: %q", body)
		}
		if err != nil {
			broken++
		}
	}
	if broken != 1 {
		t.Errorf("%d answers broke off", broken)
	}
}

// A member that fails in a row pauses, and comes back by itself.
func TestAMemberThatFailsPauses(t *testing.T) {
	t.Parallel()
	now := time.Now()
	m := &member{}
	for i := range failuresToPause {
		if paused := m.worked(false, now); paused != (i == failuresToPause-1) {
			t.Errorf("failure %d: paused %v", i+1, paused)
		}
	}
	if m.well(now.Add(pause - 1)) {
		t.Error("it is asked while it pauses")
	}
	if !m.well(now.Add(pause)) {
		t.Error("it does not come back")
	}
	m.worked(true, now)
	if !m.well(now) {
		t.Error("a success does not end the pause")
	}
	m.worked(false, now)
	m.worked(false, now)
	m.worked(true, now)
	m.worked(false, now)
	if !m.well(now) {
		t.Error("failures that are not in a row pause it")
	}
}

func TestHealthTakesTwoToChange(t *testing.T) {
	t.Parallel()
	m := &member{}
	now := time.Now()
	for i, step := range []struct{ ok, changed, well bool }{
		{true, false, true}, {false, false, true}, {true, false, true}, {false, false, true}, {false, true, false},
		{true, false, false}, {false, false, false}, {true, false, false}, {true, true, true},
	} {
		if changed := m.checked(step.ok); changed != step.changed || m.well(now) != step.well {
			t.Errorf("step %d: changed %v, well %v", i, changed, m.well(now))
		}
	}
}

// One that fails its checks gets no work, and gets it back when it passes.
func TestHealthIsChecked(t *testing.T) {
	t.Parallel()
	var sick atomic.Bool
	sick.Store(true)
	var asked atomic.Int64
	patient := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/healthz":
			asked.Add(1)
		case r.Host != "app.example.com":
			t.Errorf("the check is for host %s", r.Host)
		case sick.Load():
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		io.WriteString(w, "patient")
	}))
	defer patient.Close()
	good := newApp(t, "good")
	door, _ := front(t, GroupOptions{Health: Health{Path: "/healthz", Host: "app.example.com", Every: 10 * time.Millisecond}}, patient.URL, good.URL)
	await := func(what string, done func() bool) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("never: " + what)
			}
		}
	}
	quiet := func() bool {
		before := asked.Load()
		for range 4 {
			get(t, door.URL)
		}
		return asked.Load() == before
	}
	await("the sick one gets no work", quiet)
	sick.Store(false)
	await("the cured one gets work", func() bool { return !quiet() })
}

func TestASlowAnswerTakesNobodyOut(t *testing.T) {
	t.Parallel()
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-r.Context().Done()
		}
		io.WriteString(w, "here")
	}))
	defer slow.Close()
	g, err := NewGroup([]string{slow.URL, slow.URL + "/"}, GroupOptions{Options: Options{ResponseHeaderTimeout: 50 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	f := new(refused)
	door := httptest.NewServer(g.Handler(f.answer))
	defer door.Close()
	for range 8 {
		if status, _ := get(t, door.URL+"/slow"); status != http.StatusGatewayTimeout {
			t.Fatal(status, f.all())
		}
	}
	for _, m := range g.circle.members {
		if !m.well(time.Now()) {
			t.Error("a visitor who asks for something slow takes the application out")
		}
	}
}

func TestBodiesHaveALimit(t *testing.T) {
	t.Parallel()
	app := newApp(t, "fine")
	door, f := front(t, GroupOptions{MaxBody: 100_000}, app.URL)
	for name, c := range map[string]struct {
		size    int
		chunked bool
		status  int
	}{
		"none":                        {0, false, 200},
		"as large as allowed":         {100_000, false, 200},
		"one byte more":               {100_001, false, 413},
		"as large as allowed, chunks": {100_000, true, 200},
		"one byte more, chunks":       {100_001, true, 413},
		"much more, chunks":           {5_000_000, true, 413},
	} {
		t.Run(name, func(t *testing.T) {
			var body io.Reader = strings.NewReader(strings.Repeat("x", c.size))
			if c.chunked {
				body = struct{ io.Reader }{body}
			}
			resp, err := http.Post(door.URL, "text/plain", body)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != c.status {
				t.Errorf("answered %d, want %d: %s", resp.StatusCode, c.status, f.all())
			}
		})
	}
	if strings.Contains(f.all(), string(refusal.BadRequest)) {
		t.Errorf("a body that is too large is called a bad request: %s", f.all())
	}
}

// Where the application authenticates connections, nobody is ever answered on
// a connection that was somebody else's (dfds/infrastructure-modules#2475).
func TestSeparatePoolsAreNeverShared(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	users := map[string]map[string]bool{} // of a connection
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if users[r.RemoteAddr] == nil {
			users[r.RemoteAddr] = map[string]bool{}
		}
		users[r.RemoteAddr][r.Header.Get(headerIdentity)] = true
		if r.Header.Get(headerIdentity) == "" && len(users[r.RemoteAddr]) > 0 {
			users[r.RemoteAddr]["stranger "+r.URL.Query().Get("n")] = true
		}
	}))
	defer app.Close()
	door, _ := front(t, GroupOptions{Separate: true}, app.URL)
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := range 25 {
				get(t, fmt.Sprintf("%s/?as=%s", door.URL, []string{"ben/phone", "anna/phone", "services/x"}[(worker+i)%3]))
				get(t, fmt.Sprintf("%s/?n=%d.%d", door.URL, worker, i))
			}
		})
	}
	all.Wait()
	reused := len(users) < 200
	for conn, names := range users {
		if len(names) > 1 && !names[""] || len(names) > 2 {
			t.Errorf("connection %s was used by %v", conn, names)
		}
	}
	if !reused {
		t.Errorf("%d connections for 200 requests: one identity's are not used again", len(users))
	}
}

func TestTheNumberOfSeparatePoolsIsBounded(t *testing.T) {
	t.Parallel()
	s, err := newSeparate(func(o Options) (*Upstream, error) { return New("http://127.0.0.1:1", o) }, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 * maxSeparate {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header[headerIdentity], r.Header[headerSerial] = []string{fmt.Sprint("device-", i)}, []string{"01"}
		if _, err := s.of(r); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.pools) != maxSeparate || s.order.Len() != maxSeparate {
		t.Errorf("%d pools", len(s.pools))
	}
}

// selfSigned returns a certificate for host and a pool that trusts it.
func selfSigned(t *testing.T, host string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, _ := x509.ParseCertificate(der)
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}

// An https application is verified by the roots and the name that were said,
// and shown the gateway's certificate.
func TestTLSToAnUpstream(t *testing.T) {
	t.Parallel()
	serverCert, serverRoots := selfSigned(t, "app.internal")
	clientCert, clientRoots := selfSigned(t, "gateway")
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.TLS.ServerName+" "+r.TLS.PeerCertificates[0].Subject.CommonName)
	}))
	app.TLS = &tls.Config{Certificates: []tls.Certificate{serverCert}, ClientCAs: clientRoots, ClientAuth: tls.RequireAndVerifyClientCert}
	app.StartTLS()
	defer app.Close()
	shown := func() (*tls.Certificate, error) { return &clientCert, nil }
	for name, c := range map[string]struct {
		tls    TLS
		status int
		says   string
	}{
		"all of it":               {TLS{serverRoots, "app.internal", shown}, 200, "app.internal gateway"},
		"another authority's":     {TLS{clientRoots, "app.internal", shown}, 502, "unknown authority"},
		"the system's roots":      {TLS{nil, "app.internal", shown}, 502, "unknown authority"},
		"another name":            {TLS{serverRoots, "other.internal", shown}, 502, "other.internal"},
		"the address as the name": {TLS{serverRoots, "", shown}, 502, "127.0.0.1"},
		"no client certificate":   {TLS{serverRoots, "app.internal", nil}, 502, "certificate required"},
	} {
		t.Run(name, func(t *testing.T) {
			door, f := front(t, GroupOptions{TLS: c.tls}, app.URL)
			status, body := get(t, door.URL)
			if status != c.status || !strings.Contains(body+f.all(), c.says) {
				t.Errorf("%d %q %s", status, body, f.all())
			}
		})
	}
	if _, err := NewGroup([]string{"http://127.0.0.1:1"}, GroupOptions{TLS: TLS{Roots: serverRoots}}); err == nil {
		t.Error("roots for an upstream without TLS are taken")
	}
}

// A group carries what a single upstream carries: WebSockets, and events as
// soon as they are written.
func TestAGroupCarriesWebSocketsAndEvents(t *testing.T) {
	t.Parallel()
	next := make(chan struct{})
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ws" {
			c, err := websocket.Accept(w, r, nil)
			if err != nil {
				return
			}
			kind, data, err := c.Read(r.Context())
			if err == nil {
				c.Write(r.Context(), kind, data)
			}
			c.Close(websocket.StatusNormalClosure, "")
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
			select {
			case <-next:
			case <-r.Context().Done():
			}
		}
	}))
	defer app.Close()
	door, _ := front(t, GroupOptions{MaxBody: 1 << 20}, app.URL, app.URL+"/")
	c, _, err := websocket.Dial(t.Context(), door.URL+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Write(t.Context(), websocket.MessageText, []byte("hello"))
	if _, got, err := c.Read(t.Context()); err != nil || string(got) != "hello" {
		t.Fatalf("%q, %v", got, err)
	}
	c.CloseNow()
	resp, err := http.Get(door.URL + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	events := bufio.NewReader(resp.Body)
	for i := range 3 { // each is there before the next one is written
		line, err := events.ReadString('\n')
		if err != nil || line != fmt.Sprintf("data: %d\n", i) {
			t.Fatalf("event %d: %q, %v", i, line, err)
		}
		events.ReadString('\n')
		next <- struct{}{}
	}
}

func TestATCPUpstreamIsFoundAmongSeveral(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	down := strings.TrimPrefix(shut(t), "http://")
	up, err := NewTCP([]string{down, ln.Addr().String()}, TCPOptions{Balance: LeastConnections, Health: Health{Every: 5 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	for range 10 {
		c, err := up.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		c.Close()
	}
	for _, m := range up.circle.members {
		if n := m.active.Load(); n != 0 {
			t.Errorf("%s: %d connections are counted", m.spec, n)
		}
	}
	for end := time.Now().Add(20 * time.Second); up.circle.members[0].well(time.Now()); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the one that is down is never taken out")
		}
	}
	none, err := NewTCP([]string{down, down}, TCPOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := none.Dial(t.Context()); err == nil || !strings.Contains(err.Error(), "the last of 2 that were tried") {
		t.Errorf("%v", err)
	}
}
