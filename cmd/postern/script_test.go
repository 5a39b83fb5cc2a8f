package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/postern-project/postern/internal/cli"
)

// The scripts specify the commands: they run the real program on real files.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"postern": main})
}

func TestScripts(t *testing.T) {
	ready := prepared(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("POSTERN_STATE_DIR", filepath.Join(e.WorkDir, ".state"))
			e.Setenv("XDG_RUNTIME_DIR", filepath.Join(e.WorkDir, ".run"))
			e.Setenv("HOME", filepath.Join(e.WorkDir, "home"))
			e.Setenv("TZ", "UTC")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"authority": func(ts *testscript.TestScript, neg bool, args []string) { copyAuthority(ts, ready(), args) },
			"field":     field,
			"port":      port,
			"csr":       csr,
			"mode":      mode,
			"code":      code,
			"until":     until,
			"begin":     begin,
			"glob":      glob,
			"fill":      fill,
		},
	})
}

// prepared returns the folder of an authority that is made once for all
// scripts, since sealing its root takes a while.
func prepared(t *testing.T) func() string {
	dir := filepath.Join(t.TempDir(), "postern-data")
	return sync.OnceValue(func() string {
		var out bytes.Buffer
		code := cli.Main(t.Context(), cli.Env{
			Args: []string{"init", "--data", dir}, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out,
			Getenv: func(string) string { return "" }, Now: time.Now, StdoutTerminal: true,
		})
		if code != 0 {
			t.Fatalf("init: %s", out.String())
		}
		return dir
	})
}

// authority [DIR] puts a ready data folder in place, ./postern-data by default.
func copyAuthority(ts *testscript.TestScript, from string, args []string) {
	to := ts.MkAbs("postern-data")
	if len(args) > 0 {
		to = ts.MkAbs(args[0])
	}
	ts.Check(os.CopyFS(to, os.DirFS(from)))
	ts.Check(os.Chmod(to, 0o700))
	for _, secret := range []string{"ledger.key", "root.key.age", "issuers/clients-1.key", "issuers/servers-1.key", "postern.db"} {
		ts.Check(os.Chmod(filepath.Join(to, secret), 0o600))
	}
}

// field VAR KEY sets a variable to a field of the JSON that the last command
// printed; of an array, to that of its first element.
func field(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: field VAR KEY")
	}
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &v))
	if all, ok := v.([]any); ok && len(all) > 0 {
		v = all[0]
	}
	object, _ := v.(map[string]any)
	value, ok := object[args[1]]
	if !ok {
		ts.Fatalf("no field %q in %v", args[1], v)
	}
	ts.Setenv(args[0], fmt.Sprint(value))
}

// port VAR... sets variables to ports that are free together with the next one.
func port(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		port, err := freePort()
		ts.Check(err)
		ts.Setenv(name, fmt.Sprint(port))
	}
}

// csr FILE [weak|forged] writes a certificate request that asks for names it
// will not get: with a good key, a weak one, or another's signature.
func csr(ts *testscript.TestScript, neg bool, args []string) {
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: "root of all"}, DNSNames: []string{"bank.example"}}
	kind := "good"
	if len(args) > 1 {
		kind = args[1]
	}
	var der []byte
	var err error
	switch kind {
	case "weak":
		key, err := rsa.GenerateKey(rand.Reader, 1024)
		ts.Check(err)
		der, err = x509.CreateCertificateRequest(rand.Reader, template, key)
		ts.Check(err)
	default:
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		ts.Check(err)
		der, err = x509.CreateCertificateRequest(rand.Reader, template, key)
		ts.Check(err)
	}
	if kind == "forged" {
		der = bytes.Replace(der, []byte("bank.example"), []byte("bonk.example"), 1)
	}
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), 0o600))
}

// begin VAR TEXT N sets a variable to the first N letters of a text.
func begin(ts *testscript.TestScript, neg bool, args []string) {
	n, err := strconv.Atoi(args[2])
	ts.Check(err)
	ts.Setenv(args[0], args[1][:n])
}

// glob PATTERN N counts the files that match.
func glob(ts *testscript.TestScript, neg bool, args []string) {
	found, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	if fmt.Sprint(len(found)) != args[1] {
		ts.Fatalf("%d files match %s: %s", len(found), args[0], found)
	}
}

// fill FROM TO writes a file with the script's variables filled in, at once.
func fill(ts *testscript.TestScript, neg bool, args []string) {
	text := os.Expand(ts.ReadFile(args[0]), ts.Getenv)
	to := ts.MkAbs(args[1])
	ts.Check(os.WriteFile(to+".new", []byte(text), 0o600))
	ts.Check(os.Rename(to+".new", to))
}

// mode FILE BITS compares a file's permissions.
func mode(ts *testscript.TestScript, neg bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[1] {
		ts.Fatalf("%s has mode %s, not %s", args[0], got, args[1])
	}
}

// code N PROGRAM... runs a program and compares its exit code.
func code(ts *testscript.TestScript, neg bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("exit code %d, not %s", got, args[0])
	}
}

// until PATTERN PROGRAM... runs a program again and again until its output
// matches.
func until(ts *testscript.TestScript, neg bool, args []string) {
	pattern, err := regexp.Compile(args[0])
	ts.Check(err)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		ts.Exec(args[1], args[2:]...)
		if pattern.MatchString(ts.ReadFile("stdout")) {
			return
		}
	}
	ts.Fatalf("%s never matched %s", args[1:], args[0])
}
