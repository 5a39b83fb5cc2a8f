package scep

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/smallstep/pkcs7"
	smallstep "github.com/smallstep/scep"
	"github.com/smallstep/scep/x509util"
)

// selfSigned returns the certificate with which a client of a key signs.
func selfSigned(t testing.TB, key *rsa.PrivateKey) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "owner/laptop"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der := must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))(t)
	return must(x509.ParseCertificate(der))(t)
}

// newCSR is a certificate request with names of the client's choosing.
func newCSR(t testing.TB, key any, challenge string) []byte {
	t.Helper()
	return must(x509util.CreateCertificateRequest(rand.Reader, &x509util.CertificateRequest{
		CertificateRequest: x509.CertificateRequest{
			Subject: pkix.Name{CommonName: "owner/laptop"}, DNSNames: []string{"pw.example.com"},
			URIs: []*url.URL{{Scheme: "spiffe", Host: "postern.internal", Path: "/owner"}},
		},
		ChallengePassword: challenge,
	}, key))(t)
}

// modern makes the other implementation use what is not long broken: it has
// DES and SHA-1 as defaults.
var modern = sync.OnceValue(func() error {
	pkcs7.ContentEncryptionAlgorithm = pkcs7.EncryptionAlgorithmAES128CBC
	return pkcs7.SetDefaultDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
})

// The client side of github.com/smallstep/scep gets a certificate, by POST and
// by GET, and the names that it asked for are not in it.
func TestTheClientOfSmallstep(t *testing.T) {
	must(0, modern())(t)
	w := newWorld(t)
	resp := must(w.Client().Get(w.URL + Path + "?operation=GetCACert&message=postern"))(t)
	defer resp.Body.Close()
	certificates := must(smallstep.CACerts(must(io.ReadAll(resp.Body))(t)))(t)
	if kind := resp.Header.Get("Content-Type"); kind != "application/x-x509-ca-ra-cert" || len(certificates) != 3 {
		t.Fatalf("GetCACert: %s with %d certificates", kind, len(certificates))
	}
	key := deviceKey()
	for _, method := range []string{"POST", "GET"} {
		signer := selfSigned(t, key)
		csr := must(x509.ParseCertificateRequest(newCSR(t, key, w.invite("anna/phone"))))(t)
		m := must(smallstep.NewCSRRequest(csr, &smallstep.PKIMessage{
			MessageType: smallstep.PKCSReq, Recipients: certificates[:1], SignerKey: key, SignerCert: signer,
		}))(t)
		var body []byte
		if method == "POST" {
			_, body = w.post(m.Raw)
		} else {
			got := must(w.Client().Get(w.URL + Path + "?operation=PKIOperation&message=" + base64.StdEncoding.EncodeToString(m.Raw)))(t)
			body = must(io.ReadAll(got.Body))(t)
			got.Body.Close()
		}
		reply := must(smallstep.ParsePKIMessage(body))(t)
		if reply.PKIStatus != smallstep.SUCCESS || reply.TransactionID != m.TransactionID || !slices.Equal(reply.RecipientNonce, smallstep.RecipientNonce(m.SenderNonce)) {
			t.Fatalf("%s: status %q, transaction %q, nonce %x; refused %v", method, reply.PKIStatus, reply.TransactionID, reply.RecipientNonce, w.refusals())
		}
		must(0, reply.DecryptPKIEnvelope(signer, key))(t)
		w.examine(reply.Certificate, "anna/phone", key)
	}
}

// examine checks a certificate that a client got.
func (w *world) examine(c *x509.Certificate, name string, key *rsa.PrivateKey) {
	w.t.Helper()
	if len(c.URIs) != 1 || c.URIs[0].String() != "spiffe://postern.internal/"+name || len(c.DNSNames) != 0 || c.Subject.CommonName != name {
		w.t.Errorf("the certificate is for %v, %v, %s", c.URIs, c.DNSNames, c.Subject)
	}
	if !key.PublicKey.Equal(c.PublicKey) {
		w.t.Error("the certificate is for another key")
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(w.roster.Root())
	for _, der := range w.registration.Certificate[1:] {
		between.AddCert(must(x509.ParseCertificate(der))(w.t))
	}
	if _, err := c.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		w.t.Error(err)
	}
}

// strongSwan's pki fetches the certificates, checks them, and enrols.
func TestTheClientOfStrongSwan(t *testing.T) {
	path := program(t, "pki")
	w := newWorld(t)
	// Version 5.9.8 confuses the capabilities that it reads, and finds what it
	// needs only where all are named.
	every := "SHA-384\nSHA-224\nSHA-1\nDES3\nRenewal\nGetNextCACert\n"
	front := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("operation") == "GetCACaps" {
			io.WriteString(rw, capabilities+every)
			return
		}
		w.Config.Handler.ServeHTTP(rw, r)
	}))
	defer front.Close()
	dir := t.TempDir()
	run := func(args ...string) []byte {
		t.Helper()
		c := exec.CommandContext(t.Context(), path, args...)
		c.Dir = dir
		var complaints strings.Builder
		c.Stderr = &complaints
		out, err := c.Output()
		if err != nil {
			t.Fatalf("pki %v: %v\n%s\nrefused: %v", args, err, complaints.String(), w.refusals())
		}
		return out
	}
	run("--scepca", "--url", front.URL+Path, "--caout", "ca.pem", "--raout", "ra.pem", "--outform", "pem")
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, f.Name())
	}
	root := "ca.pem"
	if !slices.Contains(names, "ra.pem") || !slices.Contains(names, root) {
		t.Fatalf("pki wrote %v", names)
	}
	key := deviceKey()
	must(0, os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}), 0o600))(t)
	args := []string{
		"--scep", "--url", front.URL + Path, "--in", "key.pem", "--dn", "CN=owner/laptop", "--san", "pw.example.com", "--password", w.invite("anna/mac"),
		"--cacert-enc", "ra.pem", "--cacert-sig", "ra.pem", "--cacert", root, "--outform", "pem",
	}
	for _, name := range names {
		if strings.HasPrefix(name, "ca-") {
			args = append(args, "--cacert", name)
		}
	}
	block, _ := pem.Decode(run(args...))
	if block == nil {
		t.Fatal("pki printed no certificate")
	}
	w.examine(must(x509.ParseCertificate(block.Bytes))(t), "anna/mac", key)
}

// The helper of certmonger reads the capabilities and the certificates.
func TestTheClientOfCertmonger(t *testing.T) {
	path := program(t, "/usr/lib/certmonger/scep-submit")
	w := newWorld(t)
	run := func(arg string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), path, "-u", w.URL+Path, arg).CombinedOutput()
		if err != nil {
			t.Fatalf("scep-submit %s: %v\n%s", arg, err, out)
		}
		return string(out)
	}
	if caps := run("-c"); strings.TrimSpace(caps) != strings.TrimSpace(capabilities) {
		t.Errorf("capabilities %q", caps)
	}
	certificates := run("-C")
	block, _ := pem.Decode([]byte(certificates))
	if block == nil || !slices.Equal(block.Bytes, w.registration.Certificate[0]) || strings.Count(certificates, "BEGIN CERTIFICATE") != 3 {
		t.Errorf("certificates:\n%s", certificates)
	}
}

// program returns the path of a program that scripts/test-tools installs.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%v: run scripts/test-tools, which 'make test' does", err)
	}
	return path
}
