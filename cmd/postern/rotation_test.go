package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func parsePEM(t testing.TB, data []byte) []*x509.Certificate {
	t.Helper()
	var all []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		t.Fatal("no certificate")
	}
	return all
}

// Visitors who make a handshake for every request, some resumed, do not notice
// that the issuers are replaced again and again under them.
func TestNoHandshakeFailsWhileIssuersRotate(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "localhost="+site(t, "the page"))
	d.open()
	d.rootPassphrase()
	stop, visits := d.visitors(t, 4)
	for round := range 5 {
		for _, line := range []string{"clients", "servers"} {
			seen := visits.Load()
			d.run("issuer", "rotate", line, "--root-key", d.rootKey())
			d.run("issuer", "rotate", line)
			d.run("issue", fmt.Sprintf("ben/%s-%d", line, round), "--out", filepath.Join(d.home, line, fmt.Sprint(round)))
			more(t, visits, seen+4) // the load goes on
		}
	}
	stop()
	out := d.run("issuer", "list")
	if !strings.Contains(out, "clients-6") || strings.Count(out, " active ") != 2 || strings.Count(out, " former ") != 10 {
		t.Errorf("after ten rotations:\n%s", out)
	}
	t.Logf("%d handshakes", visits.Load())
}

// more waits until there were as many visits.
func more(t *testing.T, visits *atomic.Int64, want int64) {
	t.Helper()
	for end := time.Now().Add(time.Minute); visits.Load() < want; time.Sleep(5 * time.Millisecond) {
		if t.Failed() || time.Now().After(end) {
			t.Fatal("the visitors came to a stop")
		}
	}
}

// visitors has n devices come again and again until stop is called. The first
// visit that fails ends the test.
func (d *door) visitors(t *testing.T, n int) (stop func(), visits *atomic.Int64) {
	t.Helper()
	visits = new(atomic.Int64)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range n {
		dir := d.enrol(fmt.Sprintf("visitor/%d", i))
		cfg := d.tls(dir, "localhost")
		cfg.ClientSessionCache = tls.NewLRUClientSessionCache(4)
		c := d.client(cfg)
		c.Transport.(*http.Transport).DisableKeepAlives = true
		wg.Go(func() {
			for ctx.Err() == nil {
				req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodGet, "https://localhost:"+d.port()+"/", nil)
				if err != nil {
					t.Error(err)
					return
				}
				resp, err := c.Do(req)
				if err != nil {
					t.Errorf("a handshake failed: %v", err)
					return
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					t.Errorf("a visitor got %s", resp.Status)
					return
				}
				visits.Add(1)
			}
		})
	}
	return func() { cancel(); wg.Wait() }, visits
}

// openssl verifies what the door issues, from the root down, as programs do that
// know nothing of the ledger.
func opensslVerify(t *testing.T, root, chain string, args ...string) (string, bool) {
	t.Helper()
	args = append([]string{"verify", "-CAfile", root, "-untrusted", chain}, args...)
	out, err := exec.Command("openssl", append(args, chain)...).CombinedOutput()
	return string(out), err == nil
}

// The root is replaced while everybody comes and goes: devices that know only
// the old one work until they renew and learn of the new one then; invitations
// that name the old one are good; and once it is retired, nothing that was
// issued under it stops.
func TestTheRootIsReplacedUnderEverybody(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "localhost="+site(t, "the page"))
	d.open()
	d.rootPassphrase()
	ben := d.enrol("ben/laptop")
	oldRoot, err := os.ReadFile(filepath.Join(d.data, "root.pem"))
	if err != nil {
		t.Fatal(err)
	}
	invited := d.invitation("anna/phone")
	stop, visits := d.visitors(t, 2)

	next, answer := filepath.Join(d.home, "safe2"), filepath.Join(d.home, "succession.answer")
	d.run("root", "create", "--out", next) // sealed with the same passphrase
	d.run("root", "cross-sign", "--root-key", d.rootKey(), "--new-key", filepath.Join(next, "root.key.age"), "--out", answer)
	d.run("root", "apply", answer)
	for _, line := range []string{"clients", "servers"} {
		d.run("issuer", "rotate", line, "--root-key", filepath.Join(next, "root.key.age"))
		d.run("issuer", "rotate", line)
	}
	bundle, err := os.ReadFile(filepath.Join(d.data, "root.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if roots := parsePEM(t, bundle); len(roots) != 2 || !bytes.Equal(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: roots[1].Raw}), oldRoot) {
		t.Fatalf("root.pem holds %d roots, the new one first", len(roots))
	}

	// an invitation that names the old root, and one that names the new one
	anna := filepath.Join(d.home, "anna")
	d.run("join", invited, "--out", anna)
	carol := d.enrol("carol/phone")
	// a site's certificate of the new root, seen by those who know one root only
	d.run("issue", "services/web", "--profile", "server", "--dns", "web.internal", "--out", filepath.Join(d.home, "web"))
	for who, root := range map[string][]byte{"the old root only": oldRoot, "the new root only": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: parsePEM(t, bundle)[0].Raw})} {
		path := filepath.Join(t.TempDir(), "root.pem")
		if err := os.WriteFile(path, root, 0o644); err != nil {
			t.Fatal(err)
		}
		if out, ok := opensslVerify(t, path, filepath.Join(d.home, "web", "cert.pem")); !ok {
			t.Errorf("%s: openssl says %s", who, out)
		}
	}
	for who, dir := range map[string]string{"from before": ben, "invited before": anna, "invited after": carol} {
		if page := curl(t, d, dir, "localhost"); !strings.Contains(page, "the page") {
			t.Errorf("a device %s got %q", who, page)
		}
	}
	if out, code := d.try("root", "request", "--retire", parsePEM(t, oldRoot)[0].Subject.CommonName); code == 0 {
		t.Errorf("retired while machines have no other root: %s", out)
	}
	// renewing brings the new root
	d.run("renew", ben)
	known, err := os.ReadFile(filepath.Join(ben, "root.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if roots := parsePEM(t, known); !roots[0].Equal(parsePEM(t, bundle)[0]) {
		t.Errorf("after renewing the device knows %s", roots[0].Subject)
	}
	// retired all the same: the visitors never renewed and go on
	d.run("root", "request", "--retire", parsePEM(t, oldRoot)[0].Subject.CommonName, "--force", "--root-key", filepath.Join(next, "root.key.age"))
	more(t, visits, visits.Load()+4)
	stop()
	for who, dir := range map[string]string{"renewed": ben, "from before, never renewed": filepath.Join(d.home, "devices", "visitor", "0")} {
		if page := curl(t, d, dir, "localhost"); !strings.Contains(page, "the page") {
			t.Errorf("after the old root's end a device %s got %q", who, page)
		}
	}
	if out := d.run("ledger", "verify"); !strings.Contains(out, "as it was written") {
		t.Error(out)
	}
	d.kill()
	d.open()
	if page := curl(t, d, ben, "localhost"); !strings.Contains(page, "the page") {
		t.Errorf("after a restart: %q", page)
	}
}
