package explain

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/postern-project/postern/internal/chain"
)

// A shaken is a connection after its handshake, good or bad.
type shaken struct {
	conn    *tls.Conn
	state   tls.ConnectionState         // as far as the handshake came
	request *tls.CertificateRequestInfo // nil when no certificate was asked for
	err     error
	step    chain.Step
}

func (s *shaken) close() { s.conn.Close() }

// shake makes a TLS handshake, with the certificate of c where that is asked
// for. Whatever the server shows is accepted here and judged afterwards.
func (p *probe) shake(ctx context.Context, conn net.Conn, c *Credential) *shaken {
	s := &shaken{}
	s.conn = tls.Client(conn, p.config(s, c))
	start := p.o.Now()
	ctx, cancel := context.WithTimeout(ctx, p.o.Timeout)
	defer cancel()
	s.err = s.conn.HandshakeContext(ctx)
	if s.err == nil {
		s.state = s.conn.ConnectionState()
	}
	s.step = p.handshakeStep(s, p.took(start))
	return s
}

func (p *probe) config(s *shaken, c *Credential) *tls.Config {
	return &tls.Config{
		ServerName:         p.serverName,
		InsecureSkipVerify: true, // to see what there is; package chain judges it
		MinVersion:         tls.VersionTLS10,
		CipherSuites:       allSuites(),
		NextProtos:         []string{"h2", "http/1.1"},
		VerifyConnection: func(state tls.ConnectionState) error {
			s.state = state
			return nil
		},
		GetClientCertificate: func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			s.request = r
			if c == nil {
				return &tls.Certificate{}, nil
			}
			return &c.Certificate, nil
		},
	}
}

// allSuites returns also the weak cipher suites, so that an old server can be
// explained.
func allSuites() []uint16 {
	var ids []uint16
	for _, c := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		ids = append(ids, c.ID)
	}
	return ids
}

func (p *probe) handshakeStep(s *shaken, took string) chain.Step {
	if s.err != nil {
		return p.handshakeFault(s, took)
	}
	words := []string{tls.VersionName(s.state.Version), tls.CipherSuiteName(s.state.CipherSuite)}
	if s.state.CurveID != 0 {
		words = append(words, s.state.CurveID.String())
	}
	alpn := s.state.NegotiatedProtocol
	if alpn == "" {
		alpn = "none agreed"
	}
	step := good("handshake", fmt.Sprintf("%s, protocol %s%s", strings.Join(words, ", "), chain.Printable(alpn), took))
	if s.state.Version < tls.VersionTLS12 {
		step.Warning = true
		step.Detail += "; this version is out of use, browsers refuse it"
	}
	return step
}

// handshakeFault says why there was no connection. Where the server asked for
// a certificate, that it got none may be the reason and the rest of the report
// tells.
func (p *probe) handshakeFault(s *shaken, took string) chain.Step {
	detail, remedy := p.faultWords(s)
	return bad("handshake", detail+took, remedy)
}

func (p *probe) faultWords(s *shaken) (detail, remedy string) {
	if a, ok := alertOf(s.err); ok {
		w := alertWords(a)
		return fmt.Sprintf("the server ended it with the alert %s: %s", alertName(a), w.means), w.remedy
	}
	header, notTLS := errors.AsType[tls.RecordHeaderError](s.err)
	switch {
	case notTLS && strings.HasPrefix(string(header.RecordHeader[:]), "HTTP"):
		return "the server speaks plain HTTP on this port", "Use the port for HTTPS, or switch TLS on ('listen 443 ssl;' in nginx)."
	case notTLS:
		return "the server speaks something else than TLS on this port", "Use the port of the TLS listener; mail and database servers may need STARTTLS first."
	case isTimeout(s.err):
		return "the server takes the connection and says nothing", "Something between here and there swallows TLS, or the server is overloaded or waits for another protocol."
	case errors.Is(s.err, io.EOF), isReset(s.err):
		return "the server closes the connection without a word", "It may refuse the name " + chain.Quote(p.serverName) + " (SNI), this address, or the absence of a certificate: its own log says which."
	default:
		return "it failed: " + chain.Printable(s.err.Error()), "The server sends what this program cannot accept: its log and its certificate file are the next places to look."
	}
}
