package main

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// rootPassphrase has the commands of a door find the passphrase that init wrote.
func (d *door) rootPassphrase() {
	d.t.Helper()
	d.env = append(d.env, "POSTERN_ROOT_PASSPHRASE_FILE="+filepath.Join(d.data, "secrets", "root-passphrase.txt"))
}

func (d *door) rootKey() string { return filepath.Join(d.data, "root.key.age") }

// The drill of docs/rotation.md: an issuer's real key is in a thief's hands. No
// certificate the thief makes is let in, whatever its date says; no honest one
// has to be touched; and a thief who sits in the middle of the answer wins
// nothing either.
func TestATheftIsSurvived(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "localhost="+site(t, "the secret page"))
	d.open()
	d.rootPassphrase()
	ben := d.enrol("ben/laptop")
	issuer, key := stolen(t, d, "clients-1")
	asks := func(c tls.Certificate) string {
		t.Helper()
		cfg := d.tls("", "localhost")
		cfg.Certificates = []tls.Certificate{c}
		status, _, p := d.get(d.client(cfg), "localhost")
		if status == 200 {
			return "let in"
		}
		return p.Code
	}
	honest := func(dir string) string {
		t.Helper()
		return asks(d.tls(dir, "localhost").Certificates[0])
	}
	expect := func(when, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %s, want %s", when, got, want)
		}
	}
	before := forge(t, issuer, key, nil)
	expect("forged before anybody knows", asks(before), "not-in-ledger")

	d.run("issuer", "distrust", "clients-1", "--yes")
	after := forge(t, issuer, key, nil)
	backdated := forge(t, issuer, key, func(c *x509.Certificate) {
		c.NotBefore = d.leaf(ben).NotBefore.Add(-24 * time.Hour) // long before the theft
	})
	twin := forge(t, issuer, key, func(c *x509.Certificate) { c.SerialNumber = d.leaf(ben).SerialNumber })
	for when, c := range map[string]tls.Certificate{"forged before": before, "forged after": after, "backdated": backdated, "with an honest number": twin} {
		expect(when, asks(c), "issuer-distrusted")
	}
	expect("the honest one", honest(ben), "let in")
	if out, code := d.try("issue", "carol", "--out", filepath.Join(d.home, "carol")); code != 1 || !strings.Contains(out, "root has to sign a successor") {
		t.Errorf("issued under the stolen key: %s", out)
	}
	if out, code := d.try("renew", ben); code == 0 {
		t.Errorf("renewed under the stolen key: %s", out)
	}
	if status := d.run("status"); !strings.Contains(status, "a forged certificate was refused") || !strings.Contains(status, "clients-1 is distrusted") {
		t.Errorf("status says\n%s", status)
	}

	d.run("issuer", "rotate", "clients", "--root-key", d.rootKey())
	d.run("renew", ben)
	if got := d.leaf(ben).Issuer.CommonName; !strings.Contains(got, "clients-2") {
		t.Errorf("renewed under %s", got)
	}
	expect("renewed under the successor", honest(ben), "let in")
	expect("the thief, still", asks(backdated), "issuer-distrusted")

	d.kill()
	d.open()
	expect("the honest one after a restart", honest(ben), "let in")
	expect("the thief after a restart", asks(after), "issuer-distrusted")
	if out := d.run("ledger", "verify"); !strings.Contains(out, "as it was written") {
		t.Error(out)
	}
}

// leaf returns the certificate of the device whose files lie in dir.
func (d *door) leaf(dir string) *x509.Certificate {
	d.t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "cert.pem"))
	if err != nil {
		d.t.Fatal(err)
	}
	return parsePEM(d.t, data)[0]
}
