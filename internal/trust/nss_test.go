package trust

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	_ "modernc.org/sqlite"
	"software.sslmate.com/src/go-pkcs12"
)

// newDatabase makes an NSS database in dir; a password file gives it one.
func newDatabase(t *testing.T, dir, passwordFile string) Database {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	args := []string{"-N", "-d", "sql:" + dir}
	if passwordFile == "" {
		args = append(args, "--empty-password")
	} else {
		args = append(args, "-f", passwordFile)
	}
	path, err := lookup("certutil")
	if err != nil {
		t.Fatalf("%v: run scripts/test-tools, which 'make test' does", err)
	}
	if out, err := exec.Command(path, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return Database{"Chromium", dir}
}

func certificate(t *testing.T, name string, serial int64) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name, Organization: []string{"Postern"}}, DNSNames: []string{name + ".example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c, key
}

// identity writes identity.p12 and its password, and returns their paths.
func identity(t *testing.T, c *x509.Certificate, key *ecdsa.PrivateKey) (file, password string) {
	t.Helper()
	data, err := pkcs12.LegacyDES.Encode(key, c, nil, "secret")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file, password = filepath.Join(dir, "identity.p12"), filepath.Join(dir, "password")
	for path, content := range map[string][]byte{file: data, password: []byte("secret\n")} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return file, password
}

func TestAnIdentityGoesIntoABrowserAndOut(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, filepath.Join(t.TempDir(), "db"), "")
	other, otherKey := certificate(t, "somebody else", 9)
	file, password := identity(t, other, otherKey)
	if err := d.Import(t.Context(), file, password); err != nil {
		t.Fatal(err)
	}
	for serial := range int64(2) { // the second has the name of the first, as after a renewal
		c, key := certificate(t, "anna/phone", serial+1)
		file, password := identity(t, c, key)
		if err := d.Import(t.Context(), file, password); err != nil {
			t.Fatal(err)
		}
	}
	ours := func(k Kept) bool { return k.Certificate.Subject.CommonName == "anna/phone" }
	all, err := d.List(t.Context())
	if err != nil || len(all) != 3 || !all[0].Key {
		t.Fatalf("%d certificates, %v: %+v", len(all), err, all)
	}
	if n, err := d.Remove(t.Context(), ours); n != 2 || err != nil {
		t.Errorf("%d removed, %v", n, err)
	}
	if all, err := d.List(t.Context()); err != nil || len(all) != 1 || ours(all[0]) {
		t.Errorf("left: %+v, %v", all, err)
	}
}

func TestARootIsBelievedAndForgotten(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, filepath.Join(t.TempDir(), "db"), "")
	root, _ := certificate(t, "Postern root", 1)
	if err := d.AddRoot(t.Context(), root, "a root, with a comma"); err != nil {
		t.Fatal(err)
	}
	all, err := d.List(t.Context())
	if err != nil || len(all) != 1 || !all[0].Root || all[0].Key || !all[0].Certificate.Equal(root) {
		t.Fatalf("%+v, %v", all, err)
	}
	if n, err := d.Remove(t.Context(), func(k Kept) bool { return k.Certificate.Equal(root) }); n != 1 || err != nil {
		t.Errorf("%d removed, %v", n, err)
	}
}

func TestADatabaseThatCannotBeChanged(t *testing.T) {
	t.Parallel()
	c, key := certificate(t, "anna/phone", 1)
	file, password := identity(t, c, key)

	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("a password of its own\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	locked := newDatabase(t, filepath.Join(t.TempDir(), "locked"), secret)
	if err := locked.Import(t.Context(), file, password); !errors.Is(err, ErrLocked) {
		t.Errorf("with a password: %v", err)
	}

	running := newDatabase(t, filepath.Join(t.TempDir(), "running"), "")
	if err := os.Symlink(fmt.Sprintf("127.0.1.1:+%d", os.Getpid()), filepath.Join(running.Dir, "lock")); err != nil {
		t.Fatal(err)
	}
	if err := running.Import(t.Context(), file, password); !errors.Is(err, ErrRunning) {
		t.Errorf("while it runs: %v", err)
	}
	if err := os.WriteFile(password, []byte("wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := newDatabase(t, filepath.Join(t.TempDir(), "db"), "").Import(t.Context(), file, password); err == nil {
		t.Error("a wrong password is no error")
	}
}

func TestDatabasesAreFound(t *testing.T) {
	t.Parallel()
	home := filepath.Join(t.TempDir(), "a [home]")
	for _, dir := range []string{".pki/nssdb", ".mozilla/firefox/abc.default", ".mozilla/firefox/def.work", "snap/firefox/common/.mozilla/firefox/x.default"} {
		if err := os.MkdirAll(filepath.Join(home, dir), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(home, dir, "cert9.db"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if all := Databases(home); len(all) != 4 || all[0].Browser != "Chromium" || all[3].Browser != "Firefox (snap)" {
		t.Errorf("%+v", all)
	}
	if all := Databases(t.TempDir()); len(all) != 0 {
		t.Errorf("in an empty home: %+v", all)
	}
}

// A database that another program is writing is not waited for without end, and
// what it holds stays.
func TestADatabaseThatAnotherProgramHolds(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, filepath.Join(t.TempDir(), "db"), "")
	c, key := certificate(t, "ben", 1)
	file, password := identity(t, c, key)
	db, err := sql.Open("sqlite", filepath.Join(d.Dir, "cert9.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("BEGIN EXCLUSIVE"); err != nil {
		t.Fatal(err)
	}
	held := d.Import(t.Context(), file, password)
	if _, err := db.Exec("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(held, ErrHeld) {
		t.Errorf("%v", held)
	}
	if err := d.Import(t.Context(), file, password); err != nil {
		t.Errorf("when it is free again: %v", err)
	}
}
