package explain

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/chain"
	"github.com/postern-project/postern/internal/refusal"
)

// Each of zlint's test certificates, odd ones and broken ones, is explained in
// time and without a lie: it is said to have ended when it has and only then,
// what Go's parser cannot read is told in the parser's words, and none of them
// is good under a root that did not issue it.
func TestCertificatesOfZlint(t *testing.T) {
	t.Parallel()
	ours := issue(t, "Example root", nil, ca)
	read, unread := 0, 0
	for _, path := range zlintCertificates(t) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(path)
		// as it is, with what openssl says of it before the block
		inTime(t, name, func() { Files([]File{{name, data}}, Options{System: x509.NewCertPool(), Now: now}) })
		block, _ := pem.Decode(data)
		if block == nil || block.Type != "CERTIFICATE" {
			continue
		}
		var r Report
		inTime(t, name, func() {
			r = Files([]File{{name, pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes})}}, Options{Roots: certs(ours), Now: now})
		})
		var text strings.Builder
		if err := r.WriteText(&text, false); err != nil {
			t.Fatal(err)
		}
		checkText(t, text.String())
		if r.OK || r.Advice == "" || strings.Contains(text.String(), "Nothing is wrong") {
			t.Errorf("%s is good under a root that did not issue it:\n%s", name, &text)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			unread++
			if want := chain.Printable(err.Error()); len(block.Bytes) <= chain.MaxDER && !strings.Contains(details(r.Steps), want) {
				t.Errorf("%s: want %q in\n%s", name, want, &text)
			}
			continue
		}
		read++
		if chain.Bounds([]*x509.Certificate{c}) != nil {
			continue // and no more is said of it
		}
		if said, is := has(r.Steps, refusal.Expired), now.After(c.NotAfter); said != is {
			t.Errorf("%s ends on %v and is said to have ended: %v\n%s", name, c.NotAfter, said, &text)
		}
		if said, is := has(r.Steps, refusal.NotYetValid), now.Before(c.NotBefore) && !now.After(c.NotAfter); said != is {
			t.Errorf("%s begins on %v and is said to be early: %v\n%s", name, c.NotBefore, said, &text)
		}
	}
	t.Logf("%d explained, %d that cannot be read", read, unread)
	if read < 1000 || unread == 0 {
		t.Errorf("%d read and %d not: where are zlint's certificates?", read, unread)
	}
}

func zlintCertificates(t *testing.T) []string {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/zmap/zlint/v3").Output()
	if err != nil {
		t.Fatalf("find zlint: %v", err)
	}
	paths, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "testdata", "*.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// inTime has f end before long.
func inTime(t *testing.T, name string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatalf("%s is not explained after a minute", name)
	}
}

func details(steps []chain.Step) string {
	var all strings.Builder
	for _, s := range steps {
		all.WriteString(s.Detail + "\n" + details(s.Children))
	}
	return all.String()
}

func has(steps []chain.Step, code refusal.Code) bool {
	return slices.ContainsFunc(steps, func(s chain.Step) bool { return !s.OK && s.Code == code || has(s.Children, code) })
}
