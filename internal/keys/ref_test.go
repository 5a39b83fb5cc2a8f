package keys

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2/transport"
)

func TestReferencesToTokens(t *testing.T) {
	for ref, says := range map[string]string{
		"pkcs11:token=root;object=key?module-path=/usr/lib/p.so":              "",
		"pkcs11:token=my%20token;object=key;type=private?module-path=/p.so":   "",
		"pkcs11:token=root;object=key":                                        "missing",
		"pkcs11:object=key?module-path=/p.so":                                 "missing",
		"pkcs11:token=root;object=key?module-path=/p.so&pin-value=1234":       "does not belong into the URI",
		"pkcs11:token=root;object=key?module-path=/p.so&pin-source=file:/pin": "does not belong into the URI",
		"pkcs11:token=root;object=key;type=cert?module-path=/p.so":            "private key",
		"pkcs11:token=root;slot=1;object=key?module-path=/p.so":               "means nothing here",
		"pkcs11:token=%zz;object=key?module-path=/p.so":                       "cannot be read",
		"pkcs11:token=a%00;object=key?module-path=/p.so":                      "cannot be read",
	} {
		_, err := parsePKCS11(ref)
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: %v, want %q", ref, err, says)
		}
	}
	for ref, want := range map[string]tpmRef{
		"tpm:0x81000001":                  {0x81000001, defaultTPM},
		"tpm:2164260865":                  {0x81000001, defaultTPM},
		"tpm:0x81000002?path=/run/a%20b":  {0x81000002, "/run/a b"},
		"tpm:0x80000001":                  {},
		"tpm:0x81800000":                  {},
		"tpm:":                            {},
		"tpm:root":                        {},
		"tpm:0x81000001?device=/dev/tpm0": {},
		"tpm:0x81000001?path=":            {},
	} {
		got, err := parseTPM(ref)
		if (err == nil) != (want != tpmRef{}) || err == nil && got != want {
			t.Errorf("%s: %+v, %v", ref, got, err)
		}
	}
}

func FuzzParseRefs(f *testing.F) {
	f.Add("pkcs11:token=root;object=key?module-path=/p.so")
	f.Add("tpm:0x81000001?path=/x")
	f.Fuzz(func(t *testing.T, ref string) {
		if u, err := parsePKCS11(ref); err == nil && (u.token == "" || u.object == "" || u.module == "") {
			t.Errorf("%q names no key and was accepted", ref)
		}
		if u, err := parseTPM(ref); err == nil && (u.handle < firstHandle || u.handle > lastHandle || u.path == "") {
			t.Errorf("%q names no key and was accepted", ref)
		}
	})
}

func TestTokenErrorsSayHowManyTriesAreLeft(t *testing.T) {
	for _, c := range []struct {
		err  TokenError
		says string
	}{
		{TokenError{Msg: "wrong PIN", WrongPIN: true, Tries: 3}, "3 tries are left"},
		{TokenError{Msg: "wrong PIN", WrongPIN: true, Tries: 1}, "1 try is left"},
		{TokenError{Msg: "wrong PIN", WrongPIN: true, Tries: 0}, "it is locked now"},
		{TokenError{Msg: "wrong PIN", WrongPIN: true, Tries: -1}, "does not say how many"},
		{TokenError{Msg: "gone", Tries: -1, Err: errors.New("EOF")}, "gone (EOF)"},
	} {
		if got := c.err.Error(); !strings.Contains(got, c.says) {
			t.Errorf("%s, want %q", got, c.says)
		}
	}
}

// A secret is asked for once, whatever comes of it, and a PIN may be short.
func TestOneQuestion(t *testing.T) {
	asked := 0
	_, err := Hold(t.TempDir()+"/none", func(q Question) (Passphrase, error) {
		asked++
		return Passphrase{}, errors.New("nobody")
	})
	if err == nil || asked != 1 {
		t.Errorf("asked %d times, %v", asked, err)
	}
	if _, err := ParsePIN(" 1234\n"); err != nil {
		t.Error(err)
	}
	if _, err := ParsePIN("\n"); err == nil {
		t.Error("an empty PIN")
	}
	if _, err := Make("root.key.age", nil); err == nil {
		t.Error("made a key in a file without a seal")
	}
}

// A TPM that hangs ends the command and not the day.
func TestATPMThatNeverAnswers(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	go io.Copy(io.Discard, theirs)
	k := &tpmKey{tpm: patient{transport.FromReadWriteCloser(ours), 20 * time.Millisecond}, ref: tpmRef{path: "/dev/tpmrm0"}}
	_, err := k.triesLeft()
	if gone, ok := errors.AsType[*TokenError](err); !ok || !gone.Gone || !strings.Contains(err.Error(), "no answer within 20ms") {
		t.Errorf("%v", err)
	}
}
