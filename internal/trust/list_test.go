package trust

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func writePEM(t *testing.T, path string, certs ...*x509.Certificate) {
	t.Helper()
	var text []byte
	for _, c := range certs {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestTheFileThatBroughtARootIsNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ours, _ := certificate(t, "ours", 1)
	theirs, _ := certificate(t, "theirs", 2)
	writePEM(t, filepath.Join(dir, "local", "sub", "ours.crt"), ours)
	writePEM(t, filepath.Join(dir, "mozilla", "theirs.crt"), theirs)
	if err := os.WriteFile(filepath.Join(dir, "local", "README"), []byte("not a certificate"), 0o644); err != nil {
		t.Fatal(err)
	}
	found := origins([]string{filepath.Join(dir, "local"), filepath.Join(dir, "mozilla"), filepath.Join(dir, "missing")})
	if len(found) != 2 {
		t.Errorf("%d files, want 2: %v", len(found), found)
	}
	bundle := filepath.Join(dir, "bundle.pem")
	writePEM(t, bundle, ours, theirs)
	all, err := System(func(name string) string { return map[string]string{"SSL_CERT_FILE": bundle}[name] })
	if err != nil || len(all) != 2 || all[0].File != bundle {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestWhatARootMayVouchFor(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]*x509.Certificate{
		"anything":                     {},
		"servers":                      {ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}},
		"servers, mail":                {ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageEmailProtection}},
		"other purposes":               {ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping}},
		"anything, within example.com": {PermittedDNSDomains: []string{"example.com"}},
	} {
		if got := Purpose(c); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestReasonsAreTold(t *testing.T) {
	t.Parallel()
	leaf, _ := certificate(t, "self", 1)
	root := Root{Certificate: leaf, Store: "system", File: "/a"}
	if all, err := Reasons([]*x509.Certificate{leaf}, "self.example", nil, time.Now()); err != nil || len(all) != 0 {
		t.Errorf("with no roots: %+v, %v", all, err)
	}
	if _, err := Reasons([]*x509.Certificate{leaf}, "other.example.com", []Root{root}, time.Now()); err == nil {
		t.Error("another host's certificate is believed")
	}
}
