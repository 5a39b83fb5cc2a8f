package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/authority"
)

// A certificate that looks right may still be revoked: beside the ledger, the
// ledger says so.
func TestExplainAsksTheLedger(t *testing.T) {
	inFolder(t, true)
	var w world
	w.do(t, "issue", "ben/phone", "--out", "phone")
	w.do(t, "issue", "anna/phone", "--out", "anna")
	w.do(t, "issue", "shop", "--profile", "server", "--dns", "orders.internal", "--out", "shop")
	copyFolder(t, defaultData, "before")
	w.do(t, "issue", "ben/tablet", "--out", "tablet")
	check := func(code int, want string, args ...string) {
		t.Helper()
		got := w.run(t, append([]string{"explain"}, args...)...)
		if text := plain(w.out.String()); got != code || !strings.Contains(text, want) || w.err.Len() > 0 {
			t.Errorf("exit code %d, want %d and %q in:\n%s%s", got, code, want, w.out.String(), w.err.String())
		}
	}
	check(0, "✓ ledger: issued on "+time.Now().UTC().Format(time.DateOnly), "phone/cert.pem")
	check(0, "✓ ledger: issued on ", "shop/cert.pem")
	w.do(t, "revoke", "ben/phone", "--reason", "key-compromise")
	check(1, "✗ ledger: revoked on "+time.Now().UTC().Format(time.DateOnly), "phone/cert.pem")
	check(1, "(key-compromise) → To let it in again, invite it: 'postern invite ben/phone'.", "phone/cert.pem")
	w.do(t, "suspend", "anna")
	check(1, "anna is suspended → 'postern reinstate anna' lifts it", "anna/cert.pem")
	t.Setenv("POSTERN_STATE_DIR", t.TempDir()) // a machine that never saw the newer one
	check(1, "the ledger holds no such certificate: it was not issued here", "tablet/cert.pem", "--data", "before")
	check(0, "! ledger: not asked; only the server knows whether it was revoked ✓ Nothing is wrong in the file.",
		"tablet/cert.pem", "--data", "none", "--root", filepath.Join(defaultData, "root.pem"))
	if _, err := os.Stat("none"); err == nil {
		t.Error("looking made a data folder")
	}
}

// plain is a report without its branches and line breaks.
func plain(text string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(text, "│", "")), " ")
}

func TestExplainOpensPKCS12(t *testing.T) {
	inFolder(t, true)
	var w world
	w.do(t, "issue", "ben/phone", "--out", "phone", "--p12")
	const p12, kept = "phone/identity.p12", "phone/identity.p12.password"
	if w.do(t, "explain", p12); !strings.Contains(w.out.String(), "ben/phone") {
		t.Errorf("the password beside it was not tried:\n%s", w.out.String())
	}
	if err := os.Rename(kept, "password.txt"); err != nil {
		t.Fatal(err)
	}
	w.do(t, "explain", p12, "--password-file", "password.txt")
	if code := w.run(t, "explain", p12); code != 1 || !strings.Contains(plain(w.out.String()), "could not look inside → Give its password") {
		t.Errorf("exit code %d:\n%s", code, w.out.String())
	}
	if code := w.run(t, "explain", p12, "--password-file", "none"); code != 1 || !strings.Contains(w.out.String()+w.err.String(), "none") {
		t.Errorf("exit code %d:\n%s%s", code, w.out.String(), w.err.String())
	}
}

// Who writes to a file or a pipe is not asked anything: they would not see it.
func TestAPasswordIsAskedAtATerminalOnly(t *testing.T) {
	inFolder(t, true)
	var w world
	w.do(t, "issue", "ben/phone", "--out", "phone", "--p12")
	if err := os.Remove("phone/identity.p12.password"); err != nil {
		t.Fatal(err)
	}
	for _, terminal := range []bool{true, false} {
		asked := false
		var out bytes.Buffer
		code := Main(t.Context(), Env{
			Args: []string{"explain", "phone/identity.p12"}, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out, Now: time.Now,
			Getenv: func(string) string { return "" }, StdoutTerminal: terminal, StderrTerminal: terminal,
			ReadPassword: func(string) (string, error) { asked = true; return "", errors.New("nobody") },
		})
		if code != 1 || asked != terminal {
			t.Errorf("terminal %v: exit code %d, asked %v\n%s", terminal, code, asked, out.String())
		}
	}
}

func TestASpokenReference(t *testing.T) {
	inFolder(t, false)
	if err := os.WriteFile("file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ in, want []string }{
		"two words":             {[]string{"bt6q", "scfx"}, []string{"BT6Q-SCFX"}},
		"one word":              {[]string{"bt6qscfx"}, []string{"bt6qscfx"}},
		"one of them is a file": {[]string{"file", "scfx"}, []string{"file", "scfx"}},
		"not its letters":       {[]string{"bt6q", "sc.x"}, []string{"bt6q", "sc.x"}},
		"three words":           {[]string{"bt6q", "scfx", "bt6q"}, []string{"bt6q", "scfx", "bt6q"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := spoken(c.in); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	var w world
	if w.run(t, "explain", "[::1"); !strings.Contains(w.err.String(), "closing bracket ] is missing") {
		t.Errorf("got %s", w.err.String())
	}
}

// numbered is an authority whose ledger holds one certificate.
type numbered struct {
	api.Authority
	record authority.Certificate
}

func (n numbered) Certificates(context.Context, authority.CertificateFilter) ([]authority.Certificate, error) {
	return []authority.Certificate{n.record}, nil
}

// A serial number alone proves nothing: a thief of the key may use it again.
func TestACertificateIsItsContentsAndNotItsNumber(t *testing.T) {
	c := &x509.Certificate{SerialNumber: big.NewInt(0x5eed), RawTBSCertificate: []byte("this one")}
	for tbs, want := range map[string]bool{"this one": true, "another one": false} {
		_, found, err := recordIn(t.Context(), numbered{record: authority.Certificate{TBS: sha256.Sum256([]byte(tbs))}}, c)
		if err != nil || found != want {
			t.Errorf("%s: found %v, %v", tbs, found, err)
		}
	}
}
