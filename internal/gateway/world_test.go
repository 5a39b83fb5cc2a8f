package gateway

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/roster"
	"github.com/postern-project/postern/internal/rule"
)

const testDomain = "example.com"

// A world is an authority in memory: a root, issuers and a roster that is fed
// the ledger's entries.
type world struct {
	tb      testing.TB
	roster  *roster.Roster
	root    *issuer
	clients *issuer
	servers *issuer

	mu    sync.Mutex // guards what follows
	size  uint64
	hosts map[string]*tls.Certificate
}

type issuer struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func (i *issuer) id() ledger.KeyID { return roster.KeyIDOf(i.cert) }

func newKey(tb testing.TB) crypto.Signer {
	tb.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(tb, err)
	return k
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func newSerial() *big.Int {
	b := make([]byte, 16)
	rand.Read(b)
	b[0] = b[0]&0x3f | 0x40
	return new(big.Int).SetBytes(b)
}

// newIssuer makes a CA, signed by parent or by itself.
func newIssuer(tb testing.TB, name string, parent *issuer, usage ...x509.ExtKeyUsage) *issuer {
	tb.Helper()
	key := newKey(tb)
	template := &x509.Certificate{
		SerialNumber: newSerial(), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, ExtKeyUsage: usage,
	}
	if parent != nil {
		template.MaxPathLenZero = true
	} else {
		template.MaxPathLen = 1
		parent = &issuer{template, key}
	}
	return &issuer{parse(tb, sign(tb, template, parent, key.Public())), key}
}

func sign(tb testing.TB, template *x509.Certificate, by *issuer, pub crypto.PublicKey) []byte {
	tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, pub, by.key)
	must(tb, err)
	return der
}

func parse(tb testing.TB, der []byte) *x509.Certificate {
	tb.Helper()
	c, err := x509.ParseCertificate(der)
	must(tb, err)
	return c
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	w := &world{tb: tb, roster: roster.New(), hosts: make(map[string]*tls.Certificate)}
	w.root = newIssuer(tb, "root", nil)
	w.clients = newIssuer(tb, "clients-1", w.root, x509.ExtKeyUsageClientAuth)
	w.servers = newIssuer(tb, "servers-1", w.root, x509.ExtKeyUsageServerAuth)
	domain, err := identity.ParseTrustDomain(testDomain)
	must(tb, err)
	pub, _, err := ed25519.GenerateKey(rand.Reader)
	must(tb, err)
	genesis, err := ledger.NewGenesis(domain, w.root.cert.Raw, pub, w.root.key)
	must(tb, err)
	w.append(genesis,
		ledger.IssuerAdded{Name: "clients-1", Use: ledger.UseClients, Certificate: w.clients.cert.Raw},
		ledger.IssuerAdded{Name: "servers-1", Use: ledger.UseServers, Certificate: w.servers.cert.Raw})
	return w
}

// append adds entries to the ledger.
func (w *world) append(bodies ...ledger.Body) {
	w.tb.Helper()
	entries := make([]ledger.Entry, len(bodies))
	for i, b := range bodies {
		entries[i] = ledger.Entry{At: time.Now(), Body: b}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.roster.Apply(w.size, entries); err != nil {
		w.tb.Errorf("append to the ledger: %v", err)
		return
	}
	w.size += uint64(len(bodies))
}

// A device is a client with a certificate and, unless it is forged, a ledger
// entry.
type device struct {
	tls.Certificate
	ref  ledger.Ref
	name identity.Name
}

func name(tb testing.TB, s string) identity.Name {
	tb.Helper()
	n, err := identity.ParseName(s)
	must(tb, err)
	return n
}

// clientTemplate is what the authority would sign for a device.
func clientTemplate(who string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: newSerial(), Subject: pkix.Name{CommonName: who},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		URIs: []*url.URL{{Scheme: "spiffe", Host: testDomain, Path: "/" + who}}, BasicConstraintsValid: true,
	}
}

// mint signs a certificate that the ledger hears nothing of.
func (w *world) mint(by *issuer, template *x509.Certificate) *device {
	w.tb.Helper()
	key := newKey(w.tb)
	leaf := parse(w.tb, sign(w.tb, template, by, key.Public()))
	ref, err := roster.RefOf(leaf, by.cert)
	must(w.tb, err)
	return &device{Certificate: tls.Certificate{Certificate: [][]byte{leaf.Raw, by.cert.Raw}, PrivateKey: key, Leaf: leaf}, ref: ref}
}

// record enters a certificate into the ledger under a name.
func (w *world) record(d *device, who string) *device {
	w.tb.Helper()
	d.name = name(w.tb, who)
	w.append(ledger.CertificateIssued{
		Ref: d.ref, Name: d.name, Profile: "device", Key: sha256.Sum256(d.Leaf.RawSubjectPublicKeyInfo),
		NotBefore: d.Leaf.NotBefore, NotAfter: d.Leaf.NotAfter, Via: "issue",
	})
	return d
}

// enrol issues a device its certificate.
func (w *world) enrol(who string) *device {
	w.tb.Helper()
	return w.record(w.mint(w.clients, clientTemplate(who)), who)
}

func (w *world) revoke(devices ...*device) {
	w.tb.Helper()
	refs := make([]ledger.Ref, len(devices))
	for i, d := range devices {
		refs[i] = d.ref
	}
	w.append(ledger.CertificatesRevoked{Reason: ledger.ReasonKeyCompromise, Certificates: refs})
}

// certificate is Options.Certificate: any host gets one.
func (w *world) certificate(host string) (*tls.Certificate, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := w.hosts[host]; c != nil {
		return c, nil
	}
	template := &x509.Certificate{
		SerialNumber: newSerial(), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		template.IPAddresses = []net.IP{ip.AsSlice()}
	} else {
		template.DNSNames = []string{host}
	}
	d := w.mint(w.servers, template)
	w.hosts[host] = &d.Certificate
	return w.hosts[host], nil
}

func allow(tb testing.TB, words ...string) rule.List {
	tb.Helper()
	l, err := rule.Parse(words, nil)
	must(tb, err)
	return l
}

// A house is a gateway that runs.
type house struct {
	*Gateway
	w       *world
	addr    string // of the sites' listener
	public  string // of the public side's
	metrics *prometheus.Registry
	end     func() // ends both listeners and waits
	stop    func() // end, and closes the gateway
}

// whoami answers with the name of whoever asks.
var whoami = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	c, _ := ClientOf(r)
	io.WriteString(w, "hello "+c.Name.String())
})

// open runs a gateway with sites.
func (w *world) open(o Options, sites ...Site) *house {
	w.tb.Helper()
	return w.openConfig(o, Config{Sites: sites})
}

func (w *world) openConfig(o Options, c Config) *house {
	w.tb.Helper()
	h := &house{w: w, metrics: prometheus.NewRegistry()}
	if o.Roster == nil {
		o.Roster = w.roster
	}
	if o.Certificate == nil {
		o.Certificate = w.certificate
	}
	o.Metrics = h.metrics
	if o.Limits.Grace == 0 {
		o.Limits.Grace = 200 * time.Millisecond
	}
	g, err := New(o)
	must(w.tb, err)
	h.Gateway = g
	must(w.tb, g.Configure(c))
	sites, err := net.Listen("tcp", "127.0.0.1:0")
	must(w.tb, err)
	public, err := net.Listen("tcp", "127.0.0.1:0")
	must(w.tb, err)
	h.addr, h.public = sites.Addr().String(), public.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := g.Serve(ctx, sites); err != nil {
			w.tb.Errorf("serve: %v", err)
		}
	})
	running.Go(func() {
		if err := g.ServePublic(ctx, public); err != nil {
			w.tb.Errorf("serve the public side: %v", err)
		}
	})
	h.end = func() {
		cancel()
		running.Wait()
	}
	h.stop = sync.OnceFunc(func() {
		h.end()
		g.Close()
	})
	w.tb.Cleanup(h.stop)
	return h
}

// clientTLS is what a client with d's certificate, or with none, dials with.
// It sends its certificate whatever the server asks for.
func (w *world) clientTLS(d *device, host string) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(w.root.cert)
	c := &tls.Config{RootCAs: pool, ServerName: host, NextProtos: []string{"http/1.1"}}
	if d != nil {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &d.Certificate, nil }
	}
	return c
}

// client returns an HTTP client whose every connection goes to addr with c.
func client(tb testing.TB, addr string, c *tls.Config) *http.Client {
	transport := &http.Transport{
		TLSClientConfig:   c,
		ForceAttemptHTTP2: len(c.NextProtos) > 0 && c.NextProtos[0] == "h2",
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		},
	}
	tb.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

// get asks for a page at host as d, on a connection of its own.
func (h *house) get(d *device, host, path string) (*http.Response, string) {
	h.w.tb.Helper()
	return fetch(h.w.tb, client(h.w.tb, h.addr, h.w.clientTLS(d, host)), "https://"+host+path)
}

func fetch(tb testing.TB, c *http.Client, url string) (*http.Response, string) {
	tb.Helper()
	resp, err := c.Get(url)
	if err != nil {
		tb.Fatalf("get %s: %v", url, err)
	}
	return resp, read(tb, resp)
}

// dial makes a TLS connection to the sites' listener.
func (h *house) dial(c *tls.Config) (*tls.Conn, error) {
	conn, err := tls.Dial("tcp", h.addr, c)
	if err == nil {
		h.w.tb.Cleanup(func() { conn.Close() })
	}
	return conn, err
}

func (h *house) mustDial(c *tls.Config) *tls.Conn {
	h.w.tb.Helper()
	conn, err := h.dial(c)
	must(h.w.tb, err)
	return conn
}

// count is a metric's value, with its labels as pairs.
func (h *house) count(metric string, labels ...string) float64 {
	h.w.tb.Helper()
	families, err := h.metrics.Gather()
	must(h.w.tb, err)
	var sum float64
	for _, f := range families {
		if f.GetName() != metric {
			continue
		}
		for _, m := range f.GetMetric() {
			match := true
			for i := 0; i < len(labels); i += 2 {
				found := false
				for _, l := range m.GetLabel() {
					found = found || l.GetName() == labels[i] && l.GetValue() == labels[i+1]
				}
				match = match && found
			}
			if match {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// eventually waits until ok, for at most two seconds.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(2 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("never: %s", what)
		}
	}
}

// A lines is a log that can be searched.
type lines struct {
	mu  sync.Mutex
	buf strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func read(tb testing.TB, resp *http.Response) string {
	tb.Helper()
	body, err := readAll(resp)
	must(tb, err)
	return body
}

func readAll(resp *http.Response) (string, error) {
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func group(tb testing.TB, s string) identity.Group {
	tb.Helper()
	g, err := identity.ParseGroup(s)
	must(tb, err)
	return g
}

func logTo(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }
