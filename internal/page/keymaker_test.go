package page

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// What is served was built from what lies beside it.
func TestTheKeymakerIsBuiltFromItsSources(t *testing.T) {
	h := sha256.New()
	for _, name := range []string{"keymaker.js", "random.js", "package-lock.json"} {
		text, err := os.ReadFile(filepath.Join("keymaker", name))
		if err != nil {
			t.Fatal(err)
		}
		h.Write(text)
	}
	if sum := hex.EncodeToString(h.Sum(nil)); !bytes.Contains(Keymaker().Text[:400], []byte(sum)) {
		t.Errorf("keymaker.min.js is not built from these sources (%s): run scripts/keymaker", sum)
	}
	lock, err := os.ReadFile("keymaker/package-lock.json")
	if err != nil || bytes.Contains(lock, []byte("://registry")) || bytes.Contains(lock, []byte("resolved")) {
		t.Errorf("the lock file names where packages came from (%v)", err)
	}
}

// driver runs the key-maker outside a browser: node has the same WebCrypto.
const driver = `
globalThis.window = globalThis.self = globalThis; globalThis.document = {};
const fs = require("fs"), q = JSON.parse(fs.readFileSync(0, "utf8"));
const keymaker = new Function(fs.readFileSync(q.script, "utf8") + "; return keymaker")();
const reply = (v) => process.stdout.write(JSON.stringify(v));
if (q.certificates) {
  const password = keymaker.password();
  const pack = (encoding) => Buffer.from(keymaker.pack({ ...q, key: Buffer.from(q.key, "base64").toString("latin1"), password, encoding })).toString("base64");
  reply({ password, compatible: pack("compatible"), modern: pack("modern") });
} else {
  keymaker.makeKey().then((m) => reply({ csr: m.csr, key: Buffer.from(m.key, "latin1").toString("base64") }));
}`

type made struct {
	CSR        string `json:"csr"`
	Key        string `json:"key"`
	Password   string `json:"password"`
	Compatible []byte `json:"compatible"`
	Modern     []byte `json:"modern"`
}

func drive(t *testing.T, q map[string]string) (m made) {
	t.Helper()
	q["script"] = "keymaker.min.js"
	in, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", "-e", driver)
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node: %v: run scripts/test-tools, which 'make test' does", err)
	}
	if err := json.Unmarshal(out, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// Programs that share no code with the key-maker, nor with each other, open
// what it makes, in both encodings.
func TestEveryReaderOpensTheFile(t *testing.T) {
	t.Parallel()
	m := drive(t, map[string]string{})
	certificates, spki := certify(t, m.CSR)
	packed := drive(t, map[string]string{"key": m.Key, "certificates": certificates, "name": "anna/phone"})
	if !regexp.MustCompile(`^[0-9a-z]{4}(-[0-9a-z]{4}){3}$`).MatchString(packed.Password) {
		t.Errorf("the password is %q", packed.Password)
	}
	for encoding, file := range map[string][]byte{"compatible": packed.Compatible, "modern": packed.Modern} {
		path := filepath.Join(t.TempDir(), "identity.p12")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		for reader, open := range readers {
			out, err := open(t, path, packed.Password)
			if err != nil {
				t.Errorf("%s does not open the %s encoding: %v\n%s", reader, encoding, err, out)
			}
			if out, err := open(t, path, "wrong"); err == nil {
				t.Errorf("%s opens the %s encoding with a wrong password: %s", reader, encoding, out)
			}
		}
		out, err := exec.Command("openssl", "pkcs12", "-in", path, "-passin", "pass:"+packed.Password, "-nodes").Output()
		if err != nil || !strings.Contains(string(out), "friendlyName: anna/phone") || keyIn(t, out) != spki {
			t.Errorf("%s: %v, not the key that was certified:\n%s", encoding, err, out)
		}
	}
}

// readers are the programs, each with a home of its own.
var readers = map[string]func(t *testing.T, file, password string) ([]byte, error){
	"openssl": func(t *testing.T, file, password string) ([]byte, error) {
		return exec.Command("openssl", "pkcs12", "-in", file, "-passin", "pass:"+password, "-nodes").CombinedOutput()
	},
	"gnutls": func(t *testing.T, file, password string) ([]byte, error) {
		return exec.Command("certtool", "--p12-info", "--inder", "--infile", file, "--password", password).CombinedOutput()
	},
	"nss": func(t *testing.T, file, password string) ([]byte, error) {
		db := "sql:" + t.TempDir()
		if out, err := exec.Command("certutil", "-N", "-d", db, "--empty-password").CombinedOutput(); err != nil {
			return out, err
		}
		return exec.Command("pk12util", "-i", file, "-d", db, "-W", password, "-K", "").CombinedOutput()
	},
	"java": func(t *testing.T, file, password string) ([]byte, error) {
		return exec.Command("keytool", "-list", "-keystore", file, "-storetype", "PKCS12", "-storepass", password).CombinedOutput()
	},
	"node": func(t *testing.T, file, password string) ([]byte, error) {
		const open = `require("tls").createSecureContext({pfx: require("fs").readFileSync(process.argv[1]), passphrase: process.argv[2]})`
		return exec.Command("node", "-e", open, file, password).CombinedOutput()
	},
}

// certify checks a request and returns the leaf and its issuer for it, in PEM,
// with the key that they are for.
func certify(t *testing.T, csr string) (certificates, spki string) {
	t.Helper()
	block, _ := pem.Decode([]byte(csr))
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil || request.CheckSignature() != nil || len(request.Subject.Names) != 0 {
		t.Fatalf("the request is not sound: %v", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "issuer"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "anna/phone"}, NotAfter: time.Now().Add(time.Hour)}
	for _, c := range []struct {
		template *x509.Certificate
		key      any
	}{{leaf, request.PublicKey}, {ca, key.Public()}} {
		der, err := x509.CreateCertificate(rand.Reader, c.template, ca, c.key, key)
		if err != nil {
			t.Fatal(err)
		}
		certificates += string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	return certificates, string(request.RawSubjectPublicKeyInfo)
}

// keyIn returns the public half of the private key in openssl's output.
func keyIn(t *testing.T, text []byte) string {
	t.Helper()
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "PRIVATE KEY" {
			continue
		}
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKIXPublicKey(key.(*ecdsa.PrivateKey).Public())
		if err != nil {
			t.Fatal(err)
		}
		return string(der)
	}
	return ""
}
