package gateway

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"
)

// maxProxyHeader bounds a PROXY header, in bytes.
const maxProxyHeader = 4 << 10

// errNoProxyHeader ends a connection from a load balancer that does not say
// whose it is.
var errNoProxyHeader = errors.New("a connection from an address in proxy_protocol begins with no good PROXY header")

// foreword takes what comes before a ClientHello, where it may.
func (l *listener) foreword(c *conn) error {
	if err := l.unveil(c); err != nil {
		return err
	}
	return l.overture(c)
}

// unveil reads the PROXY header of a connection from one of the addresses that
// have to send one (version 1 or 2), and from then on the connection is the
// client's that it names: RemoteAddr is the one place that tells it. From
// anywhere else a header is not looked for and spoils the handshake, so nobody
// can choose an address for themselves. What a load balancer asks on its own
// account, such as a health check, comes from no address: the unspecified one,
// which is in no network.
func (l *listener) unveil(c *conn) error {
	peer := c.client()
	proxied := false
	for _, p := range l.g.table.Load().proxies {
		proxied = proxied || p.Contains(peer)
	}
	if !proxied {
		return nil
	}
	r := bufio.NewReaderSize(io.LimitReader(c.Conn, maxProxyHeader), 256)
	h, err := proxyproto.Read(r)
	if err != nil {
		if _, network := errors.AsType[net.Error](err); network {
			return err // too slow, or gone
		}
		return fmt.Errorf("%w: %w", errNoProxyHeader, err)
	}
	c.early, _ = r.Peek(r.Buffered())
	source, destination, ok := h.TCPAddrs()
	switch {
	case h.Command.IsLocal() || h.TransportProtocol == proxyproto.UNSPEC:
		c.remote = &net.TCPAddr{IP: net.IPv4zero}
	case !ok:
		return fmt.Errorf("%w: it is not about TCP", errNoProxyHeader)
	default:
		c.remote, c.local = source, destination
	}
	return nil
}

// RemoteAddr returns the client's address: the peer's, or the one that a load
// balancer which may say so has named.
func (c *conn) RemoteAddr() net.Addr {
	if c.remote != nil {
		return c.remote
	}
	return c.Conn.RemoteAddr()
}

// LocalAddr returns the address that the client has connected to.
func (c *conn) LocalAddr() net.Addr {
	if c.local != nil {
		return c.local
	}
	return c.Conn.LocalAddr()
}

// What a PROXY header says of a visitor beside the fields of the standard, in
// the range that it leaves to applications.
const (
	TLVIdentity = 0xE0 // the name, such as ben/laptop
	TLVSerial   = 0xE1 // the certificate's serial number, as it is printed
)

// ProxyHeader returns the header of version 2 that tells an application whose
// connection it is about to get: both addresses, the name asked for, the
// protocol agreed to, and what TLS came to.
func (v Visit) ProxyHeader() ([]byte, error) {
	h := proxyproto.HeaderProxyFromAddrs(2, v.Address, v.Local)
	if h.TransportProtocol == proxyproto.UNSPEC {
		h.Command = proxyproto.LOCAL
	}
	tlvs := []proxyproto.TLV{{Type: proxyproto.PP2_TYPE_AUTHORITY, Value: []byte(v.Host)}}
	if p := v.TLS.NegotiatedProtocol; p != "" {
		tlvs = append(tlvs, proxyproto.TLV{Type: proxyproto.PP2_TYPE_ALPN, Value: []byte(p)})
	}
	ssl, err := v.proxySSL().Marshal()
	if err != nil {
		return nil, err
	}
	tlvs = append(tlvs, ssl)
	if !v.Client.IsZero() {
		tlvs = append(tlvs, proxyproto.TLV{Type: TLVIdentity, Value: []byte(v.Client.Name.String())},
			proxyproto.TLV{Type: TLVSerial, Value: []byte(v.Client.Ref.Serial.String())})
	}
	if err := h.SetTLVs(tlvs); err != nil {
		return nil, err
	}
	return h.Format()
}

// proxySSL says what TLS came to (the protocol's section 2.2.6). Only who is
// let in has a certificate that was verified.
func (v Visit) proxySSL() tlvparse.PP2SSL {
	s := tlvparse.PP2SSL{Client: tlvparse.PP2_BITFIELD_CLIENT_SSL, Verify: 1, TLV: []proxyproto.TLV{
		{Type: proxyproto.PP2_SUBTYPE_SSL_VERSION, Value: []byte(tlsName(v.TLS.Version))},
	}}
	if v.Client.IsZero() {
		return s
	}
	s.Verify = 0
	s.Client |= tlvparse.PP2_BITFIELD_CLIENT_CERT_SESS
	if !v.TLS.DidResume {
		s.Client |= tlvparse.PP2_BITFIELD_CLIENT_CERT_CONN
	}
	s.TLV = append(s.TLV, proxyproto.TLV{Type: proxyproto.PP2_SUBTYPE_SSL_CN, Value: []byte(v.Client.Name.String())})
	return s
}

// tlsName is how OpenSSL and the servers that use it call a version.
func tlsName(version uint16) string {
	if version == 0x0303 {
		return "TLSv1.2"
	}
	return "TLSv1.3"
}
