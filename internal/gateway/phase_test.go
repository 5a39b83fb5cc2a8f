package gateway

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// brisk are limits for tests of deadlines.
var brisk = Limits{Hello: 150 * time.Millisecond, Handshake: 150 * time.Millisecond, Header: 150 * time.Millisecond, Idle: 150 * time.Millisecond}

// I9: each phase has its deadline, and bytes that trickle in do not extend it.
func TestSlowClients(t *testing.T) {
	w := newWorld(t)
	h := w.open(Options{Limits: brisk}, Site{Host: "pw.example.com", Handler: whoami, List: allow(t, "ben")})
	ben := w.enrol("ben")
	dialTCP := func(t *testing.T) net.Conn {
		conn, err := net.Dial("tcp", h.addr)
		must(t, err)
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	for sentence, connect := range map[string]func(*testing.T) (conn net.Conn, trickle string){
		"nothing is sent": func(t *testing.T) (net.Conn, string) { return dialTCP(t), "" },
		"a ClientHello of one byte at a time": func(t *testing.T) (net.Conn, string) {
			return dialTCP(t), string(helloOf(t, w.clientTLS(ben, "pw.example.com")))
		},
		"a ClientHello and nothing more": func(t *testing.T) (net.Conn, string) {
			conn := dialTCP(t)
			conn.Write(helloOf(t, w.clientTLS(ben, "pw.example.com")))
			return conn, ""
		},
		"a handshake and nothing more": func(t *testing.T) (net.Conn, string) {
			return h.mustDial(w.clientTLS(ben, "pw.example.com")), ""
		},
		"a request of one byte at a time": func(t *testing.T) (net.Conn, string) {
			return h.mustDial(w.clientTLS(ben, "pw.example.com")), "GET / HTTP/1.1\r\nHost: pw.example.com\r\nX-Long: " + strings.Repeat("x", 1000)
		},
		"one request and nothing more": func(t *testing.T) (net.Conn, string) {
			conn := h.mustDial(w.clientTLS(ben, "pw.example.com"))
			askFor(t, conn, "pw.example.com", "/")
			conn.SetDeadline(time.Time{})
			return conn, ""
		},
		"a second request of one byte at a time": func(t *testing.T) (net.Conn, string) {
			conn := h.mustDial(w.clientTLS(ben, "pw.example.com"))
			askFor(t, conn, "pw.example.com", "/")
			conn.SetDeadline(time.Time{})
			return conn, "GET / HTTP/1.1\r\n" + strings.Repeat("x", 1000)
		},
		"HTTP/2 and nothing more": func(t *testing.T) (net.Conn, string) {
			config := w.clientTLS(ben, "pw.example.com")
			config.NextProtos = []string{"h2"}
			s := newH2(t, h.mustDial(config))
			return s.conn, ""
		},
		"one request of HTTP/2 and nothing more": func(t *testing.T) (net.Conn, string) {
			config := w.clientTLS(ben, "pw.example.com")
			config.NextProtos = []string{"h2"}
			s := newH2(t, h.mustDial(config))
			if got := s.get(map[string]string{":authority": "pw.example.com"}); got != "200" {
				t.Errorf("Ben gets %s", got)
			}
			return s.conn, ""
		},
		"a frame of HTTP/2 of one byte at a time": func(t *testing.T) (net.Conn, string) {
			config := w.clientTLS(ben, "pw.example.com")
			config.NextProtos = []string{"h2"}
			s := newH2(t, h.mustDial(config))
			return s.conn, "\x00\x10\x00\x01\x04\x00\x00\x00\x01" + strings.Repeat("x", 1000)
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			conn, trickle := connect(t)
			begun := time.Now()
			go func() {
				for i := range len(trickle) {
					if _, err := conn.Write([]byte{trickle[i]}); err != nil {
						return
					}
					time.Sleep(20 * time.Millisecond)
				}
			}()
			conn.SetReadDeadline(begun.Add(3 * time.Second))
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal("the connection is still open")
			}
			if took := time.Since(begun); took < 50*time.Millisecond {
				t.Errorf("it took only %v", took)
			}
		})
	}
}

// helloOf is the ClientHello that c sends, as one record.
func helloOf(tb testing.TB, c *tls.Config) []byte {
	tb.Helper()
	here, there := net.Pipe()
	defer here.Close()
	go tls.Client(there, c).Handshake()
	head := make([]byte, 5)
	_, err := io.ReadFull(here, head)
	must(tb, err)
	body := make([]byte, int(head[3])<<8|int(head[4]))
	_, err = io.ReadFull(here, body)
	must(tb, err)
	return append(head, body...)
}

// A shredder sends what a client writes first in another division.
type shredder struct {
	net.Conn
	divide func([]byte) [][]byte
	done   bool
}

func (s *shredder) Write(b []byte) (int, error) {
	if s.done {
		return s.Conn.Write(b)
	}
	s.done = true
	for _, part := range s.divide(b) {
		if _, err := s.Conn.Write(part); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

func byteByByte(b []byte) (parts [][]byte) {
	for i := range b {
		parts = append(parts, b[i:i+1])
	}
	return parts
}

// records divides the handshake message in the record b into records of size
// bytes.
func records(size int) func([]byte) [][]byte {
	return func(b []byte) (parts [][]byte) {
		for body := b[5:]; len(body) > 0; {
			n := min(size, len(body))
			parts = append(parts, append([]byte{b[0], b[1], b[2], 0, byte(n)}, body[:n]...))
			body = body[n:]
		}
		return [][]byte{bytes.Join(parts, nil)}
	}
}

// However a ClientHello is divided, and however large it is, it chooses its
// site and its site's rules.
func TestDividedClientHello(t *testing.T) {
	w := newWorld(t)
	h := w.open(Options{}, Site{Host: "pw.example.com", Handler: whoami, List: allow(t, "ben")},
		Site{Host: "stealth.example.com", Handler: whoami, List: allow(t, "ben"), Stealth: true})
	ben := w.enrol("ben")
	for sentence, c := range map[string]struct {
		divide  func([]byte) [][]byte
		classic bool
	}{
		"segments of one byte":                      {divide: byteByByte},
		"records of one byte":                       {divide: records(1)},
		"records of 100 bytes":                      {divide: records(100)},
		"segments of one byte, no post-quantum key": {divide: byteByByte, classic: true},
	} {
		for _, host := range []string{"pw.example.com", "stealth.example.com"} {
			for _, d := range []*device{ben, nil} {
				t.Run(fmt.Sprintf("%s, %s, with certificate: %v", sentence, host, d != nil), func(t *testing.T) {
					config := w.clientTLS(d, host)
					if c.classic {
						config.CurvePreferences = []tls.CurveID{tls.X25519}
					}
					tcp, err := net.Dial("tcp", h.addr)
					must(t, err)
					defer tcp.Close()
					conn := tls.Client(&shredder{Conn: tcp, divide: c.divide}, config)
					conn.SetDeadline(time.Now().Add(5 * time.Second))
					must(t, conn.Handshake())
					if d == nil && host == "stealth.example.com" {
						if _, err := conn.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "certificate required") {
							t.Errorf("got %v", err)
						}
						return
					}
					want := http.StatusForbidden
					if d != nil {
						want = http.StatusOK
					}
					if resp, body := askFor(t, conn, host, "/"); resp.StatusCode != want {
						t.Errorf("got %s %s", resp.Status, body)
					}
				})
			}
		}
	}
}

// A header of a megabyte is refused with 431, with HTTP/1.1 and HTTP/2, and
// the refusal reaches a client that was still sending.
func TestAMegabyteOfHeader(t *testing.T) {
	w := newWorld(t)
	h := w.open(Options{}, Site{Host: "pw.example.com", Handler: whoami, List: allow(t, "ben")})
	ben := w.enrol("ben")
	for sentence, size := range map[string]int{"70 KiB": 70 << 10, "a megabyte": 1 << 20} {
		conn := h.mustDial(w.clientTLS(ben, "pw.example.com"))
		resp, _ := raw(t, conn, "GET / HTTP/1.1\r\nHost: pw.example.com\r\nX-Long: "+strings.Repeat("x", size)+"\r\n\r\n")
		if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%s: %s", sentence, resp.Status)
		}
	}
	if resp, body := raw(t, h.mustDial(w.clientTLS(ben, "pw.example.com")), "GET / HTTP/1.1\r\nHost: pw.example.com\r\nX-Long: "+strings.Repeat("x", 60<<10)+"\r\n\r\n"); resp.StatusCode != http.StatusOK {
		t.Errorf("60 KiB: %s %s", resp.Status, body)
	}
	config := w.clientTLS(ben, "pw.example.com")
	config.NextProtos = []string{"h2"}
	s := newH2(t, h.mustDial(config))
	if got := s.get(map[string]string{":authority": "pw.example.com", "host": strings.Repeat("x", 14<<10)}); got == "200" {
		t.Error("a Host field of 14 KiB was taken")
	}
}

// I9: a chain of many or of large certificates is refused and not verified.
func TestLargeChains(t *testing.T) {
	w := newWorld(t)
	h := w.open(Options{}, Site{Host: "pw.example.com", Handler: whoami, List: allow(t, "enrolled")})
	many := w.enrol("ben")
	for range 20 {
		many.Certificate.Certificate = append(many.Certificate.Certificate, w.clients.cert.Raw)
	}
	named := clientTemplate("ben")
	for i := range 500 {
		named.DNSNames = append(named.DNSNames, fmt.Sprintf("x%d.example.com", i))
	}
	for sentence, d := range map[string]*device{"twenty certificates": many, "five hundred names": w.record(w.mint(w.clients, named), "ben")} {
		if _, body := h.get(d, "pw.example.com", "/"); codeOf(body) != "bad-certificate" {
			t.Errorf("%s: %s", sentence, body)
		}
	}
}

// When too many connections are in handshake, the slowest goes and whoever
// comes next is served.
func TestAFloodOfHandshakes(t *testing.T) {
	w := newWorld(t)
	h := w.open(Options{Limits: Limits{Handshakes: 8}}, Site{Host: "pw.example.com", Handler: whoami, List: allow(t, "ben")})
	var idle []net.Conn
	for range 20 {
		conn, err := net.Dial("tcp", h.addr)
		must(t, err)
		t.Cleanup(func() { conn.Close() })
		idle = append(idle, conn)
	}
	eventually(t, "twelve were dropped", func() bool { return h.count("postern_handshakes_total", "result", "crowded") == 12 })
	if resp, body := h.get(w.enrol("ben"), "pw.example.com", "/"); resp.StatusCode != http.StatusOK {
		t.Errorf("got %s %s", resp.Status, body)
	}
	expect(t, "the oldest", idle[0], false)
}

// Browsers abandon handshakes, which is counted and makes no line in the log.
func TestAbandonedHandshakesAreCounted(t *testing.T) {
	w := newWorld(t)
	var log lines
	h := w.open(Options{Log: log.logger()}, Site{Host: "pw.example.com", Handler: whoami, List: allow(t, "ben")})
	for i := range 3 {
		conn, err := net.Dial("tcp", h.addr)
		must(t, err)
		if i > 0 {
			conn.Write(helloOf(t, w.clientTLS(nil, "pw.example.com")))
		}
		conn.Close()
	}
	distrustful := w.clientTLS(nil, "pw.example.com")
	distrustful.RootCAs = x509.NewCertPool()
	if _, err := h.dial(distrustful); err == nil {
		t.Fatal("the client trusts the server")
	}
	eventually(t, "four abandoned", func() bool { return h.count("postern_handshakes_total", "result", "abandoned") == 4 })
	if log.String() != "" {
		t.Errorf("the log says %s", log.String())
	}
	conn, err := net.Dial("tcp", h.addr)
	must(t, err)
	defer conn.Close()
	if resp, body := raw(t, conn, "GET / HTTP/1.1\r\nHost: pw.example.com\r\n\r\n"); resp.StatusCode != 400 || !strings.Contains(body, "https") {
		t.Errorf("plain HTTP: %s %s", resp.Status, body)
	}
}

// I2: before a client has proved to hold its key, its certificate means
// nothing: somebody else's forged one raises no alarm.
func TestNoAlarmWithoutTheKey(t *testing.T) {
	w := newWorld(t)
	h := w.open(Options{}, Site{Host: "pw.example.com", Handler: whoami, List: allow(t, "ben")},
		Site{Host: "stealth.example.com", Handler: whoami, List: allow(t, "ben"), Stealth: true})
	forged := w.mint(w.clients, clientTemplate("ben"))
	forged.PrivateKey = newKey(t)
	for _, host := range []string{"pw.example.com", "stealth.example.com"} {
		conn, err := h.dial(w.clientTLS(forged, host))
		if err == nil {
			conn.SetDeadline(time.Now().Add(3 * time.Second))
			_, err = conn.Read(make([]byte, 1))
		}
		if err == nil {
			t.Errorf("%s: no error", host)
		}
	}
	eventually(t, "two failed handshakes", func() bool { return h.count("postern_handshakes_total", "result", "failed") == 2 })
	if n := h.count("postern_refusals_total"); n != 0 {
		t.Errorf("%v refusals", n)
	}
	if len(h.index.ref(forged.ref))+len(h.index.issuer(forged.ref.Issuer)) != 0 {
		t.Error("the index knows it")
	}
}

// A panic in a handshake ends that connection, gives its place back, and is
// written down; the others go on.
func TestAPanicInAHandshakeEndsOneConnection(t *testing.T) {
	w := newWorld(t)
	var log lines
	h := w.open(Options{Log: log.logger(), Certificate: func(host string) (*tls.Certificate, error) {
		if host == "bad.example.com" {
			panic("no certificate was ever like this")
		}
		return w.certificate(host)
	}}, Site{Host: "pw.example.com", Handler: whoami, List: allow(t, "ben")}, Site{Host: "bad.example.com", HTTP3: true, Handler: whoami, List: allow(t, "ben")})
	addr, _ := h.overQUIC()
	ben := w.enrol("ben")
	for range 3 {
		if _, err := h.dial(w.clientTLS(ben, "bad.example.com")); err == nil {
			t.Error("the handshake ended well")
		}
		if _, err := call(t, addr, w.clientTLS(ben, "bad.example.com")); err == nil {
			t.Error("the handshake over QUIC ended well")
		}
		if resp, body := h.get(ben, "pw.example.com", "/"); resp.StatusCode != http.StatusOK {
			t.Errorf("another site: %s %s", resp.Status, body)
		}
	}
	if n := strings.Count(log.String(), "handshake panicked"); n != 6 {
		t.Errorf("%d panics in the log, want 6:\n%s", n, log.String())
	}
	eventually(t, "the places are given back", func() bool { h.crowd.mu.Lock(); defer h.crowd.mu.Unlock(); return h.crowd.open <= 3 })
}
