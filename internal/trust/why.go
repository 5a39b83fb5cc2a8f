package trust

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"
)

// A Reason is one way in which a server's certificate leads to a root that
// this machine believes.
type Reason struct {
	// Chain is the leaf, then its issuers, and the root last.
	Chain []*x509.Certificate
	// Roots are the places that hold the root.
	Roots []Root
}

// Why asks a server for its certificate, without sending anything else, and
// returns the ways in which it leads to one of roots. No way is no error.
func Why(ctx context.Context, address string, roots []Root, now time.Time) ([]Reason, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		host, port = address, "443"
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	// What the server shows is judged below, and nothing is sent to it.
	d := tls.Dialer{Config: &tls.Config{ServerName: host, InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}}
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	shown := conn.(*tls.Conn).ConnectionState().PeerCertificates
	if len(shown) == 0 {
		return nil, errors.New("the server showed no certificate")
	}
	return Reasons(shown, host, roots, now)
}

// Reasons returns the ways in which a chain, leaf first, leads to one of roots.
func Reasons(shown []*x509.Certificate, host string, roots []Root, now time.Time) ([]Reason, error) {
	anchors, between := x509.NewCertPool(), x509.NewCertPool()
	places := map[[32]byte][]Root{}
	for _, r := range roots {
		anchors.AddCert(r.Certificate)
		sum := sha256.Sum256(r.Certificate.Raw)
		places[sum] = append(places[sum], r)
	}
	for _, c := range shown[1:] {
		between.AddCert(c)
	}
	chains, err := shown[0].Verify(x509.VerifyOptions{DNSName: host, Roots: anchors, Intermediates: between, CurrentTime: now})
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the certificate of %s is not believed at all: %w", host, err)
	}
	var all []Reason
	for _, chain := range chains {
		all = append(all, Reason{Chain: chain, Roots: places[sha256.Sum256(chain[len(chain)-1].Raw)]})
	}
	return all, nil
}
