package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"

	"github.com/postern-project/postern/internal/rule"
)

// loopback is where the tests' load balancer is.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// v2 is a PROXY header of version 2 from source.
func v2(source string, change func(*proxyproto.Header)) string {
	h := proxyproto.HeaderProxyFromAddrs(2, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(source)), net.TCPAddrFromAddrPort(netip.MustParseAddrPort("203.0.113.1:443")))
	if strings.HasPrefix(source, "[") {
		h = proxyproto.HeaderProxyFromAddrs(2, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(source)), net.TCPAddrFromAddrPort(netip.MustParseAddrPort("[2001:db8::1]:443")))
	}
	if change != nil {
		change(h)
	}
	b, err := h.Format()
	if err != nil {
		panic(err)
	}
	return string(b)
}

// throughProxy asks for a page on a connection that begins with header, in
// pieces of a size, and returns the answer.
func (h *house) throughProxy(d *device, header string, piece int) (string, error) {
	raw, err := net.Dial("tcp", h.addr)
	if err != nil {
		return "", err
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(10 * time.Second))
	for len(header) > 0 {
		n := min(max(piece, 1), len(header))
		if _, err := io.WriteString(raw, header[:n]); err != nil {
			return "", err
		}
		header = header[n:]
	}
	conn := tls.Client(raw, h.w.clientTLS(d, "a.example.com"))
	if err := conn.Handshake(); err != nil {
		return "", err
	}
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a.example.com\r\nX-Forwarded-For: 192.168.1.66\r\nConnection: close\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "", err
	}
	return readAll(resp)
}

// From a load balancer's address, and only from there, the client's address
// is what its header says: for whoever is behind, for the log and for lists
// of networks.
func TestTheAddressComesFromTheProxyHeader(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var log lines
	lan, err := rule.ParseNetwork("lan")
	must(t, err)
	where := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		io.WriteString(rw, r.RemoteAddr+" "+strings.Join(r.Header["X-Forwarded-For"], ","))
	})
	h := w.openConfig(Options{Log: log.logger(), Limits: Limits{Hello: 2 * time.Second}}, Config{
		Proxies: loopback, Networks: rule.Networks{{Name: lan, Prefixes: []netip.Prefix{netip.MustParsePrefix("192.168.1.0/24"), netip.MustParsePrefix("fd00:1::/64")}}},
		Sites: []Site{{Host: "a.example.com", List: allow(t, "network:lan"), Handler: where}},
	})
	long := v2("192.168.1.7:5000", func(h *proxyproto.Header) {
		h.SetTLVs([]proxyproto.TLV{{Type: proxyproto.PP2_TYPE_NOOP, Value: make([]byte, 3000)}})
	})
	tooLong := v2("192.168.1.7:5000", func(h *proxyproto.Header) {
		h.SetTLVs([]proxyproto.TLV{{Type: proxyproto.PP2_TYPE_NOOP, Value: make([]byte, 30_000)}})
	})
	local := v2("192.168.1.7:5000", func(h *proxyproto.Header) { h.Command = proxyproto.LOCAL })
	datagram := v2("192.168.1.7:5000", func(h *proxyproto.Header) {
		h.TransportProtocol = proxyproto.UDPv4
		h.SourceAddr, h.DestinationAddr = &net.UDPAddr{IP: net.IPv4(192, 168, 1, 7), Port: 1}, &net.UDPAddr{IP: net.IPv4(192, 168, 1, 8), Port: 1}
	})
	for sentence, c := range map[string]struct {
		header string
		piece  int
		want   string // "" for no answer at all
	}{
		"version 2":                            {header: v2("192.168.1.7:5000", nil), piece: 100, want: "192.168.1.7:5000 192.168.1.7"},
		"version 2, a byte at a time":          {header: v2("192.168.1.7:5000", nil), want: "192.168.1.7:5000 192.168.1.7"},
		"version 2 over IPv6":                  {header: v2("[fd00:1::7]:5000", nil), piece: 100, want: "[fd00:1::7]:5000 fd00:1::7"},
		"version 2 with a lot in it":           {header: long, piece: 1000, want: "192.168.1.7:5000"},
		"version 1":                            {header: "PROXY TCP4 192.168.1.7 203.0.113.1 5000 443\r\n", piece: 100, want: "192.168.1.7:5000 192.168.1.7"},
		"from outside the network":             {header: v2("192.0.2.7:5000", nil), piece: 100, want: `"code":"no-certificate"`},
		"an address of this machine":           {header: v2("127.0.0.1:5000", nil), piece: 100, want: `"code":"no-certificate"`},
		"on the load balancer's own account":   {header: local, piece: 100, want: `"code":"no-certificate"`},
		"version 1 that does not know":         {header: "PROXY UNKNOWN\r\n", piece: 100, want: `"code":"no-certificate"`},
		"no header":                            {},
		"two headers":                          {header: v2("192.168.1.7:5000", nil) + v2("192.168.1.8:5000", nil), piece: 100},
		"more than a header holds":             {header: tooLong, piece: 5000},
		"about datagrams":                      {header: datagram, piece: 100},
		"a version that does not exist":        {header: strings.Replace(v2("192.168.1.7:5000", nil), "\x21", "\x31", 1), piece: 100},
		"version 1 without an end":             {header: "PROXY TCP4 " + strings.Repeat("1", 200), piece: 100},
		"version 1 with a name for an address": {header: "PROXY TCP4 ben 203.0.113.1 5000 443\r\n", piece: 100},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			got, err := h.throughProxy(nil, c.header, c.piece)
			if c.want == "" && err == nil || c.want != "" && !strings.Contains(got, c.want) {
				t.Errorf("got %q, %v, want %q", got, err, c.want)
			}
		})
	}
	t.Run("the log", func(t *testing.T) {
		if _, err := h.throughProxy(nil, v2("192.168.1.99:4711", nil), 100); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the address in the log", func() bool { return strings.Contains(log.String(), "address=192.168.1.99:4711") })
	})
}

// From anywhere else a header only spoils the handshake.
func TestNobodyElseSendsAProxyHeader(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, proxies := range [][]netip.Prefix{nil, {netip.MustParsePrefix("10.0.0.5/32")}} {
		h := w.openConfig(Options{}, Config{Proxies: proxies, Sites: []Site{{Host: "a.example.com", List: allow(t, "strangers"), Handler: whoami}}})
		if got, err := h.throughProxy(nil, v2("192.168.1.7:5000", nil), 100); err == nil {
			t.Errorf("answered %q", got)
		}
		if got, err := h.throughProxy(nil, "", 1); err != nil {
			t.Errorf("without one: %q, %v", got, err)
		}
	}
}

// A header that never ends has the ClientHello's time and no more.
func TestASlowProxyHeader(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.openConfig(Options{Limits: Limits{Hello: 300 * time.Millisecond}}, Config{Proxies: loopback, Sites: []Site{{Host: "a.example.com", Handler: whoami}}})
	raw, err := net.Dial("tcp", h.addr)
	must(t, err)
	defer raw.Close()
	io.WriteString(raw, v2("192.168.1.7:5000", nil)[:14])
	raw.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := raw.Read(make([]byte, 1)); err == nil {
		t.Fatal("answered")
	} else if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
		t.Fatal("still open")
	}
	eventually(t, "it is counted", func() bool { return h.count("postern_handshakes_total", "result", shakeTimeout) == 1 })
}

// announced is a Tunnel that begins with a PROXY header.
type announced struct{ *pipe }

func (a announced) Dial(ctx context.Context, v Visit) (net.Conn, error) {
	header, err := v.ProxyHeader()
	if err != nil {
		return nil, err
	}
	conn, err := a.pipe.Dial(ctx, v)
	if err == nil {
		_, err = conn.Write(header)
	}
	return conn, err
}

// What is behind a tcp site is told whose connection it gets, and gets the
// client's bytes after that.
func TestTheProxyHeaderThatIsSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	headers := make(chan *proxyproto.Header, 4)
	behind := behindTCP(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		h, err := proxyproto.Read(r)
		if err != nil {
			t.Error(err)
			return
		}
		headers <- h
		io.Copy(c, r)
	})
	h := w.open(Options{}, Site{Host: "db.example.com", Tunnel: announced{behind}, List: allow(t, "ben")})
	ben := w.enrol("ben/laptop")
	config := rawTLS(w, ben, "db.example.com", "postgresql")
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	for _, resumed := range []bool{false, true} {
		conn := h.mustDial(config)
		exchangeBytes(t, conn, "hello")
		got := <-headers
		if got.SourceAddr.String() != conn.LocalAddr().String() || got.DestinationAddr.String() != h.addr {
			t.Errorf("from %s to %s", got.SourceAddr, got.DestinationAddr)
		}
		tlvs, err := got.TLVs()
		must(t, err)
		values := map[proxyproto.PP2Type]string{}
		for _, v := range tlvs {
			values[v.Type] = string(v.Value)
		}
		if values[TLVIdentity] != "ben/laptop" || values[TLVSerial] != ben.ref.Serial.String() ||
			values[proxyproto.PP2_TYPE_AUTHORITY] != "db.example.com" || values[proxyproto.PP2_TYPE_ALPN] != "postgresql" {
			t.Errorf("says %q", values)
		}
		ssl, ok := tlvparse.FindSSL(tlvs)
		version, _ := ssl.SSLVersion()
		cn, _ := ssl.ClientCN()
		if !ok || !ssl.Verified() || !ssl.ClientCertSess() || ssl.ClientCertConn() == resumed || version != "TLSv1.3" || cn != "ben/laptop" {
			t.Errorf("of TLS it says %+v, %s, %s, resumed %v", ssl, version, cn, resumed)
		}
		conn.Close()
	}
}
