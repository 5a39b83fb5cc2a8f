package attack

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"
)

// A packetDoor is a connection to the sites that speaks HTTP/3 by hand, as a
// framer speaks HTTP/2.
type packetDoor struct {
	h    *house
	c    *tls.Config
	conn *quic.Conn
}

func (h *house) overQUIC(t testing.TB, c *tls.Config) *packetDoor {
	t.Helper()
	c.NextProtos = []string{"h3"}
	p := &packetDoor{h: h, c: c}
	must(t, p.connect(t))
	return p
}

func (p *packetDoor) connect(t testing.TB) error {
	t.Helper()
	pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	t.Cleanup(func() { pc.Close() })
	to, err := net.ResolveUDPAddr("udp", p.h.addr)
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	p.conn, err = quic.Dial(ctx, pc, to, p.c, &quic.Config{MaxIdleTimeout: time.Minute})
	if err != nil {
		return err
	}
	t.Cleanup(func() { p.conn.CloseWithError(0, "") })
	control, err := p.conn.OpenUniStream()
	must(t, err)
	_, err = control.Write([]byte{0, 4, 0}) // a control stream, with empty settings
	return err
}

// A pair is a header field, whatever its bytes.
type pair struct{ name, value string }

// block encodes fields without any table (RFC 9204 section 4.5.6).
func block(fields []pair) []byte {
	b := []byte{0, 0}
	for _, f := range fields {
		b = prefixed(b, 0x20, 3, f.name)
		b = prefixed(b, 0, 7, f.value)
	}
	return b
}

// prefixed appends a string after its length (RFC 7541 section 5.1).
func prefixed(b []byte, pattern byte, bits int, s string) []byte {
	n, most := len(s), 1<<bits-1
	if n < most {
		return append(append(b, pattern|byte(n)), s...)
	}
	b = append(b, pattern|byte(most))
	for n -= most; n >= 128; n >>= 7 {
		b = append(b, byte(n)|128)
	}
	return append(append(b, byte(n)), s...)
}

func frame(kind uint64, payload []byte) []byte {
	return append(quicvarint.Append(quicvarint.Append(nil, kind), uint64(len(payload))), payload...)
}

const dataFrame, headersFrame = 0, 1

// ask sends one request, with a body and trailers if there are any, and returns
// the content of the answer: of a request that was passed on, all that the
// application saw.
func (p *packetDoor) ask(t testing.TB, authority, method, path string, extra []pair, body string, trailers ...pair) string {
	t.Helper()
	return p.send(t, append([]pair{{":method", method}, {":scheme", "https"}, {":authority", authority}, {":path", path}}, extra...), body, trailers...)
}

// send sends a request, on a connection of its own when the one that there was
// says nothing: an attack before may have ended it.
func (p *packetDoor) send(t testing.TB, fields []pair, body string, trailers ...pair) string {
	t.Helper()
	got := p.once(t, fields, body, trailers)
	if got == "" {
		p.conn.CloseWithError(0, "")
		must(t, p.connect(t))
		got = p.once(t, fields, body, trailers)
	}
	return got
}

func (p *packetDoor) once(t testing.TB, fields []pair, body string, trailers []pair) string {
	t.Helper()
	s, err := p.conn.OpenStream()
	if err != nil {
		return ""
	}
	s.SetDeadline(time.Now().Add(30 * time.Second))
	out := frame(headersFrame, block(fields))
	if body != "" {
		out = append(out, frame(dataFrame, []byte(body))...)
	}
	if len(trailers) > 0 {
		out = append(out, frame(headersFrame, block(trailers))...)
	}
	s.Write(out)
	s.Close()
	all, _ := io.ReadAll(s)
	return content(string(all))
}

// content returns what the DATA frames of a stream hold.
func content(stream string) string {
	var all strings.Builder
	for r := quicvarint.NewReader(strings.NewReader(stream)); ; {
		kind, err := quicvarint.Read(r)
		if err != nil {
			return all.String()
		}
		n, err := quicvarint.Read(r)
		if err != nil {
			return all.String()
		}
		payload := make([]byte, n)
		if _, err := io.ReadFull(r, payload); err != nil {
			return all.String()
		}
		if kind == dataFrame {
			all.Write(payload)
		}
	}
}

// What HTTP/3 lets a client write and HTTP/1.1 reads as more is refused, not
// translated; and its hosts and paths are read as those of TCP.
//
// nginx CVE-2026-42926 and its kin over HTTP/3; Traefik CVE-2026-53622.
func TestDowngradeFromHTTP3(t *testing.T) {
	t.Parallel()
	h := theHouse(t)
	const host, own = "quic.attack.test", "GET /outer3 HTTP/1.1\r\n"
	p := h.overQUIC(t, h.tls(h.identity(t, "ben/laptop"), host))
	const inner = "\r\n\r\nGET /admin/downgraded3 HTTP/1.1\r\nHost: quic.attack.test\r\n\r\n"
	if got := p.ask(t, host, "GET", "/outer3", nil, ""); !strings.HasPrefix(got, own) || !strings.Contains(got, "\nX-Postern-Identity: ben/laptop") {
		t.Fatalf("an honest request: %q", got)
	}
	for sentence, extra := range map[string][]pair{
		"line breaks in a value":    {{"x-a", "b" + inner}},
		"line breaks in a name":     {{"x-a: b" + inner + "x", "c"}},
		"bare LF in a value":        {{"x-a", "b\nX-Postern-Identity: anna"}},
		"bare CR in a value":        {{"x-a", "b\rX-Postern-Identity: anna"}},
		"NUL in a value":            {{"x-a", "b\x00c"}},
		"a colon in a name":         {{"x-postern-identity: anna\r\nx", "b"}},
		"capitals in a name":        {{"X-Postern-Identity", "anna"}},
		"an empty name":             {{"", "anna"}},
		"transfer-encoding":         {{"transfer-encoding", "chunked"}},
		"connection":                {{"connection", "x-a"}},
		"upgrade":                   {{"upgrade", "websocket"}},
		"a length that is not true": {{"content-length", "4"}},
		"two lengths":               {{"content-length", "0"}, {"content-length", "4"}},
		"a length with a sign":      {{"content-length", "+0"}},
		"two paths":                 {{":path", "/admin/downgraded3"}},
		"two methods":               {{":method", "POST"}},
		"an unknown pseudo-field":   {{":evil", "x"}},
		"a late pseudo-field":       {{"x-a", "b"}, {":path", "/admin/downgraded3"}},
		"a second :authority":       {{":authority", "anna.attack.test"}},
		"another host":              {{"host", "anna.attack.test"}},
		"te":                        {{"te", "gzip, trailers"}},
	} {
		got := p.ask(t, host, "GET", "/outer3", extra, "")
		if strings.Contains(got, "HTTP/1.1\r\n") && (!strings.HasPrefix(got, own) || strings.Contains(got, "downgraded3") || strings.Contains(got, "dentity: anna") ||
			strings.Contains(strings.ToLower(got), "\ntransfer-encoding:") || strings.Contains(strings.ToLower(got), "\nupgrade:") || strings.Count(got, "\nHost:") != 1) {
			t.Errorf("%s: the application saw\n%s", sentence, got)
		}
	}
	for sentence, c := range map[string]struct{ method, path, authority string }{
		"a method with line breaks":     {"GET" + inner, "/", host},
		"a method with a path":          {"GET /admin/downgraded3 HTTP/1.1\r\nX:", "/", host},
		"a path with line breaks":       {"GET", "/" + inner, host},
		"a host with line breaks":       {"GET", "/", host + inner},
		"another site":                  {"GET", "/downgraded3", "ben.attack.test"},
		"another site in capitals":      {"GET", "/downgraded3", "BEN.ATTACK.TEST."},
		"no path":                       {"GET", "", host},
		"an absolute path":              {"GET", "https://ben.attack.test/downgraded3", host},
		"no slash":                      {"GET", "admin/downgraded3", host},
		"somebody else's route":         {"GET", "/admin/downgraded3", host},
		"the same, encoded":             {"GET", "/%61dmin/downgraded3", host},
		"the same, by dots":             {"GET", "/x/../admin/downgraded3", host},
		"the same, by encoded slashes":  {"GET", "/x%2f..%2fadmin/downgraded3", host},
		"the same, by empty segments":   {"GET", "//admin/downgraded3", host},
		"the same, by a backslash":      {"GET", "/x\\..\\admin/downgraded3", host},
		"the same, by a parameter":      {"GET", "/admin;x/downgraded3", host},
		"a WebSocket without upgrading": {"CONNECT", "/downgraded3", host},
	} {
		if got := p.ask(t, c.authority, c.method, c.path, nil, ""); strings.Contains(got, "HTTP/1.1\r\n") {
			t.Errorf("%s: the application saw\n%s", sentence, got)
		}
	}
	for _, r := range h.app.saw("downgraded3") {
		t.Errorf("the application saw\n%s", r.head)
	}
	if got := p.ask(t, host, "GET", "/outer3", nil, ""); !strings.HasPrefix(got, own) {
		t.Errorf("after all that: %q", got)
	}
}

// What floods a door over HTTP/2 does not flood it over HTTP/3: it costs the
// server little, fills no memory, and keeps nobody else out.
//
// Rapid Reset CVE-2023-44487, MadeYouReset CVE-2025-8671 and HPACK bombs in
// their forms of QUIC and QPACK.
func TestFloodsOverHTTP3(t *testing.T) {
	t.Parallel()
	h := ownHouse(t, "")
	h.app = theHouse(t).app
	const host = "quic.attack.test"
	h.write(t, h.fill("%LISTEN%\nsites:\n  quic.attack.test: {proxy: \"%APP%\", allow: [ben], http3: experimental}\n"))
	h.mustOpen(t)
	ben := h.identity(t, "ben/laptop")
	n := either(3_000, 300_000)
	request := frame(headersFrame, block([]pair{{":method", "GET"}, {":scheme", "https"}, {":authority", host}, {":path", "/"}}))
	endless := func(s interface {
		io.Writer
		SetWriteDeadline(time.Time) error
	}, chunk []byte) error {
		s.SetWriteDeadline(time.Now().Add(either(500*time.Millisecond, 20*time.Second)))
		for range n {
			if _, err := s.Write(chunk); err != nil {
				return err
			}
		}
		return nil
	}
	for sentence, flood := range map[string]func(*quic.Conn) error{
		"requests that are taken back at once": func(c *quic.Conn) error {
			for range n {
				s, err := openSoon(c)
				if err != nil {
					return err
				}
				s.Write(request)
				s.CancelWrite(0x10c)
				s.CancelRead(0x10c)
			}
			return nil
		},
		"answers that nobody takes": func(c *quic.Conn) error {
			for range n {
				s, err := openSoon(c)
				if err != nil {
					return err
				}
				s.Write(request)
				s.Close()
				s.CancelRead(0x10c)
			}
			return nil
		},
		"headers that never end": func(c *quic.Conn) error {
			for range 100 {
				s, err := openSoon(c)
				if err != nil {
					return err
				}
				s.Write(request[:len(request)-1])
			}
			return nil
		},
		"a header of a gigabyte, it says": func(c *quic.Conn) error {
			s, err := openSoon(c)
			if err != nil {
				return err
			}
			s.Write(quicvarint.Append([]byte{headersFrame}, 1<<30))
			return endless(s, make([]byte, 16<<10))
		},
		"a value of a gigabyte, it says": func(c *quic.Conn) error {
			s, err := openSoon(c)
			if err != nil {
				return err
			}
			field := append([]byte{0, 0, 0x21, 'x', 0x7f}, 0x81, 0x80, 0x80, 0x80, 0x04)
			_, err = s.Write(frame(headersFrame, field))
			return err
		},
		"frames of no known type": func(c *quic.Conn) error {
			s, err := openSoon(c)
			if err != nil {
				return err
			}
			return endless(s, frame(0x21, make([]byte, 1000)))
		},
		"data before any header": func(c *quic.Conn) error {
			s, err := openSoon(c)
			if err != nil {
				return err
			}
			return endless(s, frame(dataFrame, make([]byte, 1000)))
		},
		"streams of no known type": func(c *quic.Conn) error {
			for range 100 {
				s, err := c.OpenUniStream()
				if err != nil {
					return err
				}
				s.Write([]byte{0x21, 0, 0, 0})
			}
			return nil
		},
		"a table that was never offered": func(c *quic.Conn) error {
			s, err := c.OpenUniStream()
			if err != nil {
				return err
			}
			s.Write([]byte{2, 0x3f, 0xe1, 0x1f}) // QPACK's encoder: a table of 4,096 bytes
			return endless(s, append([]byte{0x41, 'a', 0x7f, 0xe1, 0x00}, make([]byte, 224)...))
		},
		"a second control stream, settings again": func(c *quic.Conn) error {
			s, err := c.OpenUniStream()
			if err != nil {
				return err
			}
			s.Write([]byte{0})
			return endless(s, frame(4, []byte{6, 0x40, 0x40}))
		},
	} {
		cpu, _ := h.usage(t)
		p := h.overQUIC(t, h.tls(ben, host))
		began := time.Now()
		err := flood(p.conn)
		if got := h.get(t, ben, host, "/"); got.String() != "200" {
			t.Errorf("%s: meanwhile Ben gets %s over TCP", sentence, got)
		}
		other := h.overQUIC(t, h.tls(ben, host))
		if got := other.ask(t, host, "GET", "/", nil, ""); !strings.HasPrefix(got, "GET / ") {
			t.Errorf("%s: meanwhile Ben gets %q over QUIC", sentence, got)
		}
		p.conn.CloseWithError(0, "")
		after, resident := h.usage(t)
		t.Logf("%s: %v of CPU in %v, %d MiB, %v", sentence, after-cpu, time.Since(began), resident>>20, err)
		if took := after - cpu; took > time.Duration(n)*time.Millisecond+2*time.Second {
			t.Errorf("%s cost %v", sentence, took)
		}
		if resident > 300<<20 {
			t.Errorf("%s: the server holds %d MiB", sentence, resident>>20)
		}
	}
}

// A connection over QUIC has few requests in hand, and holds little of their
// headers before anybody knows whose they are.
//
// HTTP/2 CVE-2019-9516 and -9517 in their forms of QUIC.
func TestHeadersHeldOverHTTP3(t *testing.T) {
	h := ownHouse(t, "")
	const host = "quic.attack.test"
	app := newWitness(t, 0)
	h.write(t, strings.ReplaceAll("%LISTEN%%METRICS%log: {level: error}\nsites:\n  quic.attack.test: {proxy: \"%WITNESS%\", allow: [strangers], http3: experimental}\n", "%WITNESS%", app.URL))
	h.mustOpen(t)
	before, peak := h.calm(t), 0
	var all sync.WaitGroup
	for range 4 {
		p := h.overQUIC(t, h.tls(nil, host))
		for n := 0; ; n++ {
			s, err := p.conn.OpenStream()
			if err != nil {
				break
			}
			if n == 64 {
				t.Error("a connection opens more than 64 streams at once")
				break
			}
			all.Go(func() { // all but the last byte of a large header
				const size = 1 << 20
				s.SetWriteDeadline(time.Now().Add(either(3*time.Second, 30*time.Second)))
				s.Write(append(quicvarint.Append([]byte{headersFrame}, size), make([]byte, size-1)...))
			})
		}
	}
	all.Wait()
	for range 20 {
		peak = max(peak, h.state(t).resident)
		time.Sleep(50 * time.Millisecond)
	}
	t.Logf("%d MiB, and %d before", peak>>20, before.resident>>20)
	if peak > before.resident+80<<20 {
		t.Errorf("the server held %d MiB, and %d before", peak>>20, before.resident>>20)
	}
}

// openSoon opens a stream as soon as the server lets another one be.
func openSoon(c *quic.Conn) (*quic.Stream, error) {
	ctx, cancel := context.WithTimeout(c.Context(), 500*time.Millisecond)
	defer cancel()
	return c.OpenStreamSync(ctx)
}
