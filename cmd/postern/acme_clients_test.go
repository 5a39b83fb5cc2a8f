package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
)

// certbot from Debian: http-01 by its own server.
func certbot(t *testing.T, h *acmeHouse) {
	const host = "certbot.acme.internal"
	h.dns.setAddress(host, "127.0.0.2")
	b, dir := h.bind("services/certbot"), t.TempDir()
	run := func(args ...string) string {
		return h.must(t, []string{"REQUESTS_CA_BUNDLE=" + h.root}, "certbot", append(args, "--non-interactive",
			"--config-dir", dir, "--work-dir", dir, "--logs-dir", dir, "--server", b.Directory)...)
	}
	standalone := []string{"--standalone", "--http-01-address", "127.0.0.2", "--http-01-port", fmt.Sprint(h.httpPort), "--no-random-sleep-on-renew"}
	run(append(standalone, "certonly", "--agree-tos", "-m", "ops@example.com", "--eab-kid", b.Kid, "--eab-hmac-key", b.HMACKey, "-d", host)...)
	path := filepath.Join(dir, "live", host, "fullchain.pem")
	first := h.leaf(t, path, host)
	if got := h.shown(t, first); got.Name != "services/certbot" || got.Via != "acme" || got.Status != "good" {
		t.Errorf("the ledger says %+v", got)
	}
	run(append(standalone, "renew", "--force-renewal")...)
	second := h.leaf(t, path, host)
	run("revoke", "--cert-path", path, "--reason", "keycompromise", "--no-delete-after-revoke")
	h.oneRevoked(t, first, second)
}

// oneRevoked says what has to be after a renewal and a revocation of the newer
// one for a key that was lost.
func (h *acmeHouse) oneRevoked(t *testing.T, first, second *x509.Certificate) {
	t.Helper()
	if second.SerialNumber.Cmp(first.SerialNumber) == 0 {
		t.Error("the renewal gave the same certificate")
	}
	if got := h.shown(t, second); got.Status != "revoked" || got.Reason != "key-compromise" {
		t.Errorf("after the revocation the ledger says %+v", got)
	}
	if got := h.shown(t, first); got.Status != "good" {
		t.Errorf("the other certificate is %s", got.Status)
	}
}

// uacme from Debian: http-01 by its hook, an account with a binding. It trusts
// what the system does, so it sees a system that trusts the house.
func uacme(t *testing.T, h *acmeHouse) {
	const host = "uacme.acme.internal"
	h.dns.setAddress(host, "127.0.0.3")
	b, dir, web := h.bind("services/uacme"), t.TempDir(), t.TempDir()
	serveFolder(t, fmt.Sprintf("127.0.0.3:%d", h.httpPort), web)
	hook := filepath.Join(dir, "hook")
	script := "#!/bin/sh\n[ \"$2\" = http-01 ] || exit 1\ncase $1 in begin) printf %s \"$5\" >\"$WEB/$4\";; *) rm -f \"$WEB/$4\";; esac\n"
	if err := os.WriteFile(hook, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	share := []string{"--mount"}
	if os.Getuid() != 0 {
		share = append(share, "--map-root-user")
	}
	run := func(args ...string) string {
		inside := append(append(share, "sh", "-ec", `mount --bind "$ROOT" /etc/ssl/certs/ca-certificates.crt; exec uacme "$@"`, "uacme",
			"--acme-url", b.Directory, "--confdir", dir, "--hook", hook, "--yes", "--type", "EC"), args...)
		return h.must(t, []string{"WEB=" + web, "ROOT=" + h.root}, "unshare", inside...)
	}
	run("--eab", b.Kid+":"+b.HMACKey, "new", "ops@example.com")
	run("issue", host)
	path := filepath.Join(dir, host, "cert.pem")
	first := h.leaf(t, path, host)
	run("--force", "issue", host)
	second := h.leaf(t, path, host)
	run("--reason", "1", "revoke", path)
	h.oneRevoked(t, first, second)
	run("newkey")
	run("--force", "issue", host)
	if third := h.leaf(t, path, host); third.SerialNumber.Cmp(second.SerialNumber) == 0 {
		t.Error("with the new key of its account it got nothing")
	}
	run("deactivate")
}

// serveFolder serves the files of a folder as answers to http-01.
func serveFolder(t *testing.T, address, dir string) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.StripPrefix("/.well-known/acme-challenge/", http.FileServer(http.Dir(dir)))}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
}

// acme-client from npm, which scripts/test-tools installs.
func nodeClient(t *testing.T, h *acmeHouse) {
	const host = "node.acme.internal"
	h.dns.setAddress(host, "127.0.0.4")
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	modules := filepath.Join(cache, "postern-tests", "acme-client", "node_modules")
	if _, err := os.Stat(modules); err != nil {
		t.Fatalf("%v: run scripts/test-tools", err)
	}
	script, err := filepath.Abs(filepath.Join("testdata", "acme-client", "client.js"))
	if err != nil {
		t.Fatal(err)
	}
	b, dir := h.bind("services/node"), t.TempDir()
	cmd := exec.CommandContext(t.Context(), "node", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "NODE_PATH="+modules, "NODE_EXTRA_CA_CERTS="+h.root, "DIRECTORY="+b.Directory, "KID="+b.Kid,
		"HMAC_KEY="+b.HMACKey, "HOST="+host, "ADDRESS=127.0.0.4", fmt.Sprintf("HTTP_PORT=%d", h.httpPort))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\nserver said:\n%s", err, out, h.output)
	}
	h.oneRevoked(t, h.leaf(t, filepath.Join(dir, "first.pem"), host), h.leaf(t, filepath.Join(dir, "second.pem"), host))
}

// solver answers the challenges of acmez.
type solver struct {
	mu      sync.Mutex
	answers map[string]string
	dns     *dnsServer
}

func (s *solver) Present(_ context.Context, c acme.Challenge) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[c.HTTP01ResourcePath()] = c.KeyAuthorization
	s.dns.addText(c.DNS01TXTRecordName(), c.DNS01KeyAuthorization())
	return nil
}

func (s *solver) CleanUp(context.Context, acme.Challenge) error { return nil }

func (s *solver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprint(w, s.answers[r.URL.Path])
}

// acmez, the client inside Caddy: with renewal information, a wildcard, an
// address, and another key for the account.
func acmezClient(t *testing.T, h *acmeHouse) {
	const host = "acmez.acme.internal"
	h.dns.setAddress(host, "127.0.0.5")
	s := &solver{answers: map[string]string{}, dns: h.dns}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.5:%d", h.httpPort))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: s}
	go server.Serve(l)
	defer server.Close()

	b, ctx := h.bind("services/acmez"), t.Context()
	c := &acmez.Client{
		Client: &acme.Client{
			Directory: b.Directory, PollInterval: 50 * time.Millisecond,
			HTTPClient: &http.Client{Transport: &http.Transport{TLSClientConfig: h.tls("", "localhost")}},
		},
		ChallengeSolvers: map[string]acmez.Solver{acme.ChallengeTypeHTTP01: s, acme.ChallengeTypeDNS01: s},
	}
	account := acme.Account{Contact: []string{"mailto:ops@example.com"}, TermsOfServiceAgreed: true, PrivateKey: newKey(t)}
	fine := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%v\nserver said:\n%s", err, h.output)
		}
	}
	fine(account.SetExternalAccountBinding(ctx, c.Client, acme.EAB{KeyID: b.Kid, MACKey: b.HMACKey}))
	account, err = c.NewAccount(ctx, account)
	fine(err)
	key := newKey(t)
	obtain := func(replaces *x509.Certificate, hosts ...string) *x509.Certificate {
		t.Helper()
		csr, err := acmez.NewCSR(key, hosts)
		fine(err)
		params, err := acmez.OrderParametersFromCSR(account, csr)
		fine(err)
		params.Replaces, params.Profile = replaces, "server"
		chains, err := c.ObtainCertificate(ctx, params)
		fine(err)
		return h.check(t, chains[0].ChainPEM, strings.Replace(hosts[0], "*", "any", 1))
	}
	first := obtain(nil, host)
	info, err := c.GetRenewalInfo(ctx, first)
	fine(err)
	if !info.HasWindow() || info.RetryAfter == nil || info.SuggestedWindow.Start.Before(time.Now()) {
		t.Errorf("%+v", info)
	}
	second := obtain(first, host)
	if got := h.shown(t, second); got.RenewedFrom == "" {
		t.Errorf("the ledger does not say what it replaces: %+v", got)
	}
	obtain(nil, "127.0.0.5")
	obtain(nil, "*."+host, host)
	if account, err = c.AccountKeyRollover(ctx, account, newKey(t)); err != nil {
		t.Fatal(err)
	}
	fine(c.RevokeCertificate(ctx, account, second, key, acme.ReasonKeyCompromise))
	h.oneRevoked(t, first, second)
	if info, err = c.GetRenewalInfo(ctx, second); err != nil || info.SuggestedWindow.End.After(time.Now()) {
		t.Errorf("a revoked certificate is to be renewed until %+v, %v", info.SuggestedWindow, err)
	}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// acmeprobe, the prober of x/crypto's client: without a binding, so at an open
// profile, by http-01 and by tls-alpn-01.
func acmeprobe(t *testing.T, h *acmeHouse) {
	probe := filepath.Join(t.TempDir(), "acmeprobe")
	if out, err := exec.Command("go", "build", "-o", probe, "golang.org/x/crypto/acme/internal/acmeprobe").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	directory := strings.Replace(h.directory, "/server/", "/short/", 1)
	for challenge, address := range map[string]string{
		"http-01": fmt.Sprintf("127.0.0.6:%d", h.httpPort), "tls-alpn-01": fmt.Sprintf("127.0.0.6:%d", h.tlsPort),
	} {
		host := challenge + ".probe.acme.internal"
		h.dns.setAddress(host, "127.0.0.6")
		out := h.must(t, nil, probe, "-d", directory, "-f", "order", "-t", challenge, "-a", address, "-domain", host)
		if !strings.Contains(out, "all done") && !strings.Contains(out, "revoke") && !strings.Contains(out, "deactivate") {
			t.Logf("acmeprobe said %s", out)
		}
	}
	var orders []struct{ Status string }
	if err := json.Unmarshal([]byte(h.run("acme", "orders", "--status", "valid", "--json")), &orders); err != nil || len(orders) < 2 {
		t.Errorf("%d orders are valid, %v", len(orders), err)
	}
}

// A Caddy server gets its certificate by itself and renews it.
func caddy(t *testing.T, h *acmeHouse) {
	const host = "caddy.acme.internal"
	h.dns.setAddress(host, "127.0.0.7")
	b, dir := h.bind("services/caddy", "--profile", "short"), t.TempDir()
	address := fmt.Sprintf("127.0.0.7:%d", h.tlsPort)
	conf := map[string]any{
		"admin":   map[string]any{"disabled": true, "config": map[string]any{"persist": false}},
		"storage": map[string]any{"module": "file_system", "root": dir},
		"apps": map[string]any{
			"http": map[string]any{
				"http_port": h.httpPort, "https_port": h.tlsPort,
				"servers": map[string]any{"main": map[string]any{
					"listen": []string{address},
					"routes": []any{map[string]any{
						"match":  []any{map[string]any{"host": []string{host}}},
						"handle": []any{map[string]any{"handler": "static_response", "body": "the page"}},
					}},
					"automatic_https": map[string]any{"disable_redirects": true},
				}},
			},
			"tls": map[string]any{"automation": map[string]any{
				"renew_interval": "1s",
				"policies": []any{map[string]any{
					"subjects": []string{host}, "renewal_window_ratio": 0.999,
					"issuers": []any{map[string]any{
						"module": "acme", "ca": b.Directory, "trusted_roots_pem_files": []string{h.root}, "email": "ops@example.com",
						"external_account": map[string]string{"key_id": b.Kid, "mac_key": b.HMACKey},
						"challenges":       map[string]any{"http": map[string]any{"disabled": true}, "bind_host": "127.0.0.7"},
					}},
				}},
			}},
		},
	}
	text, err := json.Marshal(conf)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "caddy.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "caddy", "run", "--config", file)
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir)
	out := &lockedBuffer{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	var first string
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		conn, err := tls.Dial("tcp", address, h.tls("", host))
		if err != nil {
			continue
		}
		leaf := conn.ConnectionState().PeerCertificates[0]
		conn.Close()
		serial := leaf.SerialNumber.String()
		switch {
		case first == "":
			first = serial
			if got := h.shown(t, leaf); got.Name != "services/caddy" {
				t.Errorf("the ledger says %+v", got)
			}
		case serial != first:
			return // it has renewed
		}
	}
	t.Fatalf("Caddy got its first certificate (%s) and no second one; it said:\n%s\nserver said:\n%s", first, out, h.output)
}
