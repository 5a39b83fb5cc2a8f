package gateway

import (
	"cmp"
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/partner"
	"github.com/postern-project/postern/internal/roster"
	"github.com/postern-project/postern/internal/rule"
)

// A Roster is what the gateway asks about certificates and names. Its answers
// are for this moment and never remembered.
type Roster interface {
	Check(ref ledger.Ref, notBefore time.Time) roster.Verdict
	Token(ledger.Hash) (roster.Token, bool)
	Suspended(identity.Name) (by identity.Name, is bool)
	Groups(identity.Name) []identity.Group
	TrustDomain() identity.TrustDomain
	Anchors() ledger.Anchors
	Issuers() []roster.Issuer
	Issuer(ledger.KeyID) (roster.Issuer, bool)
	Generation() uint64
	Watch(func(roster.Change)) (stop func())
}

var _ Roster = (*roster.Roster)(nil)

// Options are what a gateway is made with.
type Options struct {
	// Roster is required.
	Roster Roster
	// Certificate returns the server certificate for a canonical host name or
	// IP address. It is called in every full handshake and must be quick.
	Certificate func(host string) (*tls.Certificate, error)
	// Own is Certificate for clients that verify by our own root and say so: see
	// chain.OwnProtocol. Nil is Certificate.
	Own func(host string) (*tls.Certificate, error)
	// Challenge returns what proves to a public authority that a host is ours
	// (RFC 8737); it may be nil.
	Challenge func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Renew answers /.postern/renew on every site. It is called only for a
	// good certificate, whatever the site's list says; ClientOf tells whose.
	Renew http.Handler
	// Visited, which may be nil, is called for the first request of each
	// connection that is let in with a certificate. It must be quick.
	Visited func(c Client, host string)
	// Assert signs a statement for FormJWT that ends soon after now; it may be
	// nil. It is called for a good certificate only.
	Assert func(Assertion) (string, error)
	// Log defaults to none.
	Log *slog.Logger
	// Metrics may be nil.
	Metrics prometheus.Registerer
	// Journal keeps refusals for 'postern explain'; it may be nil.
	Journal *Journal
	// Now defaults to time.Now.
	Now func() time.Time
	// Limits default to those of Limits.
	Limits Limits
}

// A Config is what the operator declares.
type Config struct {
	Sites []Site
	// Networks are those that lists may ask for.
	Networks rule.Networks
	// Zone is the time zone that conditions speak of; nil is UTC.
	Zone *time.Location
	// Public answers on the public side, to everybody.
	Public http.Handler
	// PublicHost, when set, is a host name of the public side on the sites'
	// listener. Connections to it are not asked for a certificate.
	PublicHost string
	// JoinURL is where a visitor without a certificate learns how to get one.
	JoinURL string
	// AskURL is where a visitor of a site with AccessRequests can ask for
	// access.
	AskURL string
	// RenewExpired is for how long after its end a certificate can be renewed
	// by proof of its key, and for nothing else; zero is not at all.
	RenewExpired time.Duration
	// Proxies are the addresses of load balancers: connections from them begin
	// with a PROXY header that says whose they are, and others do not.
	Proxies []netip.Prefix
	// StandardReader has the standard library read every request, the plain
	// ones of HTTP/1.1 too.
	StandardReader bool
}

// A Site is one host name with what is behind it and who may see it.
type Site struct {
	// Host is a host name or an IP address, in any spelling.
	Host string
	// Frankness is how much is told to those who are turned away.
	Frankness Frankness
	// AccessRequests offers those without a good certificate to ask for access.
	AccessRequests bool
	// Stealth refuses in the handshake instead of showing a page.
	Stealth bool
	// NeverAsks leaves out the request for a certificate: everybody is a
	// stranger here.
	NeverAsks bool
	// HTTP3 has the site served by ServeHTTP3 as well. Tcp sites are not.
	HTTP3 bool
	// MinVersion is tls.VersionTLS13 when zero.
	MinVersion uint16
	// List says who may pass where no route matches. The zero List lets nobody
	// in.
	List rule.List
	// Routes are parts of the site with rules of their own; of those that match
	// a request the most specific one counts.
	Routes []Route
	// AppTokens are for apps that cannot show a certificate.
	AppTokens AppTokens
	// Partners judge certificates of foreign authorities. Stealthy and tcp
	// sites ask none.
	Partners []*partner.Checker
	Policy
	// Handler answers those who may pass; without one the site is closed.
	Handler http.Handler
	// Identity is the forms in which Handler is told who asks, beside
	// X-Postern-Identity and X-Postern-Serial.
	Identity []Form
	// ForwardHeader, in place of Handler, makes a site where other servers ask
	// about their requests: see Gateway.ForwardAuth.
	ForwardHeader string
	// Tunnel, in place of Handler, makes a tcp site: those who may pass are
	// connected with what it dials, and everybody else is refused in the
	// handshake. A client that speaks HTTP reaches only the reserved paths.
	Tunnel Tunnel
	// StartTLS is StartTLSPostgres where a tcp site's clients may ask in the
	// clear for TLS; "" where TLS comes first.
	StartTLS string
}

// Limits bound what a client may take. Zero fields have the defaults named.
type Limits struct {
	// Hello is how long a client may take for its ClientHello: 10 s.
	Hello time.Duration
	// Handshake is how long the rest of a handshake may take. A browser may
	// hold it open while a person picks a certificate: 60 s.
	Handshake time.Duration
	// Header is how long the header of an HTTP/1.1 request may take: 10 s.
	Header time.Duration
	// Idle is how long a connection may rest between requests: 2 min.
	Idle time.Duration
	// StrangerIdle is how long one may rest that speaks for nobody known: 10 s,
	// and never longer than Idle.
	StrangerIdle time.Duration
	// Stall is how long a client may accept no byte of an answer: 60 s.
	Stall time.Duration
	// Drain is how long a refused connection is read on after the alert, so
	// that the client sees the alert and not a reset: 1 s.
	Drain time.Duration
	// Grace is how long requests may go on after the end was asked for: 10 s.
	Grace time.Duration
	// HeaderBytes is the size of a request's header: 64 KiB.
	HeaderBytes int
	// Connections is the number of open connections; past it the stranger that
	// has rested longest is dropped. It is 7/8 of the files that the process
	// may open, leaving at least 64, and no more than 16,384.
	Connections int
	// Handshakes is the number of connections in handshake on one listener;
	// past it the one that has taken longest is dropped: 1024, and no more than
	// a quarter of Connections.
	Handshakes int
	// Streams is the number of concurrent HTTP/2 requests of one client: 128.
	Streams int
	// Strangers is the number of requests in hand, of all sites, of those who
	// are let in and are nobody known: 2048.
	Strangers int
}

func (l Limits) orDefaults() Limits {
	l.Idle = cmp.Or(l.Idle, 2*time.Minute)
	l.Connections = cmp.Or(l.Connections, defaultConnections(descriptors()))
	return Limits{
		Hello:        cmp.Or(l.Hello, 10*time.Second),
		Handshake:    cmp.Or(l.Handshake, 60*time.Second),
		Header:       cmp.Or(l.Header, 10*time.Second),
		Idle:         l.Idle,
		StrangerIdle: min(cmp.Or(l.StrangerIdle, 10*time.Second), l.Idle),
		Stall:        cmp.Or(l.Stall, 60*time.Second),
		Drain:        cmp.Or(l.Drain, time.Second),
		Grace:        cmp.Or(l.Grace, 10*time.Second),
		HeaderBytes:  cmp.Or(l.HeaderBytes, 64<<10),
		Connections:  l.Connections,
		Handshakes:   cmp.Or(l.Handshakes, max(1, min(1024, l.Connections/4))),
		Streams:      cmp.Or(l.Streams, 128),
		Strangers:    cmp.Or(l.Strangers, 2048),
	}
}

// defaultConnections leaves some of the files for the command socket, the
// database and the upstreams.
func defaultConnections(files int, known bool) int {
	const plain, most, least = 4096, 16 << 10, 16
	if !known {
		return plain
	}
	return min(max(files-max(64, files/8), least), most)
}
