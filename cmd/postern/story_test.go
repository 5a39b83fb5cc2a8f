package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// site makes a folder with one page that says text.
func site(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "index.html"), []byte("<!doctype html><title>"+text+"</title><p>"+text), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// curl runs the real curl as the device whose files lie in dir.
func curl(t *testing.T, d *door, dir, host string, args ...string) string {
	t.Helper()
	args = append(args, "-sS", "--max-time", "20", "--resolve", host+":"+d.port()+":127.0.0.1", "--cacert", filepath.Join(d.data, "root.pem"))
	if dir != "" {
		args = append(args, "--cert", filepath.Join(dir, "cert.pem"), "--key", filepath.Join(dir, "key.pem"))
	}
	out, err := exec.Command("curl", append(args, "https://"+host+":"+d.port()+"/")...).CombinedOutput()
	if err != nil {
		t.Fatalf("curl: %v\n%s\nserver said:\n%s", err, out, d.output)
	}
	return string(out)
}

// The main job: an empty folder becomes a private site, a first and a second
// person come in, and one of them is put out again while no file on the server
// changes.
func TestFromAnEmptyFolderToAPrivateSite(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "localhost="+site(t, "the page"))
	d.open()
	laptop := d.enrol("ben/laptop")
	if page := curl(t, d, laptop, "localhost"); !strings.Contains(page, "the page") {
		t.Fatalf("an enrolled laptop got %q", page)
	}
	phone := d.enrol("anna/phone")
	if page := curl(t, d, phone, "localhost"); !strings.Contains(page, "the page") {
		t.Fatalf("the second person got %q", page)
	}
	d.run("revoke", "anna/phone")
	if page := curl(t, d, phone, "localhost"); !strings.Contains(page, "revoked") {
		t.Fatalf("after revoke the phone got %q", page)
	}
	if page := curl(t, d, laptop, "localhost"); !strings.Contains(page, "the page") {
		t.Fatalf("the other device got %q", page)
	}
	d.kill()
	d.open()
	if page := curl(t, d, laptop, "localhost"); !strings.Contains(page, "the page") {
		t.Fatalf("after a kill the laptop got %q", page)
	}
	if page := curl(t, d, phone, "localhost"); !strings.Contains(page, "revoked") {
		t.Fatalf("after a kill the revoked phone got %q", page)
	}
	if out := d.run("ledger", "verify"); !strings.Contains(out, "as it was written") {
		t.Fatalf("ledger verify said %q", out)
	}
}

// forge makes a certificate as a thief would who holds key, the key of issuer.
func forge(t *testing.T, issuer *x509.Certificate, key any, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: "ben/laptop"},
		URIs:         []*url.URL{{Scheme: "spiffe", Host: "postern.internal", Path: "/ben/laptop"}},
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	if change != nil {
		change(template)
	}
	parent := issuer
	if parent == nil {
		parent, key = template, own
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &own.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	chain := [][]byte{der}
	if issuer != nil {
		chain = append(chain, issuer.Raw)
	}
	return tls.Certificate{Certificate: chain, PrivateKey: own}
}

// stolen reads an issuer's certificate and key from the data folder.
func stolen(t *testing.T, d *door, name string) (*x509.Certificate, any) {
	t.Helper()
	read := func(ext string) []byte {
		data, err := os.ReadFile(filepath.Join(d.data, "issuers", name+ext))
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(data)
		if block == nil {
			t.Fatalf("issuers/%s%s holds no PEM block", name, ext)
		}
		return block.Bytes
	}
	cert, err := x509.ParseCertificate(read(".pem"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.ParsePKCS8PrivateKey(read(".key"))
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// Whoever is turned away, the operator's log and 'postern explain' name the
// same cause.
func TestEveryoneIsToldTheSameCause(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "localhost="+site(t, "the secret page"))
	d.open()
	d.enrol("ben/laptop")
	issuer, key := stolen(t, d, "clients-1")

	foreignKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	foreign := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "Another CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, foreign, foreign, &foreignKey.PublicKey, foreignKey)
	if err != nil {
		t.Fatal(err)
	}
	if foreign, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}

	for want, cert := range map[string]*tls.Certificate{
		"no-certificate": nil,
		"self-signed":    new(forge(t, nil, nil, nil)),
		"unknown-issuer": new(forge(t, foreign, foreignKey, nil)),
		"expired":        new(forge(t, issuer, key, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })),
		"not-yet-valid":  new(forge(t, issuer, key, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) })),
		"wrong-purpose": new(forge(t, issuer, key, func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		})),
		"not-in-ledger": new(forge(t, issuer, key, nil)),
	} {
		t.Run(want, func(t *testing.T) {
			cfg := d.tls("", "localhost")
			if cert != nil {
				cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
			}
			status, body, p := d.get(d.client(cfg), "localhost")
			if strings.Contains(body, "secret page") || status == http.StatusOK {
				t.Fatalf("was let in: %d %s", status, body)
			}
			if p.Code != want || p.Remedy == "" || p.Reference == "" {
				t.Fatalf("the visitor was told %+v, want code %s with remedy and reference", p, want)
			}
			// the line is written when the answer has been sent
			logged := func() bool {
				log := d.output.String()
				return strings.Contains(log, want) && strings.Contains(log, p.Reference)
			}
			for end := time.Now().Add(5 * time.Second); !logged() && time.Now().Before(end); {
				time.Sleep(5 * time.Millisecond)
			}
			if !logged() {
				t.Errorf("the log does not tell of %s and %s:\n%s", want, p.Reference, d.output)
			}
			told, code := d.try("explain", p.Reference)
			if code != 0 && code != 1 || !strings.Contains(told, want) {
				t.Errorf("explain %s exited with %d and said:\n%s", p.Reference, code, told)
			}
		})
	}
	// theft is an alarm
	alarmed := false
	for line := range strings.Lines(d.output.String()) {
		if strings.Contains(line, "not-in-ledger") && strings.Contains(line, "ERROR") {
			alarmed = true
		}
	}
	if !alarmed {
		t.Errorf("a certificate made with the stolen key raised no error in the log:\n%s", d.output)
	}
}

// I13: whoever can write to the database, but not sign the ledger, changes
// nothing about who gets in.
func TestARowInAViewLetsNobodyIn(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "localhost="+site(t, "the page"))
	d.open()
	laptop := d.enrol("ben/laptop")
	issuer, key := stolen(t, d, "clients-1")
	forged := forge(t, issuer, key, nil)
	d.run("revoke", "ben/laptop")
	d.kill()
	tamper(t, filepath.Join(d.data, "postern.db"), forged.Certificate[0])
	d.open()
	cfg := d.tls("", "localhost")
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &forged, nil }
	if status, _, p := d.get(d.client(cfg), "localhost"); status == http.StatusOK || p.Code != "not-in-ledger" {
		t.Errorf("the forged certificate with a row of its own: %d %s", status, p.Code)
	}
	if status, _, p := d.get(d.client(d.tls(laptop, "localhost")), "localhost"); status == http.StatusOK || p.Code != "revoked" {
		t.Errorf("the revoked certificate with a cleared row: %d %s", status, p.Code)
	}
	out, code := d.try("ledger", "verify")
	if code == 0 || !strings.Contains(out, "certificate") {
		t.Errorf("ledger verify exited with %d and said:\n%s", code, out)
	}
}

// echo is an application with a page, a WebSocket and nothing else.
func echo(t *testing.T) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "hello "+r.Header.Get("X-Postern-Identity"))
	})
	mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		for {
			kind, data, err := c.Read(r.Context())
			if err != nil {
				return
			}
			if err := c.Write(r.Context(), kind, data); err != nil {
				return
			}
		}
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// Revoking ends access now: the open keep-alive connection, the open
// WebSocket, the resumed session, and a certificate that was renewed before.
func TestRevocationIsNow(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "localhost="+site(t, "another site"), "app.test="+echo(t).URL)
	d.open()
	dir := d.enrol("anna/phone")

	cfg := d.tls(dir, "app.test")
	cfg.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	client := d.client(cfg)
	if status, body, _ := d.get(client, "app.test"); status != http.StatusOK || body != "hello anna/phone" {
		t.Fatalf("before: %d %q", status, body)
	}
	raw, err := tls.Dial("tcp", d.addr, cfg.Clone())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if err := raw.Handshake(); err != nil {
		t.Fatal(err)
	}
	if !raw.ConnectionState().DidResume {
		t.Fatal("the second connection did not resume, so the test would prove nothing about tickets")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	// HTTP/1.1 for the WebSocket
	wsTransport := client.Transport.(*http.Transport).Clone()
	wsTransport.ForceAttemptHTTP2 = false
	wsTransport.TLSClientConfig = d.tls(dir, "app.test")
	socket, _, err := websocket.Dial(ctx, "wss://app.test:"+d.port()+"/ws", &websocket.DialOptions{HTTPClient: &http.Client{Transport: wsTransport}})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.CloseNow()
	if err := socket.Write(ctx, websocket.MessageText, []byte("ping")); err != nil {
		t.Fatal(err)
	}
	if _, data, err := socket.Read(ctx); err != nil || string(data) != "ping" {
		t.Fatalf("echo: %q %v", data, err)
	}

	// the idle connections and the socket are cut by the command, not by use
	cut := make(chan time.Time, 2)
	go func() { socket.Read(ctx); cut <- time.Now() }()
	go func() { io.Copy(io.Discard, raw); cut <- time.Now() }()
	begin := time.Now()
	d.run("revoke", "anna/phone")
	done := time.Now()
	for range 2 {
		select {
		case at := <-cut:
			t.Logf("cut %v after the command began, %v after it ended", at.Sub(begin).Round(time.Millisecond), at.Sub(done).Round(time.Millisecond))
		case <-time.After(10 * time.Second):
			t.Fatal("a connection lives on after the revocation")
		}
	}
	for try, c := range map[string]*http.Client{"the same client": client, "a resumed session": d.client(cfg), "a new handshake": d.client(d.tls(dir, "app.test"))} {
		if status, _, p := d.get(c, "app.test"); status == http.StatusOK || p.Code != "revoked" {
			t.Errorf("%s: %d %s", try, status, p.Code)
		}
	}
}

// Revoking a name covers what was renewed from its certificates, and a revoked
// certificate renews nothing.
func TestARenewedCertificateIsRevokedWithItsLineage(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "localhost="+site(t, "the page"))
	d.open()
	dir := d.enrol("anna/phone")
	old := d.tls(dir, "localhost")
	var first struct{ Serial string }
	if err := json.Unmarshal([]byte(d.run("list", "certificates", "--json")), &[]any{}); err != nil {
		t.Fatal(err)
	}
	first.Serial = serialOf(t, old)
	d.run("renew", dir)
	renewed := d.tls(dir, "localhost")
	if serialOf(t, renewed) == first.Serial {
		t.Fatal("renew left the old certificate in place")
	}
	for name, cfg := range map[string]*tls.Config{"old": old, "renewed": renewed} {
		if status, _, p := d.get(d.client(cfg), "localhost"); status != http.StatusOK {
			t.Fatalf("the %s certificate before: %d %s", name, status, p.Code)
		}
	}
	d.run("revoke", first.Serial)
	for name, cfg := range map[string]*tls.Config{"old": old, "renewed": renewed} {
		if status, _, p := d.get(d.client(cfg), "localhost"); status == http.StatusOK || p.Code != "revoked" {
			t.Errorf("the %s certificate after revoking the old: %d %s", name, status, p.Code)
		}
	}
	if out, code := d.try("renew", dir); code != 1 || !strings.Contains(out, "revoked") {
		t.Errorf("renew of a revoked certificate exited with %d: %s", code, out)
	}
}

func serialOf(t *testing.T, cfg *tls.Config) string {
	t.Helper()
	leaf, err := x509.ParseCertificate(cfg.Certificates[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return leaf.SerialNumber.Text(16) // without leading zeros: the commands have to know it all the same
}

// I11: a data folder that was put back from last week refuses to serve, says
// how to go on, and after the loss was accepted the devices enrolled since are
// strangers that are not called thieves.
func TestAnOlderCopyOfTheDataFolderRefuses(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "localhost="+site(t, "the page"))
	d.open()
	before := d.enrol("ben/laptop")
	d.kill()
	lastWeek := filepath.Join(d.home, "last-week")
	if out, err := exec.Command("cp", "-a", d.data, lastWeek).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	d.open()
	lost := d.enrol("anna/phone")
	d.witnessed()
	d.kill()
	if err := os.RemoveAll(d.data); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(lastWeek, d.data); err != nil {
		t.Fatal(err)
	}
	d.start()
	if code := d.wait(); code != 1 || !strings.Contains(d.output.String(), "restore --accept-loss") {
		t.Fatalf("up on the older copy exited with %d and said:\n%s", code, d.output)
	}
	d.run("restore", "--accept-loss")
	d.open()
	if status, _, p := d.get(d.client(d.tls(before, "localhost")), "localhost"); status != http.StatusOK {
		t.Errorf("a device from before the loss: %d %s", status, p.Code)
	}
	if status, _, p := d.get(d.client(d.tls(lost, "localhost")), "localhost"); status == http.StatusOK || p.Code != "stale-roster" {
		t.Errorf("a device from the lost part: %d %s, want stale-roster", status, p.Code)
	}
}

// I10: whatever was acknowledged before a kill is there after it.
func TestKillLosesNothingThatWasAcknowledged(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "localhost="+site(t, "the page"))
	d.open()
	names := make(chan string, 64)
	go func() {
		defer close(names)
		for i := range 40 {
			name := "load/n" + big.NewInt(int64(i)).String()
			path, err := binary()
			if err != nil {
				return
			}
			cmd := exec.Command(path, "issue", name, "--out", filepath.Join(d.home, "issued", name), "--json", "--data", d.data)
			cmd.Env = d.environ()
			if out, err := cmd.Output(); err != nil || !bytes.Contains(out, []byte("serial")) {
				return
			}
			names <- name
		}
	}()
	var acknowledged []string
	for name := range names {
		acknowledged = append(acknowledged, name)
		if len(acknowledged) == 8 {
			d.cmd.Process.Kill()
			<-d.exited
			break
		}
	}
	for name := range names {
		acknowledged = append(acknowledged, name)
	}
	d.cmd = nil
	d.open()
	list := d.run("list", "certificates", "--json")
	for _, name := range acknowledged {
		if !strings.Contains(list, `"`+name+`"`) {
			t.Errorf("%s was acknowledged and is gone", name)
		}
	}
	d.run("ledger", "verify")
}

// A stranger can neither exhaust the door nor hold it open.
func TestHostileClientsAreTurnedAwayCleanly(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "localhost="+site(t, "the page"))
	d.open()
	laptop := d.enrol("ben/laptop")
	t.Run("a header of one megabyte", func(t *testing.T) {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://localhost:"+d.port()+"/", nil)
		req.Header.Set("X-Large", strings.Repeat("a", 1<<20))
		resp, err := d.client(d.tls(laptop, "localhost")).Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
				t.Errorf("status %d, want 431", resp.StatusCode)
			}
		}
	})
	t.Run("one byte a second", func(t *testing.T) {
		conn, err := net.Dial("tcp", d.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		begin := time.Now()
		go func() {
			for _, b := range []byte{22, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0} {
				if _, err := conn.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		conn.SetReadDeadline(time.Now().Add(25 * time.Second))
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
	})
	if page := curl(t, d, laptop, "localhost"); !strings.Contains(page, "the page") {
		t.Errorf("afterwards the laptop got %q", page)
	}
}

// An application that is down is a refusal with a reason, not a hang.
func TestAnApplicationThatIsDownIsSaidToBeDown(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	d := newDoor(t, "localhost=http://"+address)
	d.open()
	laptop := d.enrol("ben/laptop")
	begin := time.Now()
	status, _, p := d.get(d.client(d.tls(laptop, "localhost")), "localhost")
	if status != http.StatusBadGateway || p.Code != "upstream-down" {
		t.Errorf("got %d %+v", status, p)
	}
	if took := time.Since(begin); took > 15*time.Second {
		t.Errorf("it took %v", took)
	}
}
