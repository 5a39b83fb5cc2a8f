package explain

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"software.sslmate.com/src/go-pkcs12"
)

func TestPKCS12(t *testing.T) {
	root := issue(t, "Example root", nil, ca)
	clients := issue(t, "clients-1", root, ca)
	phone := issue(t, "ben/phone", clients, client)
	encode := func(e *pkcs12.Encoder, password string, more ...*entity) string {
		data, err := e.Encode(phone.key, phone.Certificate, certs(append([]*entity{clients}, more...)...), password)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	openssl := func(args ...string) string { return opensslP12(t, phone, clients, args...) }
	const secret = "KMRT-2PXA"
	knows := func(string) (string, error) { return secret, nil }
	type P = func(string) (string, error)
	for name, c := range map[string]struct {
		data     string
		password P
		ok       bool
		golden   bool
		want     string
	}{
		"3DES for every system":             {encode(pkcs12.LegacyDES, secret), knows, true, true, "every system"},
		"RC2 for very old systems":          {encode(pkcs12.LegacyRC2, secret), knows, true, false, "not by OpenSSL 3"},
		"AES for newer systems":             {encode(pkcs12.Modern2023, secret), knows, true, true, "Android 13"},
		"PBMAC1 for the newest":             {encode(pkcs12.Modern2026, secret), knows, true, true, "OpenSSL 3.4"},
		"a wrong password":                  {encode(pkcs12.Modern2023, "other"), knows, false, true, "it is wrong"},
		"a wrong password, PBMAC1":          {encode(pkcs12.Modern2026, "other"), knows, false, false, "it is wrong"},
		"an empty password":                 {encode(pkcs12.Modern2023, ""), nil, true, false, "empty password"},
		"nobody to ask":                     {encode(pkcs12.Modern2023, secret), nil, false, false, "could not look inside → Give its password"},
		"no password at hand":               {encode(pkcs12.Modern2023, secret), func(string) (string, error) { return "", ErrNoPassword }, false, false, "could not look inside → Give its password"},
		"the root inside":                   {encode(pkcs12.LegacyDES, secret, root), knows, true, false, "Windows then asks"},
		"nobody answers":                    {encode(pkcs12.Modern2023, secret), func(string) (string, error) { return "", errors.New("no terminal") }, false, false, "no terminal"},
		"cut off":                           {encode(pkcs12.Modern2023, secret)[:400], knows, false, false, "damaged"},
		"made by OpenSSL":                   {openssl("-passout", "pass:"+secret), knows, true, false, "encrypted with AES"},
		"made by OpenSSL for old systems":   {openssl("-passout", "pass:"+secret, "-legacy", "-certpbe", "PBE-SHA1-RC2-40"), knows, true, false, "RC2-40"},
		"an encryption that we cannot read": {openssl("-passout", "pass:"+secret, "-keypbe", "aria-256-cbc", "-certpbe", "aria-256-cbc"), knows, false, true, "not supported here"},
		"a billion rounds":                  {manyRounds(t, encode(pkcs12.Modern2023, secret)), knows, false, false, "do harm"},
	} {
		t.Run(name, func(t *testing.T) {
			r := Files([]File{{Name: "identity.p12", Data: []byte(c.data)}}, Options{Roots: certs(root), Now: now, Password: c.password})
			var b strings.Builder
			r.WriteText(&b, false)
			text := strings.Join(strings.Fields(strings.ReplaceAll(b.String(), "│", "")), " ")
			if r.OK != c.ok || !strings.Contains(text, c.want) {
				t.Errorf("OK is %v, want %v and %q in:\n%s", r.OK, c.ok, c.want, b.String())
			}
			if strings.Contains(b.String(), secret) {
				t.Error("the report holds the password")
			}
			if c.golden {
				golden(t, "p12-"+strings.NewReplacer(" ", "-", ",", "").Replace(name), r)
			}
		})
	}
}

// opensslP12 makes a file with the real program.
func opensslP12(t *testing.T, leaf, issuer *entity, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "cert.pem", pemOf(leaf))
	write(t, dir, "ca.pem", pemOf(issuer))
	write(t, dir, "key.pem", keyPEM(t, leaf.key))
	cmd := exec.Command("openssl", append([]string{"pkcs12", "-export", "-in", "cert.pem", "-inkey", "key.pem",
		"-certfile", "ca.pem", "-out", "out.p12"}, args...)...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("openssl: %v: %s", err, out)
	}
	data, err := os.ReadFile(filepath.Join(dir, "out.p12"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func write(t testing.TB, dir, name, data string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// manyRounds raises the 2048 rounds of a file to 31 times 256, and the bound
// is put to the test with the largest integer that fits in its place.
func manyRounds(t *testing.T, data string) string {
	t.Helper()
	// INTEGER 2048 is 02 02 08 00. A longer integer would change every length
	// around it, so the salt before it gives up two bytes.
	i := strings.LastIndex(data, "\x02\x02\x08\x00")
	if i < 0 {
		t.Fatal("no rounds found")
	}
	salt := strings.LastIndex(data[:i], "\x04\x10")
	if salt+18 != i {
		t.Fatal("no salt before the rounds")
	}
	return data[:salt] + "\x04\x0e" + data[salt+2:i-2] + "\x02\x04\x3b\x9a\xca\x00" + data[i+4:]
}

// Whatever the file, reading how it is locked ends, and what is opened is
// explained.
func FuzzP12(f *testing.F) {
	root := issue(f, "root", nil, ca)
	phone := issue(f, "phone", root, client)
	for _, e := range []*pkcs12.Encoder{pkcs12.LegacyDES, pkcs12.Modern2023, pkcs12.Modern2026, pkcs12.Passwordless} {
		data, err := e.WithIterations(1).Encode(phone.key, phone.Certificate, nil, "")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := readLock(data)
		if err == nil && l.iterations > 10_000 {
			return // allowed, and too slow for a fuzz test
		}
		r := Files([]File{{Name: "x.p12", Data: data}}, Options{Now: now})
		if !r.OK && len(r.Steps) == 0 {
			t.Fatal("refused without a reason")
		}
	})
}
