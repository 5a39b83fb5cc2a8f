package join

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/chain"
	"github.com/postern-project/postern/internal/invite"
)

// A pair is a certificate with its key.
type pair struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// An office is a made-up authority: a root, two issuers, and a public side on
// a real TLS server. Its fields may be changed before the first request.
type office struct {
	root, servers, clients pair
	server                 *httptest.Server
	code                   invite.Code
	name                   string
	lifetime               time.Duration
	began                  time.Time // of the server's certificate and of those it issues
	hideRoot               bool      // the handshake does not show the root
	named                  bool      // requests hold a name, as those of certreq do
	refuse                 *invite.Problem
	lose                   atomic.Int32 // answers to lose
	asked                  atomic.Int32 // how often a code arrived
	change                 func(*invite.Answer)
	lastKey                atomic.Value // []byte, SubjectPublicKeyInfo
}

func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{code: invite.New(), name: "anna/laptop", lifetime: 24 * time.Hour, began: time.Now().Add(-time.Hour)}
	o.root = sign(t, pair{}, &x509.Certificate{
		Subject: pkix.Name{CommonName: "Example root"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().AddDate(-10, 0, 0), NotAfter: time.Now().AddDate(10, 0, 0),
	})
	o.servers, o.clients = o.issuer(t, "servers-1"), o.issuer(t, "clients-1")
	return o
}

func (o *office) issuer(t *testing.T, name string) pair {
	return sign(t, o.root, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().AddDate(-10, 0, 0), NotAfter: time.Now().AddDate(10, 0, 0),
	})
}

// start opens the public side for the given names, 127.0.0.1 if there are none.
func (o *office) start(t *testing.T, names ...string) *office {
	t.Helper()
	tmpl := &x509.Certificate{
		NotBefore: o.began, NotAfter: o.began.Add(90 * 24 * time.Hour), DNSNames: names,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if len(names) == 0 {
		tmpl.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	leaf := sign(t, o.servers, tmpl)
	shown := tls.Certificate{PrivateKey: leaf.key, Certificate: [][]byte{leaf.cert.Raw, o.servers.cert.Raw}}
	if !o.hideRoot {
		shown.Certificate = append(shown.Certificate, o.root.cert.Raw)
	}
	o.server = httptest.NewUnstartedServer(o.routes(t))
	o.server.TLS = &tls.Config{Certificates: []tls.Certificate{shown}, ClientAuth: tls.RequestClientCert}
	o.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	o.server.StartTLS()
	t.Cleanup(o.server.Close)
	return o
}

func (o *office) link() invite.Link {
	return invite.Link{Base: o.server.URL, Code: o.code, Pin: invite.PinOf(o.root.cert)}
}

func (o *office) routes(t *testing.T) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /join", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /join/root.crt", func(w http.ResponseWriter, _ *http.Request) { w.Write(o.root.cert.Raw) })
	mux.HandleFunc("POST /join", func(w http.ResponseWriter, r *http.Request) {
		request := readJSON(r)
		if request.Code != o.code.String() {
			writeProblem(w, invite.Problem{Status: 404, Code: "not-found", Detail: "nobody has made this invitation"})
			return
		}
		o.asked.Add(1)
		o.answer(t, w, request)
	})
	mux.HandleFunc("POST /.postern/renew", func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) == 0 {
			writeProblem(w, invite.Problem{Status: 403, Code: "no-certificate", Detail: "no certificate was shown"})
			return
		}
		o.answer(t, w, readJSON(r))
	})
	return mux
}

func readJSON(r *http.Request) (request invite.Request) {
	if json.NewDecoder(r.Body).Decode(&request) != nil {
		return invite.Request{}
	}
	return request
}

func writeProblem(w http.ResponseWriter, p invite.Problem) {
	w.Header().Set("Content-Type", invite.ProblemType)
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(p)
}

func (o *office) answer(t *testing.T, w http.ResponseWriter, request invite.Request) {
	block, _ := pem.Decode([]byte(request.CSR))
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil || csr.CheckSignature() != nil || !o.named && csr.Subject.String() != "" {
		t.Errorf("bad certificate request: %v, %v", err, csr.Subject)
	}
	if last, ok := o.lastKey.Swap(csr.RawSubjectPublicKeyInfo).([]byte); ok && o.lose.Load() > 0 && string(last) != string(csr.RawSubjectPublicKeyInfo) {
		t.Error("the request was sent again with another key")
	}
	if o.lose.Load() > 0 {
		o.lose.Add(-1)
		panic(http.ErrAbortHandler)
	}
	if o.refuse != nil {
		writeProblem(w, *o.refuse)
		return
	}
	leaf := sign(t, o.clients, o.leafTemplate(), csr.PublicKey)
	a := invite.Answer{
		TrustDomain: "example.com", Name: o.name, Profile: "device", Serial: chain.SerialOf(leaf.cert),
		NotBefore: leaf.cert.NotBefore, NotAfter: leaf.cert.NotAfter,
		Certificate: string(pemOf(leaf.cert)) + string(pemOf(o.clients.cert)), Root: string(pemOf(o.root.cert)),
		Renew: []string{o.server.URL + "/.postern/renew"},
	}
	if o.change != nil {
		o.change(&a)
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(a)
}

func (o *office) leafTemplate() *x509.Certificate {
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: o.name}, NotBefore: o.began, NotAfter: o.began.Add(o.lifetime),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		URIs: []*url.URL{{Scheme: "spiffe", Host: "example.com", Path: "/" + o.name}},
	}
}

// sign makes a certificate under issuer, or a self-signed one; for a key made
// here unless one is given.
func sign(t *testing.T, issuer pair, tmpl *x509.Certificate, pub ...crypto.PublicKey) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if len(pub) == 0 {
		pub = []crypto.PublicKey{key.Public()}
	}
	if tmpl.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		t.Fatal(err)
	}
	parent, signer := issuer.cert, issuer.key
	if parent == nil {
		parent, signer = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, pub[0], signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return pair{cert, key}
}
