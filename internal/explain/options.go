package explain

import (
	"crypto/tls"
	"crypto/x509"
	"time"

	"github.com/postern-project/postern/internal/chain"
	"github.com/postern-project/postern/internal/refusal"
)

// A File is the content of a file and the name it goes by in the report.
type File struct {
	Name string
	Data []byte
}

// Options say how files are judged.
type Options struct {
	// Host is the name or IP address the certificate is meant to serve; ""
	// leaves names out.
	Host string
	// Purpose is what the certificate is for; zero tells it from the
	// certificate and Host.
	Purpose chain.Purpose
	// Roots are the anchors. Without any, the system's and the roots among the
	// files are taken, and the report says so.
	Roots []*x509.Certificate
	// Intermediates are issuers known beside the files.
	Intermediates []*x509.Certificate
	// Anchors returns, where Roots is empty, the root and the issuers that what
	// is in the files may have to do with, if any; it may be nil.
	Anchors func(certs []*x509.Certificate) (roots, issuers []*x509.Certificate)
	// System holds roots beside those, which count where Roots is empty; nil is
	// those of the operating system.
	System *x509.CertPool
	// Now is the moment to judge for.
	Now time.Time
	// Password asks for the password of a file; nil tries the empty password
	// alone.
	// When there is none to be had it returns ErrNoPassword.
	Password func(file string) (string, error)
	// Ledger says what the ledger holds of a certificate; nil when there is no
	// ledger at hand.
	Ledger func(*x509.Certificate) (Standing, error)
}

// HostOptions say how a live host is asked.
type HostOptions struct {
	// ServerName is the name sent in the handshake and looked for in the
	// certificate; "" is the host that is dialled.
	ServerName string
	// Roots are anchors beside System; nil is the roots of the operating
	// system.
	Roots  []*x509.Certificate
	System *x509.CertPool
	// Clients are certificates that might open the door.
	Clients []Credential
	// Timeout bounds each phase; zero is five seconds.
	Timeout time.Duration
	// Now returns the time; nil is time.Now.
	Now func() time.Time
	// Path is asked for with GET; "" is "/".
	Path string
}

// A Credential is a client certificate with its key and the name of the file
// it came from.
type Credential struct {
	Name        string
	Certificate tls.Certificate
	// Problem says why it cannot be used at all, such as a key that belongs to
	// another certificate.
	Problem string
}

// A Record is a recorded refusal, as far as it is known.
type Record struct {
	Reference   refusal.Reference
	Time        time.Time
	Code        refusal.Code
	Detail      string
	Site        string
	Host        string
	Method      string
	Path        string
	Address     string
	Audit       bool // let in all the same
	Name        string
	Claims      string // the whole URI, when the ledger does not bear out Name
	Serial      string
	Issuer      string
	IssuerKeyID string
	Subject     string
	NotAfter    time.Time
}

// systemRoots returns pool, or the operating system's roots when there is
// none. Where those cannot be read, nothing is trusted that is not named.
func systemRoots(pool *x509.CertPool) *x509.CertPool {
	if pool != nil {
		return pool
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil
	}
	return pool
}
