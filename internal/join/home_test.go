package join

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/postern-project/postern/internal/chain"
	"github.com/postern-project/postern/internal/keys"
)

// A key in a TPM (in software) joins, opens a page by OpenSSL's own provider,
// renews, and is worth nothing without that TPM.
func TestAKeyInATPM(t *testing.T) {
	socket := startTPM(t)
	o := newOffice(t).start(t)
	dir := filepath.Join(t.TempDir(), "laptop")
	r, err := Run(t.Context(), Options{Link: o.link(), Out: dir, TPM: socket})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, KeyFile))
	if err != nil || !bytes.HasPrefix(text, []byte("-----BEGIN TSS2 PRIVATE KEY-----")) {
		t.Fatalf("%v, %.40s", err, text)
	}
	if !strings.HasPrefix(r.Curl, "OPENSSL_CONF=") {
		t.Errorf("%s", r.Curl)
	}
	openssl := exec.Command("openssl", "pkey", "-in", filepath.Join(dir, KeyFile), "-pubout")
	openssl.Env = append(os.Environ(), "OPENSSL_CONF="+filepath.Join(dir, OpenSSLFile), "TPM2OPENSSL_TCTI=swtpm:path="+socket)
	var said bytes.Buffer
	openssl.Stderr = &said
	public, err := openssl.Output()
	if err != nil {
		t.Fatalf("OpenSSL does not read the key: %v, %s", err, said.String())
	}
	c, err := load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if block, _ := pem.Decode(public); block == nil || !bytes.Equal(block.Bytes, c.leaf.RawSubjectPublicKeyInfo) {
		t.Errorf("OpenSSL sees another key: %s", public)
	}

	if _, err := Renew(t.Context(), RenewOptions{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	renewed, err := load(dir)
	if err != nil || renewed.leaf.Equal(c.leaf) {
		t.Fatalf("%v", err)
	}
	if state, err := ReadState(dir); err != nil || state.TPM != socket {
		t.Errorf("%+v, %v", state, err)
	}

	// Copied to a machine with another TPM, it signs nothing.
	key, err := keys.ReadIn(filepath.Join(dir, KeyFile), startTPM(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := key.Sign(nil, make([]byte, 32), crypto.SHA256); err == nil || !strings.Contains(err.Error(), "works in the TPM that made it only") {
		t.Errorf("%v", err)
	}
	if _, err := Run(t.Context(), Options{Link: o.link(), Out: filepath.Join(t.TempDir(), "x"), TPM: socket, P12: true}); err == nil || !strings.Contains(err.Error(), "stays where it is made") {
		t.Errorf("%v", err)
	}
	asked := o.asked.Load()
	if _, err := Run(t.Context(), Options{Link: o.link(), Out: filepath.Join(t.TempDir(), "x"), TPM: "/nowhere/tpm"}); err == nil || o.asked.Load() != asked {
		t.Errorf("a TPM that is not there spent the invitation: %v", err)
	}
}

// startTPM starts swtpm and returns its socket.
func startTPM(t *testing.T) (socket string) {
	t.Helper()
	dir := t.TempDir()
	socket = filepath.Join(dir, "socket")
	cmd := exec.Command("swtpm", "socket", "--tpm2", "--tpmstate", "dir="+dir, "--server", "type=unixio,path="+socket, "--ctrl", "type=unixio,path="+socket+".ctrl", "--flags", "startup-clear,not-need-init")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(socket); err == nil {
			return socket
		}
	}
	t.Fatal("swtpm does not start")
	return ""
}

// A fakeWindows stands in for certreq, certutil, powershell and curl.exe. It
// was written after Microsoft's descriptions: it proves what we ask of them, not
// that they do it.
type fakeWindows struct {
	noTPM, noAccept bool
	keys            []*ecdsa.PrivateKey
	my, ca          map[string]*x509.Certificate // by thumbprint
	calls           []string
}

func (f *fakeWindows) run(ctx context.Context, name string, args ...string) ([]byte, error) {
	f.calls = append(f.calls, filepath.Base(name)+" "+args[0])
	last := args[len(args)-1]
	switch {
	case name == "certreq" && args[0] == "-new":
		return nil, f.request(args[len(args)-2], last)
	case name == "certreq" && f.noAccept:
		return nil, errors.New("0x800b0109 CERT_E_UNTRUSTEDROOT")
	case name == "certreq":
		return nil, f.add(f.my, last)
	case name == "certutil" && args[1] == "-addstore":
		return nil, f.add(map[string]map[string]*x509.Certificate{"My": f.my, "CA": f.ca}[args[2]], last)
	case name == "certutil" && args[1] == "-repairstore":
		if f.my[last] == nil {
			return nil, errors.New("no such certificate")
		}
		return nil, nil
	case name == "powershell":
		_, rest, _ := strings.Cut(last, `Cert:\CurrentUser\My\`)
		print, _, ok := strings.Cut(rest, `' -DeleteKey`)
		if !ok || f.my[print] == nil {
			return nil, fmt.Errorf("nothing to remove by %q", last)
		}
		delete(f.my, print)
		return nil, nil
	case strings.HasSuffix(name, "curl.exe"):
		return f.curl(args)
	}
	return nil, exec.ErrNotFound
}

func (f *fakeWindows) request(policy, out string) error {
	text, err := os.ReadFile(policy)
	if err != nil {
		return err
	}
	if !bytes.Contains(text, []byte("Exportable=FALSE")) || !bytes.Contains(text, []byte("KeyAlgorithm=ECDSA_P256")) {
		return fmt.Errorf("another policy than ours: %s", text)
	}
	if f.noTPM && bytes.Contains(text, []byte("Platform Crypto Provider")) {
		return errors.New("0x80090030 NTE_DEVICE_NOT_READY")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	f.keys = append(f.keys, key)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "Postern"}}, key)
	if err != nil {
		return err
	}
	return os.WriteFile(out, pem.EncodeToMemory(&pem.Block{Type: "NEW CERTIFICATE REQUEST", Bytes: der}), 0o600)
}

func (f *fakeWindows) add(store map[string]*x509.Certificate, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	certs, err := chain.ParsePEM(data)
	if err != nil {
		return err
	}
	store[thumbprint(certs[0])] = certs[0]
	return nil
}

func (f *fakeWindows) curl(args []string) ([]byte, error) {
	value := func(flag string) string { return args[slices.Index(args, flag)+1] }
	cert := f.my[strings.TrimPrefix(value("--cert"), `CurrentUser\MY\`)]
	if cert == nil {
		return nil, errors.New("curl: (58) no such certificate")
	}
	i := slices.IndexFunc(f.keys, func(k *ecdsa.PrivateKey) bool { return k.PublicKey.Equal(cert.PublicKey) })
	dir := filepath.Dir(strings.TrimPrefix(value("--data-binary"), "@"))
	keyFile, certFile := filepath.Join(dir, "curl.key"), filepath.Join(dir, "curl.crt")
	defer removeAll(keyFile, certFile)
	if err := keys.WritePrivate(keyFile, f.keys[i]); err != nil {
		return nil, err
	}
	text := pemOf(cert)
	for _, above := range f.ca {
		text = append(text, pemOf(above)...)
	}
	if err := os.WriteFile(certFile, text, 0o600); err != nil {
		return nil, err
	}
	args = slices.Clone(args)
	args[slices.Index(args, "--cert")+1] = certFile
	args = slices.DeleteFunc(args, func(a string) bool { return a == "--ssl-no-revoke" })
	return exec.Command("curl", append(args, "--key", keyFile)...).Output()
}

// The key is made by Windows and does not leave it; renewal goes through the
// curl that finds it there.
func TestWindowsKeepsTheKey(t *testing.T) {
	for _, c := range []struct {
		name            string
		noTPM, noAccept bool
	}{{"in its TPM", false, false}, {"without a TPM", true, false}, {"although it does not trust the root", false, true}} {
		t.Run(c.name, func(t *testing.T) {
			f := &fakeWindows{noTPM: c.noTPM, noAccept: c.noAccept, my: map[string]*x509.Certificate{}, ca: map[string]*x509.Certificate{}}
			o := newOffice(t)
			o.named = true
			o.start(t)
			dir := filepath.Join(t.TempDir(), "laptop")
			r, err := Run(t.Context(), Options{Link: o.link(), Out: dir, Store: true, run: f.run})
			if err != nil {
				t.Fatalf("%v after %q", err, f.calls)
			}
			if exists(dir, KeyFile) || len(f.my) != 1 || len(f.ca) != 1 || !strings.HasPrefix(r.Curl, `curl.exe --cert CurrentUser\MY\`) {
				t.Errorf("%q, %d and %d certificates, %s", r.Files, len(f.my), len(f.ca), r.Curl)
			}
			before, err := load(dir)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Renew(t.Context(), RenewOptions{Dir: dir, run: f.run}); err != nil {
				t.Fatalf("%v after %q", err, f.calls)
			}
			after, err := load(dir)
			if err != nil || after.leaf.Equal(before.leaf) || len(f.my) != 1 || f.my[thumbprint(after.leaf)] == nil {
				t.Errorf("%v, %d certificates", err, len(f.my))
			}
			m := Machine{System: "windows", Home: t.TempDir(), run: f.run}
			if p, err := m.Install(t.Context(), dir); err != nil || len(p.Browsers) != 1 || len(p.Notes) != 0 {
				t.Errorf("%+v, %v", p, err)
			}
			if p, err := m.Uninstall(t.Context(), dir); err != nil || len(p.Browsers) != 1 || len(f.my) != 0 || exists(dir, CertFile) {
				t.Errorf("%+v, %v", p, err)
			}
		})
	}
}

func TestWithoutCertreqTheKeyIsInAFile(t *testing.T) {
	o := newOffice(t).start(t)
	dir := filepath.Join(t.TempDir(), "laptop")
	none := func(context.Context, string, ...string) ([]byte, error) { return nil, exec.ErrNotFound }
	r, err := Run(t.Context(), Options{Link: o.link(), Out: dir, Store: true, run: none})
	if err != nil || !exists(dir, KeyFile) || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "Windows made no key") {
		t.Errorf("%q, %v", r.Notes, err)
	}
}

// The keychain of macOS gets a copy that cannot be copied on, and the next one
// takes its place.
func TestTheKeychainGetsTheIdentity(t *testing.T) {
	o := newOffice(t).start(t)
	dir := filepath.Join(t.TempDir(), "laptop")
	if _, err := Run(t.Context(), Options{Link: o.link(), Out: dir}); err != nil {
		t.Fatal(err)
	}
	chained := map[string]bool{}
	m := Machine{System: "darwin", Home: t.TempDir()}
	m.run = func(_ context.Context, name string, args ...string) ([]byte, error) {
		if name != "security" || args[len(args)-1] != m.keychain() {
			return nil, fmt.Errorf("%s %q", name, args)
		}
		switch args[0] {
		case "import":
			data, err := os.ReadFile(args[1])
			if err != nil {
				return nil, err
			}
			_, cert, _, err := pkcs12.DecodeChain(data, args[slices.Index(args, "-P")+1])
			if err != nil || !slices.Contains(args, "-x") {
				return nil, fmt.Errorf("%w %q", err, args)
			}
			chained[thumbprint(cert)] = true
		case "delete-identity":
			if !chained[args[2]] {
				return nil, errors.New("not there")
			}
			delete(chained, args[2])
		}
		return nil, nil
	}
	for range 2 { // a second time is no second copy
		if p, err := m.Install(t.Context(), dir); err != nil || len(p.Browsers) != 1 || len(chained) != 1 {
			t.Fatalf("%+v, %v, %v", p, err, chained)
		}
	}
	if _, err := Renew(t.Context(), RenewOptions{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	renewed, err := load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := m.Refresh(t.Context(), dir); err != nil || len(p.Notes) != 0 || len(chained) != 1 || !chained[thumbprint(renewed.leaf)] {
		t.Errorf("%+v, %v, %v", p, err, chained)
	}
	if _, err := m.Uninstall(t.Context(), dir); err != nil || len(chained) != 0 || exists(dir, StateFile) {
		t.Errorf("%v, %v", err, chained)
	}
}
