//go:build judges

package chain

import (
	"crypto/x509"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// betterTLS is the version of Netflix's suite that is asked.
const betterTLS = "github.com/Netflix/bettertls@v0.0.0-20250909192348-e1e99e353074"

// A betterCase is a chain of the suite, and what has to become of it.
type betterCase struct {
	ID           int      `json:"id"`
	Certificates [][]byte `json:"certificates"`
	Hostname     string   `json:"hostname"`
	Expected     string   `json:"expected"`
}

// Of the chains of Netflix BetterTLS every one that is to be refused is refused,
// and every good one is taken, but for those with more certificates than are
// read. Explain says of each what the verifier says. 'make judges' runs it.
func TestBetterTLS(t *testing.T) {
	root, suites := betterSuites(t)
	now := time.Now()
	for name, cases := range suites {
		anchors := Anchors{Roots: []*x509.Certificate{root}}
		v := NewVerifier(anchors, Server)
		var accepted, refused, beyond, unread int
		for _, c := range cases {
			var presented []*x509.Certificate
			readable := true
			for _, der := range c.Certificates {
				cert, err := x509.ParseCertificate(der)
				if err != nil {
					readable = false // as in a handshake, which ends there
					break
				}
				presented = append(presented, cert)
			}
			if !readable {
				if unread++; c.Expected == "ACCEPT" {
					t.Errorf("%s %d: a good chain cannot be read", name, c.ID)
				}
				continue
			}
			good := v.Verify(presented, now).OK() && presented[0].VerifyHostname(c.Hostname) == nil
			switch {
			case good && c.Expected == "REJECT":
				t.Errorf("%s %d: a bad chain is taken", name, c.ID)
			case !good && c.Expected == "ACCEPT" && len(presented) > MaxPresented:
				beyond++
			case !good && c.Expected == "ACCEPT":
				t.Errorf("%s %d: a good chain is refused: %+v", name, c.ID, v.Verify(presented, now))
			case good:
				accepted++
			default:
				refused++
			}
			told := true
			for _, s := range Explain(presented, anchors, Server, c.Hostname, now) {
				told = told && s.OK
			}
			if told != good {
				t.Errorf("%s %d: explain says %v, the verifier %v", name, c.ID, told, good)
			}
		}
		t.Logf("%s: %d chains, %d taken, %d refused, %d refused in reading, %d good ones with too many certificates", name, len(cases), accepted, refused, unread, beyond)
	}
}

// betterSuites fetches the suite and has it write its chains.
func betterSuites(t *testing.T) (*x509.Certificate, map[string][]betterCase) {
	t.Helper()
	var module struct{ Dir string }
	out, err := exec.Command("go", "mod", "download", "-json", betterTLS).Output()
	if err == nil {
		err = json.Unmarshal(out, &module)
	}
	if err != nil {
		t.Fatalf("fetch %s: %v", betterTLS, err)
	}
	path := filepath.Join(t.TempDir(), "tests.json")
	export := exec.Command("go", "run", "./test-suites/cmd/bettertls", "export-tests", "--out", path)
	export.Dir, export.Env = module.Dir, append(os.Environ(), "GOFLAGS=-mod=mod")
	if out, err := export.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(export.Args, " "), err, out)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		Root   []byte `json:"trustRoot"`
		Suites map[string]struct {
			Cases []betterCase `json:"testCases"`
		} `json:"suites"`
	}
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	root, err := x509.ParseCertificate(all.Root)
	if err != nil {
		t.Fatal(err)
	}
	suites := map[string][]betterCase{}
	for name, s := range all.Suites {
		suites[name] = s.Cases
	}
	return root, suites
}
