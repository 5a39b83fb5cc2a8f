package profile

import (
	"crypto"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// found returns a key that was found in the world.
func found(t testing.TB, name string) (spki []byte, pub crypto.PublicKey) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "badkeys", name+".pem"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatalf("%s is no PEM", name)
	}
	pub, err = x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return block.Bytes, pub
}

func TestKeysThatWereFoundInTheWorldAreRefused(t *testing.T) {
	for name, want := range map[string]string{
		"roca": "CVE-2017-15361", "fermat": "CVE-2022-26320", "rfc9500": "RFC 9500", "rfc7517": "RFC 7517",
	} {
		spki, _ := found(t, name)
		if _, err := ParseKey(spki); !errors.Is(err, ErrWeakKey) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want one about %s", name, err, want)
		}
	}
}

// The weak keys of Debian look like any other: only a list knows them.
func TestABlockedKeyIsRefused(t *testing.T) {
	spki, debian := found(t, "debian-2008")
	if _, err := ParseKey(spki); err != nil {
		t.Fatalf("without a list: %v", err)
	}
	sum := sha256.Sum256(spki)
	honest := ecdsaKey(t, elliptic.P256())
	for name, c := range map[string]struct{ text, want string }{
		"a line of openssl-blacklist": {"# Debian\n\n0000d80c186767f2473a\n" + debianLine(t) + "\n", "CVE-2008-0166"},
		"in capital letters":          {strings.ToUpper(debianLine(t)) + "\r\n", "CVE-2008-0166"},
		"the SHA-256 of a public key": {hex.EncodeToString(sum[:]), "blocked keys"},
		"another key":                 {"0000d80c186767f2473a", ""},
		"nothing":                     {"", ""},
		"a comment alone":             {"# none", ""},
	} {
		b, err := ReadBlocklist(strings.NewReader(c.text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		switch err := b.Check(debian); {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (!errors.Is(err, ErrWeakKey) || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want one about %s", name, err, c.want)
		}
		if err := b.Check(honest); err != nil {
			t.Errorf("%s refuses an honest key: %v", name, err)
		}
	}
}

// debianLine is how openssl-blacklist names the key, by the commands that its
// manual gives.
func debianLine(t testing.TB) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "sh", "-c",
		"openssl rsa -pubin -in testdata/badkeys/debian-2008.pem -noout -modulus | openssl sha1 -r | cut -c 21-40").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func TestWhatIsNoBlocklistIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"a certificate":  "-----BEGIN CERTIFICATE-----",
		"a SHA-1":        strings.Repeat("a", 40),
		"not hex":        strings.Repeat("x", 20),
		"a second word":  "0000d80c186767f2473a weak",
		"a line too big": strings.Repeat("a", 1<<17),
	} {
		if b, err := ReadBlocklist(strings.NewReader(text)); err == nil || b.Len() != 0 {
			t.Errorf("%s: %d keys, %v", name, b.Len(), err)
		}
	}
}

func TestBlocklistsJoin(t *testing.T) {
	one, err := ReadBlocklist(strings.NewReader(debianLine(t) + "\n" + debianLine(t)))
	if err != nil {
		t.Fatal(err)
	}
	two, err := ReadBlocklist(strings.NewReader("0000d80c186767f2473a\n" + fmt.Sprintf("%064x", 1)))
	if err != nil {
		t.Fatal(err)
	}
	both := two.With(one).With(one)
	_, debian := found(t, "debian-2008")
	if both.Len() != 3 || both.Check(debian) == nil || two.Check(debian) != nil {
		t.Errorf("%d keys", both.Len())
	}
}

func FuzzReadBlocklist(f *testing.F) {
	f.Add("0000d80c186767f2473a\n# x\n" + strings.Repeat("ab", 32))
	f.Add("\x00")
	honest := &rsa.PublicKey{N: product(f, prime(f, 1024), 2048), E: 65537}
	f.Fuzz(func(t *testing.T, text string) {
		b, err := ReadBlocklist(strings.NewReader(text))
		if err != nil && b.Len() > 0 {
			t.Errorf("half a list of %q", text)
		}
		if err := b.Check(honest); err != nil {
			t.Errorf("%q blocks a key it does not hold", text)
		}
	})
}
