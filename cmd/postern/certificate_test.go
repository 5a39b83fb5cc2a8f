package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// somebodyElses writes a certificate of another authority for host, and
// returns the authority's.
func somebodyElses(t *testing.T, dir, host string, serial int64) *x509.CertPool {
	t.Helper()
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	caKey, leafKey := key(), key()
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Somebody Else"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: []string{host}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, leafKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
	write(t, filepath.Join(dir, "cert.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leafDER}))
	write(t, filepath.Join(dir, "ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}))
	parsed, err := x509.ParseCertificate(caDER)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return pool
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// seen returns the serial number of what host shows to a client that verifies
// by roots, with our marker or without.
func (d *door) seen(addr, host string, roots *x509.CertPool, protocols ...string) (string, error) {
	conn, err := tls.Dial("tcp", addr, &tls.Config{ServerName: host, RootCAs: roots, NextProtos: protocols})
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String(), nil
}

// A site shows the certificate in its files, and a new one when they change. A
// broken replacement changes nothing and is said. Devices join and renew by
// our own root all the same, on the same host and port.
func TestACertificateFromFiles(t *testing.T) {
	t.Parallel()
	files := t.TempDir()
	roots := somebodyElses(t, files, "pw.test", 1001)
	d := configured(t, fmt.Sprintf("sites:\n  pw.test:\n    static: %s\n    allow: [enrolled]\n    certificate: {cert: %s/cert.pem, key: %[2]s/key.pem}\n", site(t, "hello"), files))
	d.open()
	for _, addr := range []string{d.addr, fmt.Sprintf("127.0.0.1:%d", mustPort(t, d)+1)} {
		if got, err := d.seen(addr, "pw.test", roots, "h2", "http/1.1"); err != nil || got != "1001" {
			t.Errorf("at %s a browser is shown %s, %v", addr, got, err)
		}
		ours := d.tls("", "pw.test").RootCAs
		if got, err := d.seen(addr, "pw.test", ours, "postern-root", "http/1.1"); err != nil || got == "1001" {
			t.Errorf("at %s a device is shown %s, %v", addr, got, err)
		}
		if _, err := d.seen(addr, "pw.test", ours, "http/1.1"); err == nil {
			t.Errorf("at %s our own certificate is shown to whoever did not ask for it", addr)
		}
	}

	newRoots := somebodyElses(t, files, "pw.test", 1002)
	shows := func(pool *x509.CertPool, want string) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			got, err := d.seen(d.addr, "pw.test", pool, "http/1.1")
			if got == want {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("still shows %s, %v\n%s", got, err, d.output)
			}
		}
	}
	shows(newRoots, "1002")
	write(t, filepath.Join(files, "cert.pem"), []byte("nonsense"))
	for end := time.Now().Add(30 * time.Second); !strings.Contains(d.output.String(), "certificate files refused, the old ones stay in use"); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("a broken replacement is not said:\n%s", d.output)
		}
	}
	shows(newRoots, "1002")
}

// Devices join through a public side whose certificate is somebody else's,
// renew through a site of that kind, and reach both with one root.
func TestJoiningWhereTheCertificateIsSomebodyElses(t *testing.T) {
	t.Parallel()
	files := t.TempDir()
	roots := somebodyElses(t, files, "localhost", 2001)
	d := configured(t, fmt.Sprintf("sites:\n  localhost:\n    static: %s\n    allow: [enrolled]\n    certificate: {cert: %s/cert.pem, key: %[2]s/key.pem}\n", site(t, "hello"), files))
	d.open()
	if got, err := d.seen(d.addr, "localhost", roots, "h2", "http/1.1"); err != nil || got != "2001" {
		t.Errorf("a browser is shown %s, %v", got, err)
	}
	dir := d.enrol("ben/laptop")
	before, err := os.ReadFile(filepath.Join(dir, "cert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	d.run("renew", dir)
	after, err := os.ReadFile(filepath.Join(dir, "cert.pem"))
	if err != nil || string(before) == string(after) {
		t.Errorf("not renewed: %v", err)
	}
	me := d.tls(dir, "localhost")
	me.RootCAs = roots
	if status, body, p := d.get(d.client(me), "localhost"); status != 200 || !strings.Contains(body, "hello") {
		t.Errorf("%d %s %+v", status, body, p)
	}
}
