package main

import (
	"bytes"
	"fmt"
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
	// in the middle of a signature, before it is made and after: the answer is
	// not written, and what was done by then is done again
	for _, made := range []bool{false, true} {
		cut := cutAtSignature(t, dir, made)
		v.fails("right", "the TPM at "+cut+" has not answered: nothing was changed", "root", "sign", "late.request", "--root-key", "tpm:0x81000001?path="+cut, "--root", "safe/root.pem")
		if left, err := filepath.Glob(filepath.Join(v.dir, "*.answer*")); err != nil || len(left) != 1 { // root.answer, from before
			t.Errorf("left behind: %q, %v", left, err)
		}
	}
	v.must("root", "sign", "late.request", "--root-key", v.ref, "--root", "safe/root.pem")
	v.must("root", "apply", "late.answer")
	if out := v.must("ledger", "verify"); !strings.Contains(out, "as it was written") {
		t.Error(out)
	}
}

// cutAtSignature stands before the TPM in dir and is gone at the first
// signature: before the TPM hears of it, or when it has made it.
func cutAtSignature(t *testing.T, dir string, made bool) (socket string) {
	t.Helper()
	socket = filepath.Join(dir, fmt.Sprintf("cut-%t", made))
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			relay(client, filepath.Join(dir, "socket"), made)
		}
	}()
	return socket
}

func relay(client net.Conn, socket string, made bool) {
	defer client.Close()
	tpm, err := net.Dial("unix", socket)
	if err != nil {
		return
	}
	defer tpm.Close()
	buf := make([]byte, 4096)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		signing := n >= 10 && bytes.Equal(buf[6:10], []byte{0, 0, 1, 0x5d}) // TPM2_CC_Sign
		if signing && !made {
			return
		}
		if _, err := tpm.Write(buf[:n]); err != nil {
			return
		}
		if n, err = tpm.Read(buf); err != nil || signing {
			return
		}
		if _, err := client.Write(buf[:n]); err != nil {
			return
		}
	}
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
	// in the middle of a signature
	removable := strings.Replace(ref, module, pullable(t, dir, module), 1)
	for pulled, says := range map[string]string{
		"removed": `token "root" has not signed: was it pulled out? nothing was changed`,
		"error":   `token "root" has not signed: was it pulled out? nothing was changed`,
	} {
		v.env = append(v.env, "PULLED="+pulled)
		v.fails("right", says, "root", "sign", "late.request", "--root-key", removable, "--root", "safe/root.pem")
		if left, err := filepath.Glob(filepath.Join(v.dir, "late.answer*")); err != nil || len(left) > 0 {
			t.Errorf("%s: left behind: %q, %v", pulled, left, err)
		}
	}
	v.env = append(v.env, "PULLED=")
	v.must("root", "sign", "late.request", "--root-key", removable, "--root", "safe/root.pem")
	v.must("root", "apply", "late.answer")
	if out := v.must("ledger", "verify"); !strings.Contains(out, "as it was written") {
		t.Error(out)
	}
}

// pullable builds a module that is the one given, until a signature is wanted
// and PULLED says that the token is not there any more.
func pullable(t *testing.T, dir, module string) string {
	t.Helper()
	headers, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/miekg/pkcs11").Output()
	if err != nil {
		t.Fatal(err)
	}
	source, built := filepath.Join(dir, "pullable.c"), filepath.Join(dir, "pullable.so")
	write(t, source, []byte(`
#define CK_PTR *
#define CK_DECLARE_FUNCTION(type, name) type name
#define CK_DECLARE_FUNCTION_POINTER(type, name) type (*name)
#define CK_CALLBACK_FUNCTION(type, name) type (*name)
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#define NULL_PTR 0
#include "pkcs11.h"
static CK_FUNCTION_LIST here;
static CK_FUNCTION_LIST_PTR there;
static CK_RV sign(CK_SESSION_HANDLE s, CK_BYTE_PTR d, CK_ULONG n, CK_BYTE_PTR sig, CK_ULONG_PTR len) {
	const char *pulled = getenv("PULLED");
	if (pulled && !strcmp(pulled, "removed")) return CKR_DEVICE_REMOVED;
	if (pulled && !strcmp(pulled, "error")) return CKR_DEVICE_ERROR;
	return there->C_Sign(s, d, n, sig, len);
}
CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list) {
	void *lib = dlopen(MODULE, RTLD_NOW);
	CK_RV (*get)(CK_FUNCTION_LIST_PTR_PTR) = lib ? (CK_RV (*)(CK_FUNCTION_LIST_PTR_PTR))dlsym(lib, "C_GetFunctionList") : 0;
	if (!get || get(&there) != CKR_OK) return CKR_GENERAL_ERROR;
	here = *there;
	here.C_Sign = sign;
	*list = &here;
	return CKR_OK;
}
`))
	cmd := exec.Command("gcc", "-shared", "-fPIC", "-o", built, "-I", strings.TrimSpace(string(headers)), "-DMODULE=\""+module+"\"", source, "-ldl")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return built
}

// Issuers whose keys are in a TPM: everything works as with files, a TPM that is
// gone stops issuing and nothing else, and nothing is lost.
func TestIssuersInATPM(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "tpm") // a socket's path has 107 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	stop := startTPM(t, dir)
	tpm := "tpm:?path=" + filepath.Join(dir, "socket")
	d := newDoor(t, "localhost="+site(t, "the page"))
	write(t, filepath.Join(d.home, "postern.yaml"), []byte("issuers: {key: \""+tpm+"\"}\n"))
	d.run("init")
	for _, name := range []string{"clients-1", "servers-1"} {
		if text, err := os.ReadFile(filepath.Join(d.data, "issuers", name+".key")); err != nil || !bytes.Contains(text, []byte("TSS2 PRIVATE KEY")) {
			t.Fatalf("the key of %s is not in the TPM: %v", name, err)
		}
	}
	d.open()
	laptop := d.enrol("ben/laptop")
	if page := curl(t, d, laptop, "localhost"); !strings.Contains(page, "the page") {
		t.Fatal(page)
	}
	d.run("crl", "export", "--out", "lists")
	link := d.invitation("anna/phone")

	stop()
	if out, code := d.try("issue", "ben/phone", "--out", "phone"); code == 0 || !strings.Contains(out, "issuer clients-1 did not sign: no TPM answers") || !strings.Contains(out, "nothing was lost") {
		t.Errorf("without the TPM: %d %s", code, out)
	}
	if out, code := d.try("join", link, "--out", filepath.Join(d.home, "anna")); code == 0 {
		t.Error(out)
	}
	if page := curl(t, d, laptop, "localhost"); !strings.Contains(page, "the page") {
		t.Errorf("the gateway has stopped: %s", page)
	}
	d.run("revoke", "ben/laptop")
	if page := curl(t, d, laptop, "localhost"); !strings.Contains(page, "revoked") {
		t.Error(page)
	}

	startTPM(t, dir)
	d.run("join", link, "--out", filepath.Join(d.home, "anna"))
	d.run("issue", "ben/phone", "--out", "phone")
	words, err := filepath.Glob(filepath.Join(d.data, "secrets", "root-passphrase*.txt"))
	if err != nil || len(words) != 1 {
		t.Fatal(words, err)
	}
	d.env = append(d.env, "POSTERN_ROOT_PASSPHRASE_FILE="+words[0])
	d.run("issuer", "rotate", "clients", "--root-key", filepath.Join(d.data, "root.key.age"))
	d.run("issuer", "rotate", "clients")
	if text, err := os.ReadFile(filepath.Join(d.data, "issuers", "clients-2.key")); err != nil || !bytes.Contains(text, []byte("TSS2 PRIVATE KEY")) {
		t.Errorf("the next issuer's key is not in the TPM: %v", err)
	}
	tablet := d.enrol("ben/tablet")
	if page := curl(t, d, tablet, "localhost"); !strings.Contains(page, "the page") {
		t.Error(page)
	}
	d.kill()
	stop()
	d.open() // a start needs no TPM
	if out := d.run("ledger", "verify"); !strings.Contains(out, "as it was written") {
		t.Error(out)
	}
}
