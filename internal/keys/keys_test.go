package keys

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func passphrase(t testing.TB, s string) Passphrase {
	t.Helper()
	p, err := ParsePassphrase(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestKindsMakeTheirKeys(t *testing.T) {
	for s, want := range map[string]any{
		"": elliptic.P256(), "ecdsa-p256": elliptic.P256(), "ecdsa-p384": elliptic.P384(), "rsa-3072": 3072,
	} {
		kind, err := ParseKind(s)
		if err != nil {
			t.Fatal(err)
		}
		k, err := Generate(kind)
		if err != nil {
			t.Fatal(err)
		}
		like, err := Like(k.Public())
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range []crypto.Signer{k, like} {
			switch pub := k.Public().(type) {
			case *ecdsa.PublicKey:
				if pub.Curve != want {
					t.Errorf("%q made a key on %s", s, pub.Curve.Params().Name)
				}
			case *rsa.PublicKey:
				if pub.N.BitLen() != want || pub.E != 65537 {
					t.Errorf("%q made RSA %d", s, pub.N.BitLen())
				}
			}
		}
		if like.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(k.Public()) {
			t.Error("a key like another is the other")
		}
	}
	for _, s := range []string{"rsa", "rsa-2048", "ed25519", "ECDSA-P256"} {
		if _, err := ParseKind(s); err == nil || !strings.Contains(err.Error(), "ecdsa-p256") {
			t.Errorf("ParseKind(%q) = %v", s, err)
		}
		if _, err := Generate(Kind(s)); err == nil {
			t.Errorf("Generate(%q) made a key", s)
		}
	}
	if _, err := Like(ed25519.PublicKey{}); err == nil {
		t.Error("a throw-away key like an Ed25519 key")
	}
}

func TestPrivateKeysComeBackFromTheirFiles(t *testing.T) {
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, k := range map[string]crypto.Signer{"ecdsa": newKey(t), "ed25519": edwards} {
		path := filepath.Join(t.TempDir(), name+".key")
		if err := WritePrivate(path, k); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("mode %#o", info.Mode().Perm())
		}
		back, err := ReadPrivate(path)
		if err != nil {
			t.Fatal(err)
		}
		if !back.(interface{ Equal(crypto.PrivateKey) bool }).Equal(k) {
			t.Error("another key came back")
		}
		before, _ := os.ReadFile(path)
		if err := WritePrivate(path, newKey(t)); !errors.Is(err, fs.ErrExist) {
			t.Errorf("written over: %v", err)
		}
		if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
			t.Error("the refused write changed the file")
		}
	}
}

func TestBadKeyFilesAreRefused(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good.key")
	if err := WritePrivate(good, newKey(t)); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(good)
	sec1, err := x509.MarshalECPrivateKey(newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		data []byte
		mode fs.FileMode
		want string
	}{
		"readable by the group":       {text, 0o640, "chmod 600"},
		"writable by others":          {text, 0o602, "chmod 600"},
		"empty":                       {nil, 0o600, "no PEM block"},
		"a certificate":               {[]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), 0o600, "PRIVATE KEY"},
		"a SEC 1 key":                 {pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1}), 0o600, "pkcs8"},
		"two keys":                    {append(bytes.Clone(text), text...), 0o600, "follows"},
		"junk in the block":           {[]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), 0o600, "no PKCS#8"},
		"a megabyte":                  {bytes.Repeat([]byte{'x'}, 1<<20), 0o600, "no key is that long"},
		"a sealed key instead of one": {[]byte("age-encryption.org/v1\n"), 0o600, "no PEM block"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "k")
			if err := os.WriteFile(path, c.data, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, c.mode); err != nil {
				t.Fatal(err)
			}
			_, err := ReadPrivate(path)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want %q and the path", err, c.want)
			}
		})
	}
	if _, err := ReadPrivate(dir); err == nil {
		t.Error("a folder was read as a key")
	}
	if _, err := ReadPrivate(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestSealedKeyOpensWithItsPassphraseOnly(t *testing.T) {
	drawn, err := NewPassphrase()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		p         Passphrase
		generated bool
		work      string
	}{
		"drawn":          {drawn, true, " 15\n"},
		"a person's own": {passphrase(t, "correct horse battery"), false, " 18\n"},
	} {
		t.Run(name, func(t *testing.T) {
			path, key := filepath.Join(t.TempDir(), "root.key.age"), newKey(t)
			if err := Seal(path, key, c.p, c.generated); err != nil {
				t.Fatal(err)
			}
			data, _ := os.ReadFile(path)
			d, err := key.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(data, d) {
				t.Fatal("the key stands in the sealed file")
			}
			if head, _, _ := bytes.Cut(data, []byte("---")); !bytes.Contains(head, []byte(c.work)) {
				t.Errorf("work factor is not %q: %s", c.work, head)
			}
			back, err := Unseal(path, c.p)
			if err != nil || !key.Equal(back) {
				t.Errorf("does not open: %v", err)
			}
			if _, err := Unseal(path, passphrase(t, "wrong passphrase")); !errors.Is(err, ErrWrongPassphrase) {
				t.Errorf("wrong passphrase: %v", err)
			}
			if _, err := Unseal(path, Passphrase{}); !errors.Is(err, ErrWrongPassphrase) {
				t.Errorf("no passphrase: %v", err)
			}
			if err := Seal(path, key, c.p, c.generated); !errors.Is(err, fs.ErrExist) {
				t.Errorf("sealed over: %v", err)
			}
		})
	}
	if err := Seal(filepath.Join(t.TempDir(), "k"), newKey(t), Passphrase{}, false); err == nil {
		t.Error("sealed with nothing")
	}
}

func TestDamagedSealedKeysAreErrors(t *testing.T) {
	p, err := NewPassphrase()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "root.key.age")
	if err := Seal(path, newKey(t), p, true); err != nil {
		t.Fatal(err)
	}
	data, _ := os.ReadFile(path)
	for i := 0; i < len(data); i += 37 {
		bad := bytes.Clone(data)
		bad[i] ^= 1
		if k, err := unseal(bytes.NewReader(bad), p); err == nil {
			t.Errorf("byte %d changed and yet %T came out", i, k)
		}
	}
	if _, err := unseal(bytes.NewReader(data[:len(data)-1]), p); err == nil {
		t.Error("a cut file opened")
	}
	dear := bytes.Replace(data, []byte(" 15\n"), []byte(" 30\n"), 1)
	if _, err := unseal(bytes.NewReader(dear), p); err == nil {
		t.Error("a file made us compute for hours")
	}
}

func TestPassphraseHidesItself(t *testing.T) {
	p, err := NewPassphrase()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(strings.Split(p.Reveal(), "-")); n < words {
		t.Errorf("%d words", n)
	}
	var out bytes.Buffer
	holder := struct {
		P Passphrase
		Q *Passphrase
	}{p, &p}
	fmt.Fprintf(&out, "%v %+v %#v %s %q %d %x %v %+v %#v", p, p, p, p, p, p, p, &p, holder, holder)
	fmt.Fprint(&out, p, errors.Join(fmt.Errorf("at %v", p)))
	text, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(text)
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("made", "passphrase", p, "pointer", &p, "holder", holder)
	}
	for _, secret := range []string{p.Reveal(), fmt.Sprintf("%x", p.Reveal()), fmt.Sprint([]byte(p.Reveal()))} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("the passphrase is told: %s", out.String())
		}
	}
	if !strings.Contains(out.String(), hidden) {
		t.Error("nothing says that it is hidden")
	}
}

func TestPassphraseFiles(t *testing.T) {
	cases := map[string]struct {
		data string
		mode fs.FileMode
		want string // "" is refused
	}{
		"as an editor writes it":   {"correct horse battery\n", 0o600, "correct horse battery"},
		"with Windows' line end":   {"correct horse battery\r\n", 0o400, "correct horse battery"},
		"that others can read":     {"correct horse battery\n", 0o644, ""},
		"empty":                    {"\n", 0o600, ""},
		"too short":                {"secret\n", 0o600, ""},
		"with a second line in it": {"correct horse\nbattery staple\n", 0o600, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "p")
			if err := os.WriteFile(path, []byte(c.data), c.mode); err != nil {
				t.Fatal(err)
			}
			p, err := ReadPassphraseFile(path)
			if p.Reveal() != c.want || (err == nil) != (c.want != "") {
				t.Errorf("read %q, %v", p.Reveal(), err)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error tells the passphrase: %v", err)
			}
		})
	}
}

func FuzzParsePrivate(f *testing.F) {
	der, err := x509.MarshalPKCS8PrivateKey(newKey(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	f.Fuzz(func(t *testing.T, data []byte) {
		// What is accepted can be written and is then accepted as the same key.
		k, err := parsePrivate(bytes.Clone(data))
		if err != nil {
			return
		}
		path := filepath.Join(t.TempDir(), "k")
		if err := WritePrivate(path, k); err != nil {
			t.Fatal(err)
		}
		back, err := ReadPrivate(path)
		if err != nil || !back.(interface{ Equal(crypto.PrivateKey) bool }).Equal(k) {
			t.Errorf("does not come back: %v", err)
		}
	})
}
