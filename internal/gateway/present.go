package gateway

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// A Form is a way to tell an application who asks, beside the fields that
// always say it. What arrives from outside in any of them is dropped on every
// site, whether the site uses it or not.
type Form string

// The forms.
const (
	// FormClientCert and FormClientCertChain are Client-Cert and
	// Client-Cert-Chain of RFC 9440.
	FormClientCert      Form = "client-cert"
	FormClientCertChain Form = "client-cert-chain"
	// FormXFCC is X-Forwarded-Client-Cert as Envoy writes it.
	FormXFCC Form = "xfcc"
	// FormJWT is X-Postern-Token, a signed statement: see Options.Assert.
	FormJWT Form = "jwt"
	// FormForwarded is Forwarded of RFC 7239.
	FormForwarded Form = "forwarded"
)

// The header fields of the forms.
const (
	headerClientCert      = "Client-Cert"
	headerClientCertChain = "Client-Cert-Chain"
	headerXFCC            = "X-Forwarded-Client-Cert"
	headerToken           = "X-Postern-Token"
	headerForwarded       = "Forwarded"
)

var forms = []Form{FormClientCert, FormClientCertChain, FormXFCC, FormJWT, FormForwarded}

// ParseForm returns the form that is written as s.
func ParseForm(s string) (Form, error) {
	if !slices.Contains(forms, Form(s)) {
		return "", fmt.Errorf("%q is no form: write client-cert, client-cert-chain, xfcc, jwt or forwarded", s)
	}
	return Form(s), nil
}

// An Assertion is what Options.Assert is asked to sign: that Client makes a
// request to the site Host.
type Assertion struct {
	Client Client
	Host   string
}

// tokenFresh is for how long a connection's token is sent again.
const tokenFresh = 30 * time.Second

// A token is a signed statement about a connection's client.
type token struct {
	text   string
	client Client
	until  time.Time
}

// present writes the forms that the site asks for into a request whose fields
// from outside were dropped. A stranger has none of them but Forwarded.
func (x *exchange) present(h http.Header) error {
	for _, f := range x.door.site.Identity {
		if f == FormForwarded {
			h[headerForwarded] = []string{forwarded(x.request.RemoteAddr, x.request.Host)}
			continue
		}
		if x.client.IsZero() || x.client.Certificate == nil && f != FormJWT {
			continue
		}
		switch f {
		case FormClientCert:
			h[headerClientCert] = []string{byteSequence(x.client.Certificate.Raw)}
		case FormClientCertChain:
			x.presentChain(h)
		case FormXFCC:
			h[headerXFCC] = []string{xfcc(x.client)}
		case FormJWT:
			text, err := x.token()
			if err != nil {
				return err
			}
			h[headerToken] = []string{text}
		}
	}
	return nil
}

// presentChain writes the certificates that came along with the client's own,
// in the order of the handshake (RFC 9440 section 2.3).
func (x *exchange) presentChain(h http.Header) {
	var chain []string
	for i, c := range x.conn.presented {
		if i > 0 {
			chain = append(chain, byteSequence(c.Raw))
		}
	}
	if len(chain) > 0 {
		h[headerClientCertChain] = []string{strings.Join(chain, ", ")}
	}
}

// byteSequence is RFC 8941 section 4.1.8.
func byteSequence(der []byte) string { return ":" + base64.StdEncoding.EncodeToString(der) + ":" }

// xfcc says who the client is as Envoy does: the hash of the certificate, its
// subject, and its URI.
func xfcc(c Client) string {
	hash := sha256.Sum256(c.Certificate.Raw)
	s := "Hash=" + hex.EncodeToString(hash[:]) + `;Subject="` + escapeQuoted(c.Certificate.Subject.String()) + `"`
	for _, u := range c.Certificate.URIs {
		s += ";URI=" + u.String()
	}
	return s
}

// escapeQuoted escapes what would end a quoted string, and leaves out what no
// field may hold.
func escapeQuoted(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r < ' ' || r > '~':
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// forwarded is RFC 7239 section 4: an address of IPv6, and a host with a port,
// are quoted.
func forwarded(address, host string) string {
	if ip, _, err := net.SplitHostPort(address); err == nil {
		address = ip
	}
	if strings.Contains(address, ":") {
		address = `"[` + address + `]"`
	}
	if strings.ContainsAny(host, ":[") {
		host = `"` + host + `"`
	}
	return "for=" + address + ";host=" + host + ";proto=https"
}

// token returns a statement about the client that is fresh enough.
func (x *exchange) token() (string, error) {
	if x.g.options.Assert == nil {
		return "", errors.New("nothing signs tokens here")
	}
	now := x.g.now()
	if t := x.conn.token.Load(); t != nil && now.Before(t.until) && t.client.Ref == x.client.Ref && t.client.Token == x.client.Token && t.client.Name == x.client.Name {
		return t.text, nil
	}
	text, err := x.g.options.Assert(Assertion{Client: x.client, Host: x.door.host})
	if err != nil {
		return "", err
	}
	x.conn.token.Store(&token{text: text, client: x.client, until: now.Add(tokenFresh)})
	return text, nil
}
