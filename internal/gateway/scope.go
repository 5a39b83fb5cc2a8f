package gateway

import (
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/postern-project/postern/internal/chain"
	"github.com/postern-project/postern/internal/refusal"
)

// modern are the cipher suites of TLS 1.2 that authenticate what they encrypt.
// Those of TLS 1.3 cannot be chosen.
var modern = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// tlsOf returns what a handshake at d does. Every door has a configuration of
// its own, so that the keys which seal its session tickets are its own, and a
// new one whenever the trust generation changes.
func (g *Gateway) tlsOf(d *door) *tls.Config {
	c := g.plainTLS()
	c.MinVersion = d.version()
	if d.public || d.site.NeverAsks && !d.stealthy() {
		return c
	}
	// Nothing but the hints in the certificate request comes of ClientCAs. The
	// standard library is never asked to verify: it would check a hundred
	// signatures that a stranger chose before it gives up.
	c.ClientAuth, c.ClientCAs = tls.RequestClientCert, d.hints()
	if d.stealthy() {
		c.ClientAuth = tls.RequireAnyClientCert
		c.VerifyConnection = g.refuseEarly(d.host)
	}
	c.SessionTicketsDisabled = false
	tickets := newTickets(g, d)
	c.WrapSession, c.UnwrapSession = tickets.wrap, tickets.unwrap
	return c
}

// scopeMark is what a ticket of d is sealed with, besides d's key.
func scopeMark(d *door) []byte {
	return append(strconv.AppendUint([]byte("postern/1 "), d.trust.generation, 10), " "+d.host...)
}

// plainTLS asks for no certificate and resumes nothing.
func (g *Gateway) plainTLS() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS12,
		CipherSuites:           modern,
		NextProtos:             []string{"h2", "http/1.1"},
		GetCertificate:         g.serverCertificate,
		SessionTicketsDisabled: true,
		Time:                   g.now,
	}
}

// serverCertificate returns the certificate of the name that door chose.
func (g *Gateway) serverCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	c := connIn(hello)
	if c == nil || c.host == "" {
		return nil, nil // unrecognized_name
	}
	if err := c.makeRoom(); err != nil {
		return nil, err
	}
	certificate := g.options.Certificate
	if g.options.Own != nil && slices.Contains(hello.SupportedProtos, chain.OwnProtocol) {
		certificate = g.options.Own
	}
	cert, err := certificate(c.host)
	if err == nil && cert == nil {
		err = errors.New("there is none")
	}
	if err != nil {
		g.log.Error("server certificate missing", "site", c.host, "err", err)
		return nil, err
	}
	return cert, nil
}

// nowhereTLS is for names that nobody knows here: without a certificate to
// show, the handshake ends with the alert unrecognized_name.
func nowhereTLS() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, SessionTicketsDisabled: true}
}

// doorFor chooses the TLS configuration by the name in the ClientHello.
func (l *listener) doorFor(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	c, ok := hello.Conn.(*conn)
	if !ok {
		return l.nowhere, nil
	}
	c.sni = hello.ServerName
	c.SetDeadline(time.Now().Add(l.g.limits.Handshake))
	if challenged(hello) && l.g.options.Challenge != nil {
		c.challenge = true
		return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: hello.SupportedProtos, GetCertificate: l.g.options.Challenge, SessionTicketsDisabled: true}, nil
	}
	l.g.trusted() // so that the table is as new as the roster
	t, name := l.g.table.Load(), wanted(hello)
	d, config := t.doors[name], (*tls.Config)(nil)
	if l.public {
		d, config = t.publics[name], l.plain
	}
	if d == nil {
		return l.nowhere, nil
	}
	if c.startTLS != d.site.StartTLS && c.startTLS != "" {
		return l.nowhere, nil
	}
	c.host, c.public, c.tcp = d.host, d.public, d.tcp()
	switch {
	case config != nil:
		return config, nil
	case d.tcp():
		return d.tunnelTLS(hello), nil
	case !d.public && !d.stealthy() && !d.site.NeverAsks && l.g.again.armed(c.RemoteAddr(), d.host, l.g.now()):
		c.again = new(delay)
		return l.g.onceMoreTLS(d, c.again), nil
	}
	return d.tls, nil
}

// wanted returns the canonical name that a ClientHello asks for. Without one
// it is the address that was dialled, as clients do for IP addresses (RFC 6066
// section 3).
func wanted(hello *tls.ClientHelloInfo) string {
	name := hello.ServerName
	if name == "" {
		host, _, err := net.SplitHostPort(hello.Conn.LocalAddr().String())
		if err != nil {
			return ""
		}
		name = host
	}
	canonical, ok := canonicalHost(name)
	if !ok {
		return ""
	}
	return canonical
}

// An earlyError refuses a stealthy site's visitor in the handshake.
type earlyError struct{ verdict verdict }

func (e *earlyError) Error() string { return "refused: " + string(e.verdict.code) }

// refuseEarly returns the VerifyConnection of a stealthy site. The client has
// not proved yet that it holds its key, so nothing is written down here. For
// the same reason a forged certificate passes: whether it means theft is known
// only once the handshake has ended, and the connection is then closed before
// a byte of HTTP.
func (g *Gateway) refuseEarly(host string) func(tls.ConnectionState) error {
	return func(cs tls.ConnectionState) error {
		d := g.table.Load().doors[host]
		if d == nil || d.public || len(cs.PeerCertificates) == 0 {
			return &earlyError{verdict{code: refusal.NoCertificate}}
		}
		v := g.standing(g.trusted().examine(cs.PeerCertificates, g.now()))
		if v.code == "" {
			v = g.consultAny(v, d)
		}
		if v.code == "" || refusal.Lookup(v.code).Alarm {
			return nil
		}
		v.client = Client{Certificate: cs.PeerCertificates[0]}
		return &earlyError{v}
	}
}

// challenged reports whether a handshake is a public authority's question (RFC
// 8737 section 3): it offers one protocol that nobody else does.
func challenged(hello *tls.ClientHelloInfo) bool {
	return len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == "acme-tls/1"
}
