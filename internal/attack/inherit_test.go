package attack

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A guest is somebody who comes again and again.
type guest struct {
	name   string // "" is somebody without a good certificate
	shows  *tls.Certificate
	caches map[string]tls.ClientSessionCache // by site
	moody  bool                              // is suspended now and then
}

// fate is what a guest gets at a site: an answer with his name in it, or with
// none, or a refusal.
func (g *guest) fate(site string) (names []string, refused bool) {
	listed := map[string][]string{"open": nil, "quic": nil, "all": {"ben/laptop", "anna/phone", "dora/desk"}, "ben": {"ben/laptop"}, "anna": {"anna/phone"}, "hidden": {"ben/laptop"}}[site]
	switch {
	case listed == nil && g.moody:
		return []string{g.name, ""}, false
	case listed == nil:
		return []string{g.name}, false
	case !slices.Contains(listed, g.name):
		return nil, true
	}
	return []string{g.name}, g.moody
}

// A million is the run of all guests.
type million struct {
	h      *house
	guests []*guest
	packet *quic.Transport // of this worker
	counts map[string]*atomic.Int64
}

var kindsOfVisits = []string{"HTTP/1.1", "HTTP/1.1 resumed", "HTTP/2", "HTTP/2 resumed", "HTTP/3", "interrupted", "refused", "answered"}

// Of many connections of all kinds at once, none ever speaks for somebody
// else's certificate: full handshakes and resumed ones, over HTTP/1.1, HTTP/2
// and QUIC, of people who are known, of strangers, of somebody revoked, of
// somebody who is suspended and reinstated meanwhile, and of those who leave in
// the middle. In the long form there are a million.
//
// haproxy#248 (state of another connection in reused memory).
func TestNobodyInheritsAnIdentity(t *testing.T) {
	h := ownHouse(t, "")
	app := newWitness(t, 0)
	h.write(t, strings.ReplaceAll(`%LISTEN%%METRICS%log: {level: error}
sites:
  open.attack.test: {proxy: "%WITNESS%", allow: [strangers]}
  quic.attack.test: {proxy: "%WITNESS%", allow: [strangers], http3: experimental}
  all.attack.test: {proxy: "%WITNESS%", allow: [enrolled]}
  ben.attack.test: {proxy: "%WITNESS%", allow: [ben]}
  anna.attack.test: {proxy: "%WITNESS%", allow: [anna]}
  hidden.attack.test: {proxy: "%WITNESS%", allow: [ben], stealth: true}
`, "%WITNESS%", app.URL))
	h.mustOpen(t)
	other, err := newAuthority("nobody's", nil)
	must(t, err)
	lost := h.identity(t, "carl/lost")
	h.run(t, "revoke", "carl/lost")
	guests := []*guest{
		{name: "ben/laptop", shows: h.identity(t, "ben/laptop")},
		{name: "anna/phone", shows: h.identity(t, "anna/phone")},
		{},
		{shows: lost},
		{shows: other.sign(t, device("ben/laptop"))},
		{name: "dora/desk", shows: h.identity(t, "dora/desk"), moody: true},
	}
	counts := map[string]*atomic.Int64{}
	for _, kind := range kindsOfVisits {
		counts[kind] = new(atomic.Int64)
	}
	for _, g := range guests {
		g.caches = map[string]tls.ClientSessionCache{}
		for _, site := range sitesOfVisits {
			g.caches[site] = tls.NewLRUClientSessionCache(16)
		}
	}
	before := h.calm(t)
	total := int64(either(2_000, int(share*1_000_000)))
	enough := time.Now().Add(40 * lasting(time.Minute)) // on a slow machine there are fewer
	var next, made atomic.Int64
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Error(err)
				return
			}
			m := &million{h, guests, &quic.Transport{Conn: pc}, counts}
			defer pc.Close()
			defer m.packet.Close()
			for i := next.Add(1); i <= total && !t.Failed() && time.Now().Before(enough); i = next.Add(1) {
				made.Add(1)
				if err := m.visit(t.Context(), int(i)); err != nil {
					t.Errorf("connection %d: %v", i, err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	began, shown, peak := time.Now(), time.Now(), 0
	for i := 0; !ended(done); i++ { // what changes meanwhile
		h.run(t, "suspend", "dora")
		h.cmd.Process.Signal(syscall.SIGHUP)
		h.run(t, "reinstate", "dora")
		peak = max(peak, h.state(t).resident)
		if time.Since(shown) > 10*time.Second {
			shown = time.Now()
			t.Logf("%d of %d after %v", made.Load(), total, time.Since(began).Round(time.Second))
		}
		select {
		case <-done:
		case <-time.After(either(100*time.Millisecond, 5*time.Second)):
		}
	}
	var said strings.Builder
	for _, kind := range kindsOfVisits {
		fmt.Fprintf(&said, ", %s: %d", kind, counts[kind].Load())
		if counts[kind].Load() == 0 {
			t.Errorf("nothing was %s", kind)
		}
	}
	t.Logf("%d connections in %v%s; at most %d MiB", made.Load(), time.Since(began).Round(time.Second), said.String(), peak>>20)
	if peak > 500<<20 {
		t.Errorf("the server held %d MiB", peak>>20)
	}
	h.isCalmAgain(t, before, 250<<20)
}

// Each request of a connection is judged, whatever the ones before came to.
//
// chisel GHSA-24fp-5v3p-rvpw; CVE-2025-23419 in small.
func TestEveryRequestOfAConnectionIsJudged(t *testing.T) {
	t.Parallel()
	h := theHouse(t)
	ben := h.identity(t, "ben/laptop") // may not use /admin/
	const host = "parts.attack.test"
	conn, err := h.dial(t, h.tls(ben, host))
	must(t, err)
	r, f := bufio.NewReader(conn), h.framer(t, h.tls(ben, host))
	p := h.overQUIC(t, h.tls(ben, "quic.attack.test"))
	for i := range 60 {
		path, want := fmt.Sprintf("/mine%d", i), "200"
		if i%3 == 1 || i%7 == 5 {
			path, want = fmt.Sprintf("/admin/%d", i), "not-on-list"
		}
		more := ""
		if i%5 == 4 { // not a plain one, for the other reader
			more = "Content-Length: 0\r\n"
		}
		if got := speak(conn, r, "GET "+path+" HTTP/1.1\r\nHost: "+host+"\r\n"+more+"\r\n"); got.status == http.StatusForbidden && got.String() == want { // with which it ends
			conn, err = h.dial(t, h.tls(ben, host))
			must(t, err)
			r = bufio.NewReader(conn)
		} else if got.String() != want {
			t.Fatalf("request %d, %s: %s, want %s", i, path, got, want)
		}
		if got := f.ask(t, host, "GET", path); (got != "") != (want == "200") {
			t.Errorf("request %d of HTTP/2, %s: %q", i, path, got)
		}
		if got := p.ask(t, "quic.attack.test", "GET", path, nil, ""); strings.Contains(got, "HTTP/1.1\r\n") != (want == "200") {
			t.Errorf("request %d of HTTP/3, %s: %q", i, path, got)
		}
	}
}

var sitesOfVisits = []string{"open", "all", "ben", "anna", "hidden", "quic"}

// visit makes the i-th connection.
func (m *million) visit(ctx context.Context, i int) error {
	g, site := m.guests[i%len(m.guests)], sitesOfVisits[i/len(m.guests)%len(sitesOfVisits)]
	host := site + ".attack.test"
	c := m.h.tls(g.shows, host)
	if i%4 > 0 { // or the time goes into keys
		c.CurvePreferences = []tls.CurveID{tls.X25519}
	}
	if i%11 == 0 {
		m.counts["interrupted"].Add(1)
		return m.leave(i, c, host)
	}
	if site == "quic" && i%3 == 0 {
		return m.overQUIC(ctx, i, g, c)
	}
	if i/7%2 == 0 {
		c.ClientSessionCache = g.caches[site]
	}
	kind := "HTTP/1.1"
	if i/5%4 == 0 {
		c.NextProtos, kind = []string{"h2"}, "HTTP/2"
	}
	names, refused := g.fate(site)
	conn, err := m.h.enter(i, c, time.Minute)
	if err != nil {
		if site == "hidden" && refused {
			m.counts["refused"].Add(1)
			return nil
		}
		return fmt.Errorf("%q at %s: %w", g.name, site, err)
	}
	defer conn.Close()
	if conn.ConnectionState().DidResume {
		kind += " resumed"
	}
	m.counts[kind].Add(1)
	paths := []string{fmt.Sprintf("/a%d", i), fmt.Sprintf("/b%d", i)}
	ask := overHTTP1
	if c.NextProtos[0] == "h2" {
		ask = overHTTP2
	}
	said, err := ask(conn, host, paths)
	if err != nil && !refused {
		return fmt.Errorf("%q at %s: %w", g.name, site, err)
	}
	for n, text := range said {
		if err := m.judge(g, site, paths[n], text, names, refused); err != nil {
			return err
		}
	}
	return nil
}

// judge compares an answer, which is "" for a refusal, with what was to come.
func (m *million) judge(g *guest, site, path, text string, names []string, refused bool) error {
	if text == "" && refused {
		m.counts["refused"].Add(1)
		return nil
	}
	for _, name := range names {
		if text == saw(name, path) {
			m.counts["answered"].Add(1)
			return nil
		}
	}
	return fmt.Errorf("%q at %s%s was answered %q", g.name, site, path, text)
}

// overHTTP1 asks one after the other, and returns what the application says;
// "" where somebody else answers for it.
func overHTTP1(conn *tls.Conn, host string, paths []string) (said []string, err error) {
	r := bufio.NewReader(conn)
	for _, path := range paths {
		if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, host); err != nil {
			return said, err
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return said, err
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return said, err
		}
		if resp.StatusCode != http.StatusOK {
			body = nil
		}
		said = append(said, string(body))
	}
	return said, nil
}

// overHTTP2 asks all at once.
func overHTTP2(conn *tls.Conn, host string, paths []string) ([]string, error) {
	out := bufio.NewWriter(conn)
	out.WriteString(http2.ClientPreface)
	f := http2.NewFramer(out, conn)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	f.WriteSettings()
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for n, path := range paths {
		block.Reset()
		for _, h := range []hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: host}, {Name: ":path", Value: path}} {
			enc.WriteField(h)
		}
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*n + 1), BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
	}
	if err := out.Flush(); err != nil {
		return nil, err
	}
	said, ok := make([]string, len(paths)), make([]bool, len(paths))
	for left := len(paths); left > 0; {
		frame, err := f.ReadFrame()
		if err != nil {
			return nil, err
		}
		n := int(frame.Header().StreamID) / 2
		if frame.Header().StreamID == 0 {
			if _, away := frame.(*http2.GoAwayFrame); away {
				return nil, errors.New("the server has said farewell")
			}
			continue
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			ok[n] = frame.PseudoValue("status") == "200"
		case *http2.DataFrame:
			if ok[n] {
				said[n] += string(frame.Data())
			}
		case *http2.RSTStreamFrame:
			return nil, fmt.Errorf("stream %d was reset: %v", frame.StreamID, frame.ErrCode)
		}
		if frame.Header().Flags.Has(http2.FlagDataEndStream) {
			left--
		}
	}
	return said, nil
}

// overQUIC makes one connection of HTTP/3.
func (m *million) overQUIC(ctx context.Context, i int, g *guest, c *tls.Config) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	to, err := net.ResolveUDPAddr("udp", m.h.addr)
	if err != nil {
		return err
	}
	c.NextProtos = []string{"h3"}
	conn, err := m.packet.Dial(ctx, to, c, &quic.Config{})
	if err != nil {
		return fmt.Errorf("%q over QUIC: %w", g.name, err)
	}
	defer conn.CloseWithError(0, "")
	m.counts["HTTP/3"].Add(1)
	control, err := conn.OpenUniStream()
	if err != nil {
		return err
	}
	control.Write([]byte{0, 4, 0})
	names, refused := g.fate("quic")
	for _, letter := range "ab" {
		path := fmt.Sprintf("/%c%d", letter, i)
		s, err := conn.OpenStream()
		if err != nil {
			return err
		}
		s.SetDeadline(time.Now().Add(time.Minute))
		s.Write(frame(headersFrame, block([]pair{{":method", "GET"}, {":scheme", "https"}, {":authority", c.ServerName}, {":path", path}})))
		s.Close()
		stream, err := io.ReadAll(s)
		if err != nil {
			return fmt.Errorf("%q over QUIC: %w", g.name, err)
		}
		if err := m.judge(g, "quic", path, content(string(stream)), names, refused); err != nil {
			return err
		}
	}
	return nil
}

// leave begins a connection and goes away in the middle, at one place or
// another.
func (m *million) leave(i int, c *tls.Config, host string) error {
	raw, err := m.h.from(i)
	if err != nil {
		return err
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(time.Minute))
	if i/11%2 == 0 {
		raw.SetLinger(0) // without a word
	}
	switch i / 11 % 6 {
	case 0:
		raw.Write([]byte{22, 3, 1, 0, 200, 1, 0, 0})
	case 1: // in the middle of the handshake
		c.VerifyConnection = func(tls.ConnectionState) error { return errors.New("no further") }
		tls.Client(raw, c).Handshake()
	case 2: // with a certificate that belongs to somebody else
		shown := *m.guests[0].shows
		shown.PrivateKey = m.guests[4].shows.PrivateKey
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &shown, nil }
		conn := tls.Client(raw, c)
		fmt.Fprintf(conn, "GET /stolen%d HTTP/1.1\r\nHost: %s\r\n\r\n", i, host)
		if _, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
			return errors.New("Ben's certificate was good without his key")
		}
	case 3: // right after it
		tls.Client(raw, c).Handshake()
	case 4: // within a request
		fmt.Fprintf(tls.Client(raw, c), "GET /half%d HTTP/1.1\r\nHost: %s\r\nX-", i, host)
	case 5: // without waiting for the answer
		fmt.Fprintf(tls.Client(raw, c), "GET /gone%d HTTP/1.1\r\nHost: %s\r\n\r\n", i, host)
	}
	return nil
}
