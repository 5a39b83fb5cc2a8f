package agent

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pairFiles writes a certificate that ends after life, and its key.
func pairFiles(t *testing.T, dir string, serial int64, life time.Duration) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(life), DNSNames: []string{"a.example"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// New files are taken over when they are right; until then the old ones stay,
// and the log says once why.
func TestFilesThatAreReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var log strings.Builder
	cert, key := pairFiles(t, dir, 1, time.Hour)
	f, err := OpenFiles(cert, key, FilesOptions{Log: slog.New(slog.NewTextHandler(&log, nil)), Fits: func(leaf *x509.Certificate) error {
		if leaf.SerialNumber.Int64() == 13 {
			return errors.New("it is for another host")
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	serial := func() int64 { return f.Get().Leaf.SerialNumber.Int64() }
	look := func() { f.look(); f.look(); f.look() }

	pairFiles(t, dir, 2, time.Hour)
	if look(); serial() != 2 || f.Wrong() != "" {
		t.Errorf("serial %d, %s", serial(), f.Wrong())
	}
	for want, damage := range map[string]func(){
		"key.pem: ": func() { os.WriteFile(key, []byte("nonsense"), 0o600) },
		"private key": func() {
			other := t.TempDir()
			pairFiles(t, other, 3, time.Hour)
			os.Rename(filepath.Join(other, "cert.pem"), cert)
		},
		"it ended on":             func() { pairFiles(t, dir, 4, -time.Hour) },
		"it is for another host":  func() { pairFiles(t, dir, 13, time.Hour) },
		"no such file":            func() { os.Remove(cert) },
		"too large for a certifi": func() { os.WriteFile(cert, make([]byte, maxFile+1), 0o600) },
	} {
		pairFiles(t, dir, 2, time.Hour)
		look()
		before := strings.Count(log.String(), "refused")
		good := serial()
		damage()
		look()
		if serial() != good || !strings.Contains(f.Wrong(), want) {
			t.Errorf("%s: serial %d, says %q", want, serial(), f.Wrong())
		}
		if n := strings.Count(log.String(), "refused") - before; n != 1 {
			t.Errorf("%s: told %d times", want, n)
		}
	}
	pairFiles(t, dir, 5, time.Hour)
	if look(); serial() != 5 || f.Wrong() != "" {
		t.Errorf("serial %d, %s", serial(), f.Wrong())
	}
}

func TestFilesThatAreWrongFromTheStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := pairFiles(t, dir, 1, -time.Hour)
	f, err := OpenFiles(cert, key, FilesOptions{})
	if err != nil || f.Get() == nil || !strings.Contains(f.Wrong(), "it ended on") {
		t.Errorf("one that has ended: %v", err)
	}
	os.WriteFile(key, nil, 0o600)
	if _, err := OpenFiles(cert, key, FilesOptions{}); err == nil {
		t.Error("an empty key is taken")
	}
	if _, err := OpenFiles(filepath.Join(dir, "none"), key, FilesOptions{}); err == nil {
		t.Error("no certificate is taken")
	}
}
