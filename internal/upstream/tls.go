package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
)

// TLS tunes how an https application is spoken to. The zero value verifies
// its certificate by the system's roots and shows none.
type TLS struct {
	// Roots verify it in place of the system's.
	Roots *x509.CertPool
	// ServerName is asked for and verified; the address's host by default.
	ServerName string
	// Certificate returns what is shown when the application asks for it; nil
	// shows none. It is called for every handshake.
	Certificate func() (*tls.Certificate, error)
}

// apply has u, which has dialled nothing yet, do as t says.
func (t TLS) apply(u *Upstream) error {
	c := u.dialer.tls
	if c == nil {
		if t.Roots != nil || t.ServerName != "" || t.Certificate != nil {
			return errors.New("upstream " + shown(u.spec) + ": what is said of TLS is for https:// only")
		}
		return nil
	}
	if t.Roots != nil {
		c.RootCAs = t.Roots
	}
	if t.ServerName != "" {
		c.ServerName = t.ServerName
	}
	if t.Certificate != nil {
		// A session's ticket stands for the certificate that was shown, and
		// ours are replaced.
		c.ClientSessionCache = nil
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return t.Certificate() }
	}
	return nil
}
