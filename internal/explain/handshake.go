package explain

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/chain"
)

// A shaken is a connection after its handshake, good or bad.
type shaken struct {
	conn    *tls.Conn
	held    *held
	state   tls.ConnectionState         // as far as the handshake came
	request *tls.CertificateRequestInfo // nil when no certificate was asked for
	err     error
	step    chain.Step
}

func (s *shaken) close() { s.conn.Close() }

// shake makes a TLS handshake, with the certificate of c where that is asked
// for. Whatever the server shows is accepted here and judged afterwards.
func (p *probe) shake(ctx context.Context, conn net.Conn, c *Credential) *shaken {
	s := &shaken{held: &held{conn, bufio.NewReader(conn)}}
	s.conn = tls.Client(s.held, p.config(s, c))
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
	if _, alerted := alertOf(s.err); alerted && s.request != nil {
		remedy = alertTexts[certificateRequired].remedy
	}
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

// A held connection can look at what has come before TLS reads it.
type held struct {
	net.Conn
	r *bufio.Reader
}

func (h *held) Read(b []byte) (int, error) { return h.r.Read(b) }

// settle is how long a server of TLS 1.3 gets to refuse a certificate: its
// alert comes after our side of the handshake has ended.
const settle = 400 * time.Millisecond

// lateAlert waits for such an alert and returns it. Were the request sent
// first, the server's system would answer it with a reset, and that makes our
// own forget the alert unread.
func (s *shaken) lateAlert() error {
	if s.request == nil || s.state.Version < tls.VersionTLS13 {
		return nil
	}
	s.held.SetReadDeadline(time.Now().Add(settle))
	header, err := s.held.r.Peek(5)
	s.held.SetReadDeadline(time.Time{})
	// An alert is two bytes, its type one more and the tag sixteen (RFC 8446
	// section 5.2). No answer is that short, so nothing but it is taken away.
	if err != nil || header[0] != 23 || binary.BigEndian.Uint16(header[3:]) != 19 {
		return nil
	}
	s.conn.SetReadDeadline(time.Now().Add(settle))
	defer s.conn.SetReadDeadline(time.Time{})
	_, err = s.conn.Read(make([]byte, 1))
	if _, ok := alertOf(err); ok {
		return err
	}
	return nil
}
