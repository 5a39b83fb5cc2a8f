package attack

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"net"
	"strings"
	"testing"
)

// Who shows what at which site, and what comes of it. The certificates of the
// last seven are signed by the right key, or made to look so.
//
// Vault CVE-2022-41316, nginx CVE-2026-28755 (revocation that is not asked, and
// not on TCP); Envoy CVE-2022-21657, OCaml-TLS CVE-2026-45389 (purpose); a
// stolen issuer's key; Vault CVE-2024-2048, wolfSSL CVE-2026-93302 (a
// certificate that is alike but for its key).
func TestWhoComesIn(t *testing.T) {
	t.Parallel()
	h := theHouse(t)
	ben, anna, lost, barred := h.identity(t, "ben/laptop"), h.identity(t, "anna/phone"), h.identity(t, "ben/lost"), h.identity(t, "ben/barred")
	h.run(t, "revoke", "ben/lost")
	h.run(t, "suspend", "ben/barred")
	stranger, err := newAuthority("clients-1", nil)
	must(t, err)
	forged := h.stolenIssuer(t).sign(t, device("ben/laptop"))
	foreign := stranger.sign(t, device("ben/laptop"))
	alike := *ben.Leaf // in everything but the key
	lookAlike := h.stolenIssuer(t).sign(t, &alike)
	server := h.serverCertificate(t)
	borrowed := *ben // the right certificate and somebody else's key
	borrowed.PrivateKey = newKey(t)
	for sentence, c := range map[string]struct {
		who                    *tls.Certificate
		ben, parts, admin, tcp string
	}{
		"on the list":           {ben, "200", "200", "not-on-list", "not-http"},
		"not on the list":       {anna, "not-on-list", "200", "200", "closed"},
		"nobody":                {nil, "no-certificate", "no-certificate", "no-certificate", "closed"},
		"revoked":               {lost, "revoked", "revoked", "revoked", "closed"},
		"suspended":             {barred, "suspended", "suspended", "suspended", "closed"},
		"forged, stolen issuer": {forged, "not-in-ledger", "not-in-ledger", "not-in-ledger", "closed"},
		"a look-alike of Ben's": {lookAlike, "not-in-ledger", "not-in-ledger", "not-in-ledger", "closed"},
		"a server's of ours":    {server, "wrong-purpose", "wrong-purpose", "wrong-purpose", "closed"},
		"another authority's":   {foreign, "unknown-issuer", "unknown-issuer", "unknown-issuer", "closed"},
		"without the key":       {&borrowed, "closed", "closed", "closed", "closed"},
	} {
		t.Run(sentence, func(t *testing.T) {
			for at, want := range map[string]string{"ben/": c.ben, "parts/": c.parts, "parts/admin/": c.admin, "parts/admin": c.admin, "hidden/": c.tcp, "tcp/": c.tcp} {
				if at == "hidden/" && want == "not-http" {
					want = "200"
				}
				site, path, _ := strings.Cut(at, "/")
				if got := h.get(t, c.who, site+".attack.test", "/"+path); got.String() != want {
					t.Errorf("%s: %s, want %s", at, got, want)
				}
			}
		})
	}
	if !strings.Contains(h.output.String(), "forged certificate refused") {
		t.Error("a stolen issuer's key raised no alarm")
	}
}

// The requests of one connection are judged one by one, for the host that the
// connection is for: on the first and on the hundredth, and whatever the host
// is written like.
//
// Traefik CVE-2022-23632, CVE-2026-48491 and its successors; Caddy
// CVE-2026-27588; Apache CVE-2025-23048; h2 coalescing.
func TestFronting(t *testing.T) {
	t.Parallel()
	h := theHouse(t)
	anna := h.identity(t, "anna/phone")
	const own = "anna.attack.test"
	spellings := []string{"ben.attack.test", "BEN.attack.TEST", "ben.attack.test.", "ben.attack.test:443", "ben.attack.test:" + strings.Split(h.addr, ":")[1],
		"hidden.attack.test", "tcp.attack.test", "127.0.0.1", "[::1]", "nowhere.attack.test", "xn--bcher-kva.attack.test", "XN--Bcher-KVA.attack.test.", "[0:0:0:0:0:0:0:1]:443", "*.attack.test"}
	wrong := []string{"ben.attack.test@anna.attack.test", "anna.attack.test@ben.attack.test", "anna.attack.test,ben.attack.test", "anna.attack.test ben.attack.test", "anna.attack.test..", "", "anna.attack.test\x00", "anna.attack.test:x"}
	for _, host := range append(spellings, wrong...) {
		if got := h.ask(t, h.tls(anna, own), "GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n"); got.err == nil && got.status < 400 {
			t.Errorf("first request, Host %q: %s", host, got)
		}
	}
	for n := range either(12, 200) { // own requests before the other's
		conn, err := h.dial(t, h.tls(anna, own))
		must(t, err)
		r := bufio.NewReader(conn)
		for i := range n + 1 {
			if got := speak(conn, r, "GET /n HTTP/1.1\r\nHost: "+own+"\r\n\r\n"); got.String() != "200" {
				t.Fatalf("own request %d: %s", i, got)
			}
		}
		host := spellings[n%len(spellings)]
		if got := speak(conn, r, "GET /fronted HTTP/1.1\r\nHost: "+host+"\r\n\r\n"); got.String() != "misdirected" {
			t.Fatalf("request %d, Host %q: %s", n, host, got)
		}
		conn.Close()
	}
	for sentence, request := range map[string]string{
		"absolute form":        "GET https://ben.attack.test/fronted HTTP/1.1\r\nHost: anna.attack.test\r\n\r\n",
		"absolute, other host": "GET https://anna.attack.test/fronted HTTP/1.1\r\nHost: ben.attack.test\r\n\r\n",
		"two hosts":            "GET /fronted HTTP/1.1\r\nHost: anna.attack.test\r\nHost: ben.attack.test\r\n\r\n",
		"no host":              "GET /fronted HTTP/1.1\r\n\r\n",
		"HTTP/1.0, no host":    "GET /fronted HTTP/1.0\r\n\r\n",
		"connect":              "CONNECT ben.attack.test:443 HTTP/1.1\r\nHost: ben.attack.test:443\r\n\r\n",
	} {
		got := h.ask(t, h.tls(anna, own), request)
		if sentence == "absolute, other host" && got.status == 200 { // RFC 9112 section 3.2.2: the target counts
			continue
		}
		if got.err == nil && got.status < 400 {
			t.Errorf("%s: %s", sentence, got)
		}
	}
	for _, r := range h.app.saw("fronted") {
		if !strings.Contains(r.head, "\nHost: anna.attack.test") {
			t.Errorf("the application saw %q", r.head)
		}
	}
	// the name in the handshake: spelled otherwise it is the same site, and unknown
	// names get no weaker one
	for _, sni := range []string{"BEN.attack.test", "ben.attack.test."} {
		c := h.tls(anna, "ben.attack.test")
		c.ServerName, c.InsecureSkipVerify = sni, true
		if got := h.ask(t, c, "GET / HTTP/1.1\r\nHost: ben.attack.test\r\n\r\n"); got.String() != "not-on-list" && got.String() != "closed" {
			t.Errorf("SNI %q: %s", sni, got)
		}
	}
	for _, sni := range []string{"nowhere.attack.test", "attack.test", "x.ben.attack.test", "ben.attack.test.evil.test"} {
		c := h.tls(anna, sni)
		c.InsecureSkipVerify = true
		if _, err := h.dial(t, c); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
			t.Errorf("SNI %q: %v", sni, err)
		}
	}
	c := h.tls(anna, "") // no SNI: the site of the address
	c.InsecureSkipVerify = true
	if got := h.ask(t, c, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"); got.String() != "not-on-list" {
		t.Errorf("no SNI: %s", got)
	}
}

// A host is itself in every spelling: whoever is on its list comes in, and
// nobody else does by writing it otherwise.
//
// Traefik CVE-2022-23632, CVE-2026-53622; Caddy CVE-2026-27588.
func TestSpellingsOfHosts(t *testing.T) {
	t.Parallel()
	h := ownHouse(t, "")
	h.app = theHouse(t).app
	_, port, err := net.SplitHostPort(h.addr)
	must(t, err)
	h.write(t, h.fill(strings.Replace(`%LISTEN%
sites:
  ben.attack.test: {proxy: "%APP%", allow: [ben]}
  bücher.attack.test: {proxy: "%APP%", allow: [ben]}
  "127.0.0.1": {proxy: "%APP%", allow: [ben]}
  "::1": {proxy: "%APP%", allow: [ben]}
`, "%LISTEN%", fmt.Sprintf("listen: [%q, %q]\npublic: {listen: %q}\n", h.addr, "[::1]:"+port, h.public), 1)))
	h.mustOpen(t)
	ben, anna := h.identity(t, "ben/laptop"), h.identity(t, "anna/phone")
	for _, c := range []struct {
		at  string // the address that is dialled
		sni []string
		is  []string // the host, as this connection's requests may write it
		not []string
	}{
		{h.addr, []string{"ben.attack.test", "BEN.Attack.test", "ben.attack.test."}, []string{"ben.attack.test", "BEN.attack.TEST", "ben.attack.test.", "Ben.attack.test.:443", "ben.attack.test:" + port, "ben.attack.test:"},
			[]string{"127.0.0.1", "xn--bcher-kva.attack.test", "ben.attack.test..", ".ben.attack.test", "ben.attack.test%2e"}},
		{h.addr, []string{"xn--bcher-kva.attack.test", "XN--BCHER-KVA.attack.test"}, []string{"xn--bcher-kva.attack.test", "XN--bcher-Kva.attack.test", "xn--bcher-kva.attack.test.:1"},
			[]string{"xn--bcher-kvb.attack.test", "bucher.attack.test", "ben.attack.test"}},
		{h.addr, []string{""}, []string{"127.0.0.1", "127.0.0.1:" + port, "[::ffff:127.0.0.1]", "[::ffff:7f00:1]:443"}, []string{"[::1]", "127.1", "2130706433", "0x7f.0.0.1", "127.0.0.01", "ben.attack.test"}},
		{"[::1]:" + port, []string{""}, []string{"[::1]", "[::1]:" + port, "[0:0:0:0:0:0:0:1]", "[0000::0001]:443"}, []string{"127.0.0.1", "::1:443x", "[::1%lo]", "[::2]", "ben.attack.test"}},
	} {
		for _, sni := range c.sni {
			for who, wants := range map[*tls.Certificate][2]string{ben: {"200", "misdirected"}, anna: {"not-on-list", "misdirected"}, nil: {"no-certificate", "misdirected"}} {
				for i, host := range append(c.is, c.not...) {
					raw, err := net.Dial("tcp", c.at)
					must(t, err)
					config := h.tls(who, sni)
					config.InsecureSkipVerify = true
					conn, err := shake(t, raw, config)
					must(t, err)
					got, want := speak(conn, bufio.NewReader(conn), "GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n"), wants[0]
					if i >= len(c.is) {
						want = wants[1]
					}
					if got.String() != want && (want != "misdirected" || got.status != 400) {
						t.Errorf("%s, SNI %q, Host %q: %s, want %s", c.at, sni, host, got, want)
					}
					conn.Close()
				}
			}
		}
	}
}

// Each type of name is compared with names of its own type, and as a whole.
//
// Envoy CVE-2025-66220 (NUL), CVE-2022-21656 (a URI taken for a DNS name),
// CVE-2022-21657 (purpose); etcd CVE-2018-16886 (CN); NATS CVE-2026-33248 (DN).
func TestNamesInCertificates(t *testing.T) {
	t.Parallel()
	h := theHouse(t)
	member := func(change func(*x509.Certificate)) *tls.Certificate {
		c := device("x")
		c.URIs = nil
		change(c)
		return h.partner.sign(t, c)
	}
	raw := func(tag byte, value string) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.ExtraExtensions = append(c.ExtraExtensions, alternative(tag, value)) }
	}
	const other, email, dns, x400, directory, ediParty, uri, ip, registered = 0, 1, 2, 3, 4, 5, 6, 7, 8
	subject := func(rdns ...pkix.RelativeDistinguishedNameSET) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			der, err := asn1.Marshal(pkix.RDNSequence(rdns))
			must(t, err)
			c.RawSubject = der
		}
	}
	attribute := func(oid int, value string) pkix.AttributeTypeAndValue {
		return pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, oid}, Value: value}
	}
	const cn, org, unit = 3, 10, 11
	acme := subject(pkix.RelativeDistinguishedNameSET{attribute(org, "Acme")}, pkix.RelativeDistinguishedNameSET{attribute(unit, "Robots")})
	good := map[string]func(*x509.Certificate){
		"its DNS name": raw(dns, "api.acme.test"), "its mail": raw(email, "bot@acme.test"),
		"its URI": raw(uri, "spiffe://acme.test/billing"), "its address": raw(ip, "\xc0\x00\x02\x07"), "its subject": acme,
	}
	for sentence, change := range good {
		if got := h.get(t, member(change), "partner.attack.test", "/"); got.String() != "200" {
			t.Errorf("%s: %s", sentence, got)
		}
	}
	evil := map[string]func(*x509.Certificate){
		"as CN, twice":                       subject(pkix.RelativeDistinguishedNameSET{attribute(cn, "api.acme.test")}, pkix.RelativeDistinguishedNameSET{attribute(cn, "api.acme.test")}),
		"a subject, in one set with another": subject(pkix.RelativeDistinguishedNameSET{attribute(org, "Evil"), attribute(org, "Acme"), attribute(unit, "Robots")}),
		"a subject with a second unit":       subject(pkix.RelativeDistinguishedNameSET{attribute(org, "Acme")}, pkix.RelativeDistinguishedNameSET{attribute(unit, "Robots")}, pkix.RelativeDistinguishedNameSET{attribute(unit, "Evil")}),
		"a subject within one field":         subject(pkix.RelativeDistinguishedNameSET{attribute(org, "Acme,OU=Robots")}),
		"a subject with an escaped comma":    subject(pkix.RelativeDistinguishedNameSET{attribute(org, "Acme\\,OU=Robots")}),
		"a subject in other letters":         subject(pkix.RelativeDistinguishedNameSET{attribute(org, "ACME")}, pkix.RelativeDistinguishedNameSET{attribute(unit, "robots")}),
		"a subject with a NUL":               subject(pkix.RelativeDistinguishedNameSET{attribute(org, "Acme\x00")}, pkix.RelativeDistinguishedNameSET{attribute(unit, "Robots")}),
		"a subject with a space":             subject(pkix.RelativeDistinguishedNameSET{attribute(org, "Acme ")}, pkix.RelativeDistinguishedNameSET{attribute(unit, "Robots")}),
		"half a subject":                     subject(pkix.RelativeDistinguishedNameSET{attribute(org, "Acme")}),
		"a URI with an encoded letter":       raw(uri, "spiffe://acme.test/%62illing"),
		"a URI with a query":                 raw(uri, "spiffe://acme.test/billing?"),
		"a URI with a fragment":              raw(uri, "spiffe://acme.test/billing#x"),
		"a URI with dot segments":            raw(uri, "spiffe://acme.test/x/../billing"),
		"a URI below it":                     raw(uri, "spiffe://acme.test/billing/x"),
		"a URI with a user":                  raw(uri, "spiffe://x@acme.test/billing"),
		"a URI with a port":                  raw(uri, "spiffe://acme.test:443/billing"),
		"an address and more":                raw(ip, "\xc0\x00\x02\x07\xff\xff\xff\xff"),
		"an address of five bytes":           raw(ip, "\xc0\x00\x02\x07\x00"),
		"no names at all":                    raw(dns, ""),
		"as CN":                              func(c *x509.Certificate) { c.Subject.CommonName = "api.acme.test" },
		"a wildcard":                         raw(dns, "*.acme.test"),
		"a name below":                       raw(dns, "x.api.acme.test"),
		"serverAuth only": func(c *x509.Certificate) {
			c.DNSNames = []string{"api.acme.test"}
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		},
		"any purpose": func(c *x509.Certificate) {
			c.DNSNames = []string{"api.acme.test"}
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
		},
		"mail only": func(c *x509.Certificate) {
			c.DNSNames = []string{"api.acme.test"}
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}
		},
		"no purpose":                 func(c *x509.Certificate) { c.DNSNames = []string{"api.acme.test"}; c.ExtKeyUsage = nil },
		"Ben's name":                 func(c *x509.Certificate) { *c = *device("ben/laptop") },
		"a megabyte":                 raw(dns, strings.Repeat("a", 1<<20)),
		"5,000 names and the member": func(c *x509.Certificate) { c.DNSNames = many(5000, "api.acme.test") },
	}
	names := map[byte]string{email: "bot@acme.test", dns: "api.acme.test", uri: "spiffe://acme.test/billing", ip: "\xc0\x00\x02\x07"}
	for tag, value := range names {
		for _, suffix := range []string{"\x00", "\x00.evil.test", "\n", "\r\nX: y", " ", "\x7f", strings.Repeat("x", 10_000), "\xff"} {
			evil[fmt.Sprintf("type %d with %.8q behind", tag, suffix)] = raw(tag, value+suffix)
			if len(suffix) < 3 {
				evil[fmt.Sprintf("type %d with %q before", tag, suffix)] = raw(tag, suffix+value)
			}
		}
		for _, as := range []byte{other, email, dns, x400, directory, ediParty, uri, ip, registered} {
			if as != tag {
				evil[fmt.Sprintf("a value of type %d as type %d", tag, as)] = raw(as, value)
			}
		}
	}
	for sentence, change := range evil {
		got := h.get(t, member(change), "partner.attack.test", "/")
		if got.err == nil && got.status < 400 {
			t.Errorf("%s: %s", sentence, got)
		}
	}
}
