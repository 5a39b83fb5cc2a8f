package main

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// An acmeHouse is a running server whose ACME clients each have an address of
// their own on loopback, so that they can all listen on the same ports.
type acmeHouse struct {
	*door
	dns               *dnsServer
	httpPort, tlsPort int
	directory, root   string
}

func newACMEHouse(t *testing.T) *acmeHouse {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	h := &acmeHouse{door: newDoor(t, "localhost="+site(t, "the page")), dns: newDNS(t), httpPort: port, tlsPort: port + 1}
	conf := fmt.Sprintf(`acme:
  server:
    names: ["*.acme.internal", 127.0.0.0/8]
    wildcards: true
    networks: [127.0.0.0/8]
    resolver: %s
    http_port: %d
    tls_port: %d
  short:
    names: ["*.acme.internal"]
    networks: [127.0.0.0/8]
    resolver: %[1]s
    http_port: %[2]d
    tls_port: %[3]d
    open: true
profiles:
  short: {usage: server, names: requester, lifetime: 10m}
`, h.dns.addr(), h.httpPort, h.tlsPort)
	if err := os.WriteFile(filepath.Join(h.home, "postern.yaml"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	h.open()
	var status struct {
		PublicURL string `json:"public_url"`
	}
	if err := json.Unmarshal([]byte(h.run("status", "--json")), &status); err != nil {
		t.Fatal(err)
	}
	h.directory, h.root = status.PublicURL+"/acme/server/directory", filepath.Join(h.data, "root.pem")
	return h
}

// A binding is a key for an ACME account.
type binding struct {
	Directory, Kid string
	HMACKey        string `json:"hmac_key"`
}

func (h *acmeHouse) bind(name string, args ...string) binding {
	h.t.Helper()
	var b binding
	if err := json.Unmarshal([]byte(h.run(append([]string{"invite", name, "--acme", "--json"}, args...)...)), &b); err != nil {
		h.t.Fatal(err)
	}
	if b.Kid == "" || b.HMACKey == "" || b.Directory == "" {
		h.t.Fatalf("%+v", b)
	}
	return b
}

// tool runs a client in a folder of its own and returns what it printed.
func (h *acmeHouse) tool(t *testing.T, env []string, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(append(os.Environ(), "HOME="+t.TempDir(), "SSL_CERT_FILE="+h.root), env...)
	cmd.Dir = t.TempDir()
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (h *acmeHouse) must(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	out, err := h.tool(t, env, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s\nserver said:\n%s", name, strings.Join(args, " "), err, out, h.output)
	}
	return out
}

// leaf reads the first certificate of a file, which has to lead to the root
// for the host.
func (h *acmeHouse) leaf(t *testing.T, path, host string) *x509.Certificate {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return h.check(t, text, host)
}

func (h *acmeHouse) check(t *testing.T, chain []byte, host string) *x509.Certificate {
	t.Helper()
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	root, err := os.ReadFile(h.root)
	if err != nil || !roots.AppendCertsFromPEM(root) {
		t.Fatalf("no root: %v", err)
	}
	block, rest := pem.Decode(chain)
	if block == nil {
		t.Fatalf("no certificate in %q", chain)
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	between.AppendCertsFromPEM(rest)
	if _, err := leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: between}); err != nil {
		t.Fatal(err)
	}
	return leaf
}

// shown is a certificate as 'postern show' has it.
type shownCertificate struct {
	Name, Status, Via, Reason string
	RenewedFrom               string `json:"renewed_from"`
}

func (h *acmeHouse) shown(t *testing.T, c *x509.Certificate) shownCertificate {
	t.Helper()
	var v shownCertificate
	out := h.run("show", fmt.Sprintf("%032x", c.SerialNumber), "--json")
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return v
}

// The clients that people have obtain, renew and revoke certificates.
func TestRealACMEClients(t *testing.T) {
	t.Parallel()
	h := newACMEHouse(t)
	for name, client := range map[string]func(*testing.T, *acmeHouse){
		"certbot": certbot, "uacme": uacme, "acme-client": nodeClient, "acmez": acmezClient, "acmeprobe": acmeprobe, "Caddy": caddy,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client(t, h)
		})
	}
}
