package gateway

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/postern-project/postern/internal/refusal"
)

// raw sends a request as it stands and reads one answer.
func raw(tb testing.TB, conn net.Conn, request string) (*http.Response, string) {
	tb.Helper()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	_, err := io.WriteString(conn, request)
	must(tb, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(tb, err)
	return resp, read(tb, resp)
}

// hostSites are sites of all kinds, each of which lets only its own client in.
func hostSites(tb testing.TB) []Site {
	var sites []Site
	for _, host := range []string{"a.example.com", "b.example.com", "bücher.example.com", "127.0.0.1", "::1"} {
		sites = append(sites, Site{Host: host, List: allow(tb, "ben"), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, host+" as "+r.Host)
		})})
	}
	return sites
}

// I4: every spelling of a host is that host, on the first request and on later
// ones, and any other host gets 421.
func TestTheHostIsTheConnections(t *testing.T) {
	w := newWorld(t)
	h := w.open(Options{}, hostSites(t)...)
	ben := w.enrol("ben")
	for sentence, c := range map[string]struct {
		sni, host string
		status    int
	}{
		"as it is":                           {"a.example.com", "a.example.com", 200},
		"with the port":                      {"a.example.com", "a.example.com:8443", 200},
		"with another port":                  {"a.example.com", "a.example.com:1", 200},
		"in capitals":                        {"a.example.com", "A.eXample.COM", 200},
		"with a trailing dot":                {"a.example.com", "a.example.com.", 200},
		"with a trailing dot and port":       {"a.example.com", "A.example.com.:8443", 200},
		"with SNI in capitals":               {"A.EXAMPLE.com", "a.example.com", 200},
		"an IDN as A-label":                  {"xn--bcher-kva.example.com", "xn--bcher-kva.example.com", 200},
		"an IDN as A-label in capitals":      {"XN--BCHER-kva.example.com", "xn--bcher-KVA.example.com", 200},
		"an IDN as U-label":                  {"xn--bcher-kva.example.com", "bücher.example.com", 400},
		"an IDN as U-label in capitals":      {"xn--bcher-kva.example.com", "BÜCHER.example.com", 400},
		"the address that was dialled":       {"", "127.0.0.1", 200},
		"the address with the port":          {"", "127.0.0.1:8443", 200},
		"another site":                       {"a.example.com", "b.example.com", 421},
		"another site with trailing dot":     {"a.example.com", "b.example.com.", 421},
		"another site in capitals":           {"a.example.com", "B.EXAMPLE.COM", 421},
		"a name below":                       {"a.example.com", "x.a.example.com", 421},
		"a name above":                       {"a.example.com", "example.com", 421},
		"an address instead of the name":     {"a.example.com", "127.0.0.1", 421},
		"a name instead of the address":      {"", "a.example.com", 421},
		"an address in another notation":     {"", "0x7f000001", 421},
		"an address in a short notation":     {"", "127.1", 421},
		"another address":                    {"", "[::1]:8443", 421},
		"two trailing dots":                  {"a.example.com", "a.example.com..", 421},
		"a port that is none":                {"a.example.com", "a.example.com:https", 421},
		"user information":                   {"a.example.com", "x@a.example.com", 421},
		"a name that nobody knows":           {"a.example.com", "unknown.example.com", 421},
		"two names":                          {"a.example.com", "a.example.com, b.example.com", 421},
		"nothing":                            {"a.example.com", "", 421},
		"a look-alike with a fullwidth char": {"a.example.com", "b.example.com。", 421},
	} {
		t.Run(sentence, func(t *testing.T) {
			for nth := 1; nth <= 3; nth += 2 {
				conn := h.mustDial(plain(w.clientTLS(ben, c.sni)))
				for i := 1; i < nth; i++ {
					own := c.sni
					if own == "" {
						own = "127.0.0.1"
					}
					if resp, body := askFor(t, conn, own, "/"); resp.StatusCode != 200 {
						t.Fatalf("request %d: %s %s", i, resp.Status, body)
					}
				}
				resp, body := raw(t, conn, "GET / HTTP/1.1\r\nHost: "+c.host+"\r\n\r\n")
				if resp.StatusCode != c.status && !(c.status == 421 && resp.StatusCode == 400 && !strings.Contains(body, " as ")) {
					t.Errorf("request %d: got %s %s, want %d", nth, resp.Status, body, c.status)
				}
				if resp.StatusCode == 421 && codeOf(body) != refusal.Misdirected {
					t.Errorf("request %d: got code %q", nth, codeOf(body))
				}
				if resp.StatusCode == 200 && !strings.HasPrefix(strings.ToLower(body[strings.Index(body, " as ")+4:]), strings.ToLower(strings.TrimSuffix(orAddress(c.sni), "."))) {
					t.Errorf("request %d: the handler saw %q", nth, body)
				}
			}
		})
	}
}

// orAddress is the name that a connection without SNI is for.
func orAddress(sni string) string {
	if sni == "" {
		return "127.0.0.1"
	}
	return sni
}

// plain skips the check of the server's certificate, which a client that sends
// no SNI cannot make.
func plain(c *tls.Config) *tls.Config {
	c.InsecureSkipVerify = true
	return c
}

// I4: the absolute form, a second Host and HTTP/1.0 without a Host are no way
// around.
func TestOddRequestTargets(t *testing.T) {
	w := newWorld(t)
	h := w.open(Options{}, hostSites(t)...)
	ben := w.enrol("ben")
	for sentence, c := range map[string]struct {
		request string
		status  int
	}{
		"absolute form, own host":         {"GET https://a.example.com/ HTTP/1.1\r\nHost: a.example.com\r\n\r\n", 200},
		"absolute form, another host":     {"GET https://b.example.com/ HTTP/1.1\r\nHost: a.example.com\r\n\r\n", 421},
		"absolute form, another in Host":  {"GET https://a.example.com/ HTTP/1.1\r\nHost: b.example.com\r\n\r\n", 200}, // RFC 9112 section 3.2.2: Host is ignored
		"two Hosts":                       {"GET / HTTP/1.1\r\nHost: a.example.com\r\nHost: b.example.com\r\n\r\n", 400},
		"no Host":                         {"GET / HTTP/1.1\r\n\r\n", 400},
		"no Host in HTTP/1.0":             {"GET / HTTP/1.0\r\n\r\n", 421},
		"absolute form, a file":           {"GET file:///etc/passwd HTTP/1.1\r\nHost: a.example.com\r\n\r\n", 400},
		"absolute form, another scheme":   {"GET ftp://a.example.com/ HTTP/1.1\r\nHost: a.example.com\r\n\r\n", 400},
		"a query that is not encoded":     {"GET /?\xff HTTP/1.1\r\nHost: a.example.com\r\n\r\n", 400},
		"CONNECT to an upstream":          {"CONNECT a.example.com:80 HTTP/1.1\r\nHost: a.example.com:80\r\n\r\n", 405},
		"CONNECT elsewhere":               {"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\n", 421},
		"TRACE":                           {"TRACE / HTTP/1.1\r\nHost: a.example.com\r\n\r\n", 405},
		"OPTIONS *":                       {"OPTIONS * HTTP/1.1\r\nHost: a.example.com\r\n\r\n", 400},
		"an encoded slash":                {"GET /a%2fb HTTP/1.1\r\nHost: a.example.com\r\n\r\n", 400},
		"dot segments":                    {"GET /a/../b HTTP/1.1\r\nHost: a.example.com\r\n\r\n", 400},
		"encoded dot segments":            {"GET /a/%2e%2e/b HTTP/1.1\r\nHost: a.example.com\r\n\r\n", 400},
		"an empty segment":                {"GET //a HTTP/1.1\r\nHost: a.example.com\r\n\r\n", 400},
		"a backslash":                     {"GET /a\\b HTTP/1.1\r\nHost: a.example.com\r\n\r\n", 400},
		"a path parameter":                {"GET /a;b HTTP/1.1\r\nHost: a.example.com\r\n\r\n", 400},
		"a NUL":                           {"GET /a%00b HTTP/1.1\r\nHost: a.example.com\r\n\r\n", 400},
		"a path without its first slash":  {"GET a HTTP/1.1\r\nHost: a.example.com\r\n\r\n", 400},
		"the same in the absolute form":   {"GET https://a.example.com/a/%2e%2e/b HTTP/1.1\r\nHost: a.example.com\r\n\r\n", 400},
		"smuggling by two lengths":        {"POST / HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400},
		"an odd transfer coding":          {"POST / HTTP/1.1\r\nHost: a.example.com\r\nTransfer-Encoding: xchunked\r\n\r\n", 501},
		"plain HTTP/2 inside of HTTP/1.1": {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 421},
	} {
		t.Run(sentence, func(t *testing.T) {
			resp, body := raw(t, h.mustDial(w.clientTLS(ben, "a.example.com")), c.request)
			if resp.StatusCode != c.status && !(c.status >= 400 && resp.StatusCode == 400) {
				t.Errorf("got %s %s, want %d", resp.Status, body, c.status)
			}
			if c.status == 200 && !strings.HasPrefix(body, "a.example.com as a.example.com") {
				t.Errorf("got %s", body)
			}
		})
	}
}

// I4: names that nobody knows here get an alert and no certificate to look at.
func TestUnknownNamesSeeNothing(t *testing.T) {
	w := newWorld(t)
	asked := 0
	h := w.open(Options{Certificate: func(host string) (*tls.Certificate, error) {
		asked++
		return w.certificate(host)
	}}, Site{Host: "a.example.com", Handler: whoami, List: allow(t, "strangers")})
	for sentence, sni := range map[string]string{
		"an unknown name":      "unknown.example.com",
		"a name below a site":  "x.a.example.com",
		"no name at all":       "",
		"an address as a name": "127.0.0.1",
		"a wildcard":           "*.example.com",
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			c := plain(w.clientTLS(w.enrol("ben"), sni))
			c.MinVersion, c.MaxVersion = tls.VersionTLS12, version
			_, err := h.dial(c)
			if err == nil || !strings.Contains(err.Error(), "unrecognized name") {
				t.Errorf("%s: got %v, want the alert unrecognized_name", sentence, err)
			}
		}
	}
	if asked != 0 {
		t.Errorf("a server certificate was taken out %d times", asked)
	}
	eventually(t, "ten handshakes with unknown hosts", func() bool { return h.count("postern_handshakes_total", "result", "unknown-host") == 10 })
	if all, unknown := h.count("postern_refusals_total"), h.count("postern_refusals_total", "code", "unknown-host", "site", ""); all != 10 || unknown != 10 {
		t.Errorf("%v refusals, %v of unknown hosts", all, unknown)
	}
}

// I4: on one HTTP/2 connection every stream's :authority is looked at, and a
// Host field beside it as well.
func TestEveryStreamHasItsHost(t *testing.T) {
	w := newWorld(t)
	h := w.open(Options{}, hostSites(t)...)
	for sentence, c := range map[string]struct {
		authority, host string
		status          string
	}{
		"the connection's site":            {authority: "a.example.com", status: "200"},
		"another site":                     {authority: "b.example.com", status: "421"},
		"another site in Host":             {authority: "a.example.com", host: "b.example.com", status: "421"},
		"another site, its own in Host":    {authority: "b.example.com", host: "a.example.com", status: "421"},
		"no :authority, another in Host":   {host: "b.example.com", status: "421"},
		"no :authority, its own in Host":   {host: "a.example.com", status: "200"},
		"neither":                          {status: "421"},
		"another site with a trailing dot": {authority: "b.example.com.", status: "421"},
	} {
		t.Run(sentence, func(t *testing.T) {
			config := w.clientTLS(w.enrol("ben"), "a.example.com")
			config.NextProtos = []string{"h2"}
			s := newH2(t, h.mustDial(config))
			if got := s.get(map[string]string{":authority": "a.example.com"}); got != "200" {
				t.Fatalf("the first stream: %s", got)
			}
			fields := map[string]string{}
			if c.authority != "" {
				fields[":authority"] = c.authority
			}
			if c.host != "" {
				fields["host"] = c.host
			}
			if got := s.get(fields); got != c.status {
				t.Errorf("got %s, want %s", got, c.status)
			}
		})
	}
}

// An h2 is an HTTP/2 client that sends exactly what it is told to.
type h2 struct {
	tb   testing.TB
	conn net.Conn
	next uint32
	dec  *hpack.Decoder
}

func newH2(tb testing.TB, conn net.Conn) *h2 {
	tb.Helper()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	_, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
	must(tb, err)
	return &h2{tb: tb, conn: conn, next: 1, dec: hpack.NewDecoder(4096, nil)}
}

// get sends a GET for / with fields and returns the status.
func (s *h2) get(fields map[string]string) string {
	s.tb.Helper()
	var block strings.Builder
	enc := hpack.NewEncoder(&block)
	enc.SetMaxDynamicTableSize(0)
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":path", "/"}, {":authority", fields[":authority"]}, {"host", fields["host"]}} {
		if f[1] != "" {
			must(s.tb, enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}))
		}
	}
	return s.answer(s.send(block.String(), 5))
}

// answer waits for the status on a stream.
func (s *h2) answer(stream uint32) string {
	s.tb.Helper()
	for {
		kind, id, payload := s.frame()
		if id != stream || kind != 1 && kind != 3 {
			continue
		}
		if kind == 3 {
			return "reset"
		}
		headers, err := s.dec.DecodeFull(payload)
		must(s.tb, err)
		return headers[0].Value
	}
}

func (s *h2) frame() (kind byte, stream uint32, payload []byte) {
	s.tb.Helper()
	var head [9]byte
	_, err := io.ReadFull(s.conn, head[:])
	must(s.tb, err)
	payload = make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
	_, err = io.ReadFull(s.conn, payload)
	must(s.tb, err)
	return head[3], uint32(head[5])<<24 | uint32(head[6])<<16 | uint32(head[7])<<8 | uint32(head[8]), payload
}

// An addressed is a connection that was made to an address.
type addressed struct {
	net.Conn
	local net.Addr
}

func (a addressed) LocalAddr() net.Addr { return a.local }

// I4: without a name, the address that was dialled is the name, in one
// spelling for IPv4, IPv6 and IPv4 inside of IPv6.
func TestTheAddressIsTheNameWithoutSNI(t *testing.T) {
	for sentence, c := range map[string]struct{ sni, local, want string }{
		"IPv4":                      {"", "192.0.2.1:8443", "192.0.2.1"},
		"IPv6":                      {"", "[2001:DB8::1]:8443", "2001:db8::1"},
		"IPv6 written long":         {"", "[2001:db8:0:0:0:0:0:1]:8443", "2001:db8::1"},
		"IPv4 on an IPv6 socket":    {"", "[::ffff:192.0.2.1]:8443", "192.0.2.1"},
		"an address with a zone":    {"", "[fe80::1%eth0]:8443", ""},
		"a socket without address":  {"", "/run/postern.sock", ""},
		"a name beside the address": {"PW.example.com", "192.0.2.1:8443", "pw.example.com"},
		"a name that is none":       {"pw..example.com", "192.0.2.1:8443", ""},
		"a name with a port":        {"pw.example.com:8443", "192.0.2.1:8443", "pw.example.com"},
	} {
		local := textAddr(c.local)
		if got := wanted(&tls.ClientHelloInfo{ServerName: c.sni, Conn: addressed{local: local}}); got != c.want {
			t.Errorf("%s: %q, want %q", sentence, got, c.want)
		}
	}
}

type textAddr string

func (textAddr) Network() string  { return "tcp" }
func (a textAddr) String() string { return string(a) }
