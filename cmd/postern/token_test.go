package main

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2/transport"
)

// A vault is a root whose key is in a token, and what a person types there.
type vault struct {
	t       *testing.T
	dir     string
	program string
	ref     string
	env     []string
}

const rightPIN = "271828"

func newVault(t *testing.T, program, ref string, env ...string) *vault {
	t.Helper()
	v := &vault{t: t, dir: t.TempDir(), program: program, ref: ref, env: env}
	for name, pin := range map[string]string{"right": rightPIN, "wrong": "314159"} {
		if err := os.WriteFile(filepath.Join(v.dir, name), []byte(pin+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return v
}

// run runs the program in the vault with the PIN in a file.
func (v *vault) run(pin string, args ...string) (string, error) {
	v.t.Helper()
	cmd := exec.Command(v.program, args...)
	cmd.Dir = v.dir
	cmd.Env = append(append(os.Environ(), "NO_COLOR=1", "POSTERN_STATE_DIR="+filepath.Join(v.dir, "state"),
		"POSTERN_ROOT_PASSPHRASE_FILE="+filepath.Join(v.dir, pin)), v.env...)
	out, err := cmd.CombinedOutput()
	if bytes.Contains(out, []byte(rightPIN)) {
		v.t.Errorf("the PIN is printed: %s", out)
	}
	return string(out), err
}

func (v *vault) must(args ...string) string {
	v.t.Helper()
	out, err := v.run("right", args...)
	if err != nil {
		v.t.Fatalf("postern %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (v *vault) fails(pin, says string, args ...string) {
	v.t.Helper()
	out, err := v.run(pin, args...)
	if err == nil || !strings.Contains(strings.Join(strings.Fields(out), " "), says) {
		v.t.Errorf("postern %s: %v, want %q in\n%s", strings.Join(args, " "), err, says, out)
	}
}

// ceremonies does with a root in a token all that one does with a sealed file.
func (v *vault) ceremonies(triesLeft string) {
	v.t.Helper()
	v.must("root", "create", "--trust-domain", "example.com", "--out", "safe", "--root-key", v.ref)
	v.fails("right", "already", "root", "create", "--out", "safe2", "--root-key", v.ref)
	v.must("init", "--without-root", "--trust-domain", "example.com")
	v.fails("wrong", triesLeft, "root", "sign", "root.request", "--root-key", v.ref, "--root", "safe/root.pem")
	if _, err := os.Stat(filepath.Join(v.dir, "root.answer")); err == nil {
		v.t.Error("an answer was written without the PIN")
	}
	v.must("root", "sign", "root.request", "--root-key", v.ref, "--root", "safe/root.pem")
	v.must("init", "--answer", "root.answer")
	v.must("issuer", "rotate", "clients", "--root-key", v.ref)
	v.must("issuer", "rotate", "clients")
	v.must("ledger", "rotate-key", "--root-key", v.ref)
	if out := v.must("ledger", "verify"); !strings.Contains(out, "as it was written") {
		v.t.Error(out)
	}
}

// A TPM 2.0 in software: the root's key is made there and never leaves it.
func TestARootInATPM(t *testing.T) {
	t.Parallel()
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	// a socket's path has 107 bytes at most
	dir, err := os.MkdirTemp("", "tpm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	stop := startTPM(t, dir)
	v := newVault(t, program, "tpm:0x81000001?path="+filepath.Join(dir, "socket"))
	v.ceremonies("tries are left before it locks itself")
	// pulled out: said plainly, and nothing lost
	v.must("root", "request", "--list", "--out", "late.request")
	v.fails("right", "holds no key at 0x81000009", "root", "sign", "late.request", "--root-key", strings.Replace(v.ref, "01?", "09?", 1), "--root", "safe/root.pem")
	stop()
	v.fails("right", "no TPM answers", "root", "sign", "late.request", "--root-key", v.ref, "--root", "safe/root.pem")
	startTPM(t, dir)
	// a TPM counts being cut off as a wrong PIN, and this one has seen one before:
	// nothing tries the last one by itself
	v.fails("right", "one more wrong one locks the token", "root", "sign", "late.request", "--root-key", v.ref, "--root", "safe/root.pem")
	resetLockout(t, filepath.Join(dir, "socket"))
	v.must("root", "sign", "late.request", "--root-key", v.ref, "--root", "safe/root.pem")
	v.must("root", "apply", "late.answer")
}

// resetLockout does what a TPM's owner does after wrong PINs.
func resetLockout(t *testing.T, socket string) {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	tpm := transport.FromReadWriteCloser(conn)
	defer tpm.Close()
	// TPM2_DictionaryAttackLockReset with the empty authorisation of a new TPM's
	// lockout hierarchy (TPM 2.0 part 3)
	answer, err := tpm.Send([]byte("\x80\x02\x00\x00\x00\x1b\x00\x00\x01\x39\x40\x00\x00\x0a\x00\x00\x00\x09\x40\x00\x00\x09\x00\x00\x00\x00\x00"))
	if err != nil || len(answer) < 10 || !bytes.Equal(answer[6:10], make([]byte, 4)) {
		t.Fatalf("% x, %v", answer, err)
	}
}

// startTPM starts swtpm on the state in dir, and returns what ends it.
func startTPM(t *testing.T, dir string) (stop func()) {
	t.Helper()
	socket := filepath.Join(dir, "socket")
	os.Remove(socket)
	cmd := exec.Command("swtpm", "socket", "--tpm2", "--tpmstate", "dir="+dir, "--server", "type=unixio,path="+socket, "--flags", "startup-clear,not-need-init")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		cmd.Process.Kill()
		cmd.Wait()
		os.Remove(socket)
	})
	t.Cleanup(stop)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(socket); err == nil {
			return stop
		}
		if time.Now().After(end) {
			t.Fatalf("swtpm does not start: %s", said.String())
		}
	}
}

// A PKCS#11 token in software, by the program built for it; the usual one says
// that it lacks this.
func TestARootInAPKCS11Token(t *testing.T) {
	t.Parallel()
	usual, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	const module = "/usr/lib/softhsm/libsofthsm2.so"
	ref := "pkcs11:token=root;object=postern?module-path=" + module
	newVault(t, usual, ref).fails("right", "this postern was built without PKCS#11", "root", "create", "--out", "safe", "--root-key", ref)

	dir := t.TempDir()
	tagged, tokens, conf := filepath.Join(dir, "postern"), filepath.Join(dir, "tokens"), filepath.Join(dir, "softhsm2.conf")
	build := exec.Command("go", "build", "-tags", "pkcs11", "-o", tagged, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.Mkdir(tokens, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(conf, []byte("directories.tokendir = "+tokens+"\nobjectstore.backend = file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	token := exec.Command("softhsm2-util", "--init-token", "--free", "--label", "root", "--pin", rightPIN, "--so-pin", "12345678")
	token.Env = append(os.Environ(), "SOFTHSM2_CONF="+conf)
	if out, err := token.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	v := newVault(t, tagged, ref, "SOFTHSM2_CONF="+conf)
	v.ceremonies("wrong PIN of token")
	// pulled out
	v.must("root", "request", "--list", "--out", "late.request")
	v.fails("right", `holds no key pair labelled "other"`, "root", "sign", "late.request", "--root-key", strings.Replace(ref, "object=postern", "object=other", 1), "--root", "safe/root.pem")
	if err := os.Rename(tokens, tokens+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(tokens, 0o700); err != nil {
		t.Fatal(err)
	}
	v.fails("right", `no token "root" is there`, "root", "sign", "late.request", "--root-key", ref, "--root", "safe/root.pem")
	if err := os.Remove(tokens); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tokens+".away", tokens); err != nil {
		t.Fatal(err)
	}
	v.must("root", "sign", "late.request", "--root-key", ref, "--root", "safe/root.pem")
	v.must("root", "apply", "late.answer")
}
