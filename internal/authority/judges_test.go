package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/url"

	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/ledger"
)

// A trial is a chain that other programs are shown.
type trial struct {
	chain  [][]byte // leaf first, without the root
	server bool     // shown by a server, else by a client
	good   bool
	// fools are programs that take it all the same: they do not heed the limit
	// that it breaks. docs/divergences.md tells of each.
	fools string
}

func (c trial) goodFor(program string) bool { return c.good || strings.Contains(c.fools, program) }

// What others think of our certificates, and of what a thief would make with an
// issuer's real key: they accept what they should, and the limits in the
// issuers' certificates hold everywhere.
func TestOtherProgramsJudgeAsWeDo(t *testing.T) {
	h := newPublisher(t)
	trials := h.trials()
	dir := t.TempDir()
	file := func(name string) string {
		return filepath.Join(dir, strings.NewReplacer(" ", "-", "'", "").Replace(name))
	}
	root := writePEM(t, file("root.pem"), "CERTIFICATE", h.Root())
	lists := [][]byte{emptyRootList(t, h)}
	for _, issuer := range []string{firstClients, firstServers} {
		l, err := h.RevocationList(t.Context(), ListRequest{Issuer: issuer})
		if err != nil {
			t.Fatal(err)
		}
		lists = append(lists, l.DER)
	}
	crl := writePEM(t, file("all.crl"), "X509 CRL", lists...)
	java := []string{filepath.Join("testdata", "Judge.java"), root, crl}
	for name, c := range trials {
		leaf, rest, full := file(name+".pem"), file(name+"-rest.pem"), file(name+"-full.pem")
		writePEM(t, leaf, "CERTIFICATE", c.chain[0])
		writePEM(t, rest, "CERTIFICATE", c.chain[1:]...)
		writePEM(t, full, "CERTIFICATE", c.chain...)
		role, purpose := "client", "sslclient"
		if c.server {
			role, purpose = "server", "sslserver"
		}
		java = append(java, name+"="+role+"="+full)
		t.Run("OpenSSL, "+name, func(t *testing.T) {
			out, err := run(t, "openssl", "verify", "-purpose", purpose, "-x509_strict", "-crl_check_all", "-extended_crl", "-CAfile", root, "-untrusted", rest, "-CRLfile", crl, leaf)
			if (err == nil) != c.goodFor("OpenSSL") {
				t.Errorf("%v: %s", err, out)
			}
		})
		t.Run("GnuTLS, "+name, func(t *testing.T) {
			oid := map[bool]string{true: "1.3.6.1.5.5.7.3.1", false: "1.3.6.1.5.5.7.3.2"}[c.server]
			out, err := run(t, "certtool", "--verify", "--verify-purpose", oid, "--load-ca-certificate", root, "--load-crl", crl, "--infile", full)
			if ok := err == nil && strings.Contains(out, "Chain verification output: Verified"); ok != c.goodFor("GnuTLS") {
				t.Errorf("%v: %s", err, out)
			}
		})
		t.Run("NSS, "+name, func(t *testing.T) {
			db := "sql:" + t.TempDir()
			do := func(args ...string) {
				t.Helper()
				if out, err := run(t, args[0], args[1:]...); err != nil {
					t.Fatalf("%q: %s", args, out)
				}
			}
			do("certutil", "-N", "-d", db, "--empty-password")
			do("certutil", "-A", "-d", db, "-n", "root", "-t", "TC,,", "-a", "-i", root)
			for i, der := range c.chain[1:] {
				do("certutil", "-A", "-d", db, "-n", fmt.Sprint("between ", i), "-t", ",,", "-i", derFile(t, file(fmt.Sprint(name, i)), der))
			}
			for i, issuer := range []string{firstClients, firstServers} {
				whole, err := h.RevocationList(t.Context(), ListRequest{Issuer: issuer, All: true})
				if err != nil {
					t.Fatal(err)
				}
				if used := leafParent(t, c.chain, h.issuers[i].Certificate); used {
					do("crlutil", "-I", "-d", db, "-i", derFile(t, file(name+issuer), whole.DER))
				}
			}
			usage := map[bool]string{true: "1", false: "0"}[c.server]
			out, err := run(t, "vfychain", "-d", db, "-pp", "-u", usage, "-g", "leaf", "-m", "crl", "-a", leaf)
			if ok := err == nil && strings.Contains(out, "Chain is good"); ok != c.goodFor("NSS") {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	t.Run("Java", func(t *testing.T) {
		out, err := run(t, "java", java...)
		if err != nil {
			t.Fatal(out)
		}
		for name, c := range trials {
			want := name + ": " + map[bool]string{true: "accepted", false: "refused"}[c.goodFor("Java")]
			if !strings.Contains(out, want) {
				t.Errorf("want %q in\n%s", want, out)
			}
		}
	})
}

func leafParent(t *testing.T, chain [][]byte, issuer *x509.Certificate) bool {
	t.Helper()
	for _, der := range chain[1:] {
		if string(der) == string(issuer.Raw) {
			return true
		}
	}
	return false
}

func (h *house) trials() map[string]trial {
	t := h.t
	good := h.issue("ben/phone")
	revoked := h.issue("ben/laptop")
	h.revoke(revoked, ledger.ReasonKeyCompromise)
	web, err := h.Issue(t.Context(), IssueRequest{Name: named(t, "web"), Profile: "server", DNSNames: []string{"www.example.com", "nas.home.arpa"}, PublicKey: newSPKI(t)})
	if err != nil {
		t.Fatal(err)
	}
	clients, servers := h.issuers[0], h.issuers[1]
	device := &x509.Certificate{URIs: []*url.URL{{Scheme: "spiffe", Host: "example.com", Path: "/ben/phone"}}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	change := func(c x509.Certificate, f func(*x509.Certificate)) *x509.Certificate { f(&c); return &c }
	host := func(names ...string) *x509.Certificate {
		return &x509.Certificate{DNSNames: names, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	below := h.forge(change(*device, func(c *x509.Certificate) {
		c.IsCA, c.KeyUsage, c.URIs, c.Subject.CommonName = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign, nil, "one below"
	}), clients.Certificate, clients.key, key.Public())
	belowCert, err := x509.ParseCertificate(below)
	if err != nil {
		t.Fatal(err)
	}
	strange, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki := strange.Public()
	return map[string]trial{
		"a device":                {good.Chain[:2], false, true, ""},
		"a server":                {web.Chain[:2], true, true, ""},
		"revoked":                 {revoked.Chain[:2], false, false, ""},
		"a device as a server":    {good.Chain[:2], true, false, ""},
		"a server as a device":    {web.Chain[:2], false, false, ""},
		"expired":                 {[][]byte{h.forge(change(*device, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), clients.Certificate, clients.key, spki), clients.Certificate.Raw}, false, false, ""},
		"not yet":                 {[][]byte{h.forge(change(*device, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(48 * time.Hour) }), clients.Certificate, clients.key, spki), clients.Certificate.Raw}, false, false, ""},
		"a server by the clients": {[][]byte{h.forge(host("www.example.com"), clients.Certificate, clients.key, spki), clients.Certificate.Raw}, true, false, ""},
		// the issuer's usage is for servers, and the last certificate's for clients
		"a device by the servers": {[][]byte{h.forge(device, servers.Certificate, servers.key, spki), servers.Certificate.Raw}, false, false, "Java, NSS"},
		"another domain's host":   {[][]byte{h.forge(host("bank.example.org"), servers.Certificate, servers.key, spki), servers.Certificate.Raw}, true, false, ""},
		"another trust domain": {[][]byte{h.forge(change(*device, func(c *x509.Certificate) {
			c.URIs = []*url.URL{{Scheme: "spiffe", Host: "example.org", Path: "/ben/phone"}}
		}), clients.Certificate, clients.key, spki), clients.Certificate.Raw}, false, false, "GnuTLS"},
		"an authority below":  {[][]byte{h.forge(device, belowCert, key, spki), below, clients.Certificate.Raw}, false, false, ""},
		"somebody else's key": {[][]byte{h.forge(device, clients.Certificate, strange, spki), clients.Certificate.Raw}, false, false, ""},
	}
}

// forge makes a certificate as a thief would who has an issuer's key.
func (h *house) forge(c *x509.Certificate, issuer *x509.Certificate, key crypto.Signer, pub crypto.PublicKey) []byte {
	h.t.Helper()
	full := *c
	if full.Subject.CommonName == "" {
		full.Subject = pkix.Name{CommonName: "ben/phone"}
	}
	if full.KeyUsage == 0 {
		full.KeyUsage = x509.KeyUsageDigitalSignature
	}
	full.SerialNumber, full.BasicConstraintsValid = big.NewInt(time.Now().UnixNano()), true
	if full.NotBefore.IsZero() {
		full.NotBefore = time.Now().Add(-time.Hour)
	}
	if full.NotAfter.IsZero() {
		full.NotAfter = time.Now().Add(72 * time.Hour)
	}
	line := firstClients
	if strings.Contains(issuer.Subject.CommonName, firstServers) {
		line = firstServers
	}
	full.CRLDistributionPoints = []string{publicURL + CRLPath(line, 0)}
	// an issuer that is not the key's owner makes the standard library complain
	parent := *issuer
	parent.PublicKey = key.Public()
	der, err := x509.CreateCertificate(rand.Reader, &full, &parent, pub, key)
	if err != nil {
		h.t.Fatal(err)
	}
	return der
}
