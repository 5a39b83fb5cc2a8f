package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// An opensslResponder is an authority whose certificates name a responder, and
// that responder: 'openssl ocsp'.
type opensslResponder struct {
	t    *testing.T
	dir  string
	port int
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	cmd  *exec.Cmd
}

func newOpensslResponder(t *testing.T) *opensslResponder {
	t.Helper()
	r := &opensslResponder{t: t, dir: t.TempDir()}
	var err error
	if r.port, err = freePort(); err != nil {
		t.Fatal(err)
	}
	if r.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Somebody Else"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, r.key.Public(), r.key)
	if err != nil {
		t.Fatal(err)
	}
	if r.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	write(t, r.path("ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	write(t, r.path("ca.key"), keyPEM(t, r.key))
	t.Cleanup(r.stop)
	return r
}

func (r *opensslResponder) path(name string) string { return filepath.Join(r.dir, name) }

func keyPEM(t *testing.T, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// certify writes cert.pem, the chain, and key.pem for host.
func (r *opensslResponder) certify(host string, serial int64) {
	r.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		r.t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: []string{host}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, OCSPServer: []string{fmt.Sprintf("http://127.0.0.1:%d/", r.port)},
		ExtraExtensions: []pkix.Extension{{Id: []int{1, 3, 6, 1, 5, 5, 7, 1, 24}, Value: []byte{0x30, 3, 2, 1, 5}}}} // it demands an answer
	der, err := x509.CreateCertificate(rand.Reader, leaf, r.cert, key.Public(), r.key)
	if err != nil {
		r.t.Fatal(err)
	}
	chain := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.cert.Raw})...)
	write(r.t, r.path("key.pem"), keyPEM(r.t, key))
	write(r.t, r.path("cert.pem"), chain)
}

// serve begins to answer, with the lines of openssl's database.
func (r *opensslResponder) serve(lines ...string) {
	r.t.Helper()
	write(r.t, r.path("index.txt"), []byte(strings.Join(lines, "\n")+"\n"))
	r.cmd = exec.Command("openssl", "ocsp", "-index", r.path("index.txt"), "-port", fmt.Sprint(r.port),
		"-rsigner", r.path("ca.pem"), "-rkey", r.path("ca.key"), "-CA", r.path("ca.pem"), "-ndays", "1")
	var said bytes.Buffer
	r.cmd.Stderr = &said
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); free(r.port); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("openssl ocsp does not listen: %s", said.String())
		}
	}
}

func (r *opensslResponder) stop() {
	if r.cmd != nil {
		r.cmd.Process.Kill()
		r.cmd.Wait()
		r.cmd = nil
	}
}

// A certificate from files that names a responder is shown with its answer, as
// openssl sees it, from the first handshake on. Without a responder the site
// opens all the same, and says what is the matter; a revoked certificate is
// said to be one.
func TestACertificateFromFilesIsStapled(t *testing.T) {
	t.Parallel()
	r := newOpensslResponder(t)
	r.certify("pw.test", 0x1001)
	later := time.Now().Add(24 * time.Hour).UTC().Format("060102150405Z")
	r.serve("V\t" + later + "\t\t1001\tunknown\t/CN=pw.test")
	d := configured(t, fmt.Sprintf("sites:\n  pw.test: {static: %s, allow: [enrolled], certificate: {cert: %s, key: %s}}\n", site(t, "hello"), r.path("cert.pem"), r.path("key.pem")))
	d.open()
	asked := func() string {
		t.Helper()
		out, err := program(t, strings.NewReader(""), "openssl", "s_client", "-connect", d.addr, "-servername", "pw.test", "-status", "-CAfile", r.path("ca.pem"))
		if err != nil {
			t.Fatalf("openssl s_client: %v\n%s", err, out)
		}
		return out
	}
	for _, want := range []string{"OCSP Response Status: successful", "Cert Status: good", "Serial Number: 1001"} {
		if out := asked(); !strings.Contains(out, want) {
			t.Fatalf("openssl s_client -status does not see %q:\n%s\n%s", want, out, d.output)
		}
	}
	// What our own authority issued goes along with no answer: devices believe
	// the root, and the names of what was revoked are in no handshake.
	if conn, err := tls.Dial("tcp", d.addr, d.protocols(d.tls("", "pw.test"), "postern-root", "http/1.1")); err != nil {
		t.Error(err)
	} else if conn.Close(); conn.OCSPResponse() != nil {
		t.Error("our own certificate has an answer of somebody else's")
	}

	r.stop()
	r.certify("pw.test", 0x1002)
	d.says("certificate files read")
	d.says("OCSP answer not obtained, asking again")
	if out := asked(); !strings.Contains(out, "OCSP response: no response sent") {
		t.Errorf("an answer about another certificate is shown:\n%s", out)
	}
	if out := d.run("status"); !strings.Contains(out, "demands an OCSP answer") {
		t.Errorf("status does not say what is wrong:\n%s", out)
	}
	r.serve("R\t"+later+"\t"+time.Now().Add(-time.Minute).UTC().Format("060102150405Z")+",keyCompromise\t1002\tunknown\t/CN=pw.test",
		"R\t"+later+"\t"+time.Now().Add(-time.Minute).UTC().Format("060102150405Z")+",keyCompromise\t1003\tunknown\t/CN=pw.test")
	r.certify("pw.test", 0x1003)
	d.says("server certificate revoked by its authority")
	if out := asked(); !strings.Contains(out, "Cert Status: revoked") {
		t.Errorf("the revocation is kept from clients:\n%s", out)
	}
}

// says waits until the server has logged a message.
func (d *door) says(message string) {
	d.t.Helper()
	for end := time.Now().Add(60 * time.Second); !strings.Contains(d.output.String(), message); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			d.t.Fatalf("the server never says %q:\n%s", message, d.output)
		}
	}
}

// protocols returns c offering those protocols.
func (d *door) protocols(c *tls.Config, offer ...string) *tls.Config {
	c.NextProtos = offer
	return c
}
