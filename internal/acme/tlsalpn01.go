package acme

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"net/netip"
	"strings"

	"github.com/postern-project/postern/internal/authority"
)

// alpnProtocol is what a server of tls-alpn-01 speaks (RFC 8737 section 6.2).
const alpnProtocol = "acme-tls/1"

// askTLS reads the challenge's certificate (RFC 8737 section 3) and returns the
// digest in it, in base64url, and the address that it came from.
func (p *served) askTLS(ctx context.Context, t *trace, q query) ([]string, string, *problemError) {
	conn, failed := p.reach(ctx, t, q.host.Value, p.tlsPort())
	if failed != nil {
		return nil, "", failed
	}
	defer conn.Close()
	from := conn.RemoteAddr().String()
	client := tls.Client(conn, &tls.Config{
		ServerName: sniOf(q.host), NextProtos: []string{alpnProtocol}, MinVersion: tls.VersionTLS12,
		InsecureSkipVerify: true, // the certificate signs itself; its extension is what is read
	})
	if err := client.HandshakeContext(ctx); err != nil {
		t.say("the TLS handshake for %s failed: %s", sniOf(q.host), netWords(err))
		return nil, from, problem(tlsProblem, "%s: the TLS handshake failed: %s", q.host.Value, netWords(err))
	}
	state := client.ConnectionState()
	if state.NegotiatedProtocol != alpnProtocol {
		t.say("the server did not choose the protocol %s, but %q", alpnProtocol, state.NegotiatedProtocol)
		return nil, from, problem(tlsProblem, "%s does not speak %s", q.host.Value, alpnProtocol)
	}
	digest, err := digestIn(state.PeerCertificates[0], q.host)
	if err != nil {
		t.say("its certificate is not one of this challenge: %v", err)
		return nil, from, problem(incorrectResponse, "%s: its certificate is not one of tls-alpn-01: %v", q.host.Value, err)
	}
	t.say("its certificate holds a digest")
	return []string{base64.RawURLEncoding.EncodeToString(digest)}, from, nil
}

// sniOf returns the server name to ask for: an address goes by its name in
// reverse DNS (RFC 8738 section 6).
func sniOf(id authority.ACMEIdentifier) string {
	a, err := netip.ParseAddr(id.Value)
	if id.Type != "ip" || err != nil {
		return id.Value
	}
	if a.Is4() {
		b := a.As4()
		return fmt.Sprintf("%d.%d.%d.%d.in-addr.arpa", b[3], b[2], b[1], b[0])
	}
	var name strings.Builder
	b := a.As16()
	for i := len(b) - 1; i >= 0; i-- {
		fmt.Fprintf(&name, "%x.%x.", b[i]&0xf, b[i]>>4)
	}
	return name.String() + "ip6.arpa"
}

var oidACMEIdentifier = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}

// digestIn returns what the certificate's acmeIdentifier holds. The certificate
// has that extension, critical and once, and names the host and nothing else
// (RFC 8737 section 3).
func digestIn(c *x509.Certificate, id authority.ACMEIdentifier) ([]byte, error) {
	names := len(c.DNSNames) + len(c.IPAddresses) + len(c.URIs) + len(c.EmailAddresses)
	good := names == 1 && (len(c.DNSNames) == 1 && strings.EqualFold(c.DNSNames[0], id.Value) ||
		id.Type == "ip" && len(c.IPAddresses) == 1 && c.IPAddresses[0].String() == id.Value)
	if !good {
		return nil, fmt.Errorf("it is not for %s alone", id.Value)
	}
	var digest []byte
	found := 0
	for _, e := range c.Extensions {
		if !e.Id.Equal(oidACMEIdentifier) {
			continue
		}
		found++
		if rest, err := asn1.Unmarshal(e.Value, &digest); err != nil || len(rest) > 0 || len(digest) != sha256.Size || !e.Critical {
			return nil, fmt.Errorf("its acmeIdentifier is not a critical extension with a SHA-256")
		}
	}
	if found != 1 {
		return nil, fmt.Errorf("it has %d acmeIdentifier extensions", found)
	}
	return digest, nil
}
