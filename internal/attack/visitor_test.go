package attack

import (
	"bufio"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// An authority signs certificates: a partner's, a stranger's, or our own
// issuer in a thief's hands.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return key
}

func newSerial() *big.Int {
	b := make([]byte, 16)
	rand.Read(b)
	b[0] = b[0]&0x3f | 0x40
	return new(big.Int).SetBytes(b)
}

// newAuthority makes a CA, by another one or by itself.
func newAuthority(name string, by *authority) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: newSerial(), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if by == nil {
		by = &authority{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, key.Public(), by.key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &authority{cert, key}, err
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// device is what an authority would sign for a device of that name.
func device(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: newSerial(), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		URIs: []*url.URL{{Scheme: "spiffe", Host: "postern.internal", Path: "/" + name}}, BasicConstraintsValid: true,
	}
}

// sign makes a certificate as template says, with its chain.
func (a *authority) sign(t testing.TB, template *x509.Certificate, chain ...[]byte) *tls.Certificate {
	t.Helper()
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	must(t, err)
	return &tls.Certificate{Certificate: append([][]byte{der, a.cert.Raw}, chain...), PrivateKey: key}
}

// tls is what a visitor dials with, who shows its certificate whatever the
// server asks for. Without one it is a stranger.
func (h *house) tls(who *tls.Certificate, host string) *tls.Config {
	c := &tls.Config{RootCAs: h.roots, ServerName: host, NextProtos: []string{"http/1.1"}}
	if who != nil {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return who, nil }
	}
	return c
}

// dial makes a TLS connection to the sites, with a deadline.
func (h *house) dial(t testing.TB, c *tls.Config) (*tls.Conn, error) {
	t.Helper()
	raw, err := net.DialTimeout("tcp", h.addr, 20*time.Second)
	must(t, err)
	return shake(t, raw, c)
}

func shake(t testing.TB, raw net.Conn, c *tls.Config) (*tls.Conn, error) {
	raw.SetDeadline(time.Now().Add(60 * time.Second))
	conn := tls.Client(raw, c)
	t.Cleanup(func() { conn.Close() })
	return conn, conn.Handshake()
}

// An answer is what came back: of a connection that was closed in the
// handshake, nothing but the error.
type answer struct {
	status int
	code   string // of a refusal
	body   string
	err    error
}

// String is how a table names it: "200", a refusal's code, or "closed".
func (a answer) String() string {
	switch {
	case a.err != nil:
		return "closed"
	case a.code != "":
		return a.code
	}
	return fmt.Sprint(a.status)
}

// get asks for a path on a connection of its own.
func (h *house) get(t testing.TB, who *tls.Certificate, host, path string) answer {
	t.Helper()
	return h.ask(t, h.tls(who, host), "GET "+path+" HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
}

// ask sends one request on a connection of its own and reads the answer.
func (h *house) ask(t testing.TB, c *tls.Config, request string) answer {
	t.Helper()
	conn, err := h.dial(t, c)
	if err != nil {
		return answer{err: err}
	}
	defer conn.Close()
	return speak(conn, bufio.NewReader(conn), request)
}

// speak sends one request on a connection and reads the answer.
func speak(conn io.Writer, r *bufio.Reader, request string) answer {
	head, rest, _ := strings.Cut(request, "\r\n")
	if _, err := io.WriteString(conn, head+"\r\nAccept: application/problem+json\r\n"+rest); err != nil {
		return answer{err: err}
	}
	return hear(r)
}

// hear reads one answer, and past those that only announce it.
func hear(r *bufio.Reader) answer {
	resp, err := http.ReadResponse(r, nil)
	for err == nil && resp.StatusCode/100 == 1 && resp.StatusCode != http.StatusSwitchingProtocols {
		resp, err = http.ReadResponse(r, nil)
	}
	if err != nil {
		return answer{err: err}
	}
	return answerOf(resp)
}

func answerOf(resp *http.Response) answer {
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	a := answer{status: resp.StatusCode, body: string(body), err: err}
	if resp.Header.Get("Content-Type") == "application/problem+json" {
		var p struct{ Code string }
		if json.Unmarshal(body, &p) == nil {
			a.code = p.Code
		}
	}
	return a
}

// say sends text on a connection of its own and returns all that comes back
// until the server ends it or falls silent.
func (h *house) say(t testing.TB, c *tls.Config, text string) string {
	t.Helper()
	conn, err := h.dial(t, c)
	if err != nil {
		return "closed: " + err.Error()
	}
	defer conn.Close()
	io.WriteString(conn, text)
	var all strings.Builder
	buf := make([]byte, 32<<10)
	for {
		conn.SetReadDeadline(time.Now().Add(either(300*time.Millisecond, time.Second)))
		n, err := conn.Read(buf)
		all.Write(buf[:n])
		if err != nil {
			return all.String()
		}
	}
}

// alternative is a subject alternative name of one type, whatever its bytes.
func alternative(tag byte, value string) pkix.Extension {
	names, err := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: int(tag), Bytes: []byte(value)}})
	if err != nil {
		panic(err)
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: names}
}

// many returns n names, the last of which is given.
func many(n int, last string) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("n%d.evil.test", i)
	}
	return append(all, last)
}

// dnsDevice is a certificate for a client that is known by a DNS name.
func dnsDevice(host string) *x509.Certificate {
	c := device("x")
	c.URIs, c.DNSNames = nil, []string{host}
	return c
}
