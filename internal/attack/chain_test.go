package attack

import (
	"bufio"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Whatever chain a stranger shows, the whole handshake and its refusal cost the
// server less than five milliseconds, besides what the standard library needs
// to read it: TLS allows 256 KiB of certificates, and what is asked of them
// grows with their number, names, constraints and keys.
//
// Go CVE-2026-32280, -32281, CVE-2025-58187, -61729, CVE-2025-22874.
func TestHostileChains(t *testing.T) {
	t.Parallel()
	h := ownHouse(t, "")
	h.app, h.partner = theHouse(t).app, theHouse(t).partner
	must(t, os.WriteFile(filepath.Join(h.home, "acme.pem"), h.partner.pem(), 0o600))
	h.write(t, h.fill(`%LISTEN%
sites:
  ben.attack.test: {proxy: "%APP%", allow: [ben]}
  hidden.attack.test: {proxy: "%APP%", allow: [ben], stealth: true}
  partner.attack.test:
    proxy: "%APP%"
    allow: [foreign:acme]
    trust: {acme: {ca: "%HOME%/acme.pem", members: [{dns: api.acme.test}]}}
`))
	h.mustOpen(t)
	// cost is what the server needs to turn somebody away, the least of some
	// tries: what else it does meanwhile counts as well.
	cost := func(shown *tls.Certificate, host string, visits int, enough time.Duration) time.Duration {
		least := time.Hour
		for try := 0; least > enough && try < 4; try++ {
			before, _ := h.usage(t)
			for range visits {
				conn, err := h.dial(t, h.tls(shown, host))
				if err == nil {
					if got := speak(conn, bufio.NewReader(conn), "GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n"); got.err == nil && got.status < 400 {
						t.Fatalf("let in at %s: %s", host, got)
					}
				}
				conn.Close()
			}
			after, _ := h.usage(t)
			least = min(least, (after-before)/time.Duration(visits))
		}
		return least
	}
	stranger, err := newAuthority("nobody's", nil)
	must(t, err)
	// five milliseconds, or as much more as this machine is slower than ours
	bound := max(5*time.Millisecond, 5*cost(stranger.sign(t, device("ben/laptop")), "ben.attack.test", 30, 0))
	for sentence, shown := range hostileChains(t, h.stolenIssuer(t).cert) {
		limit := bound + reading(t, shown)
		for _, host := range []string{"ben.attack.test", "hidden.attack.test", "partner.attack.test"} {
			if each := cost(shown, host, 6, limit); each > limit {
				t.Errorf("%s costs %v at %s, more than %v", sentence, each, host, limit)
			}
		}
	}
}

// reading is what the standard library needs to parse a chain, which crypto/tls
// does before anybody is asked.
func reading(t testing.TB, shown *tls.Certificate) time.Duration {
	t.Helper()
	least := time.Hour
	for range 5 {
		began := time.Now()
		for _, der := range shown.Certificate {
			_, err := x509.ParseCertificate(der)
			must(t, err)
		}
		least = min(least, time.Since(began))
	}
	return least
}

// hostileChains returns chains that are large, deep, wide or slow. The topmost
// certificates have the name of one of our issuers, and nothing else of it.
func hostileChains(t testing.TB, ours *x509.Certificate) map[string]*tls.Certificate {
	t.Helper()
	slow, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	must(t, err)
	large, err := rsa.GenerateKey(rand.Reader, 4096)
	must(t, err)
	key := newKey(t)
	// sign makes a certificate with a key of its own, or one for as.
	sign := func(by *authority, as crypto.Signer, name string, change func(*x509.Certificate)) *authority {
		c := device("ben/laptop")
		c.Subject.CommonName, c.IsCA, c.ExtKeyUsage = name, true, nil
		c.KeyUsage |= x509.KeyUsageCertSign
		if change != nil {
			change(c)
		}
		if by == nil {
			by = &authority{c, as}
		}
		der, err := x509.CreateCertificate(rand.Reader, c, by.cert, as.Public(), by.key)
		must(t, err)
		cert, err := x509.ParseCertificate(der)
		must(t, err)
		return &authority{cert, as}
	}
	asOurs := func(c *x509.Certificate) { c.RawSubject, c.SubjectKeyId = ours.RawSubject, ours.SubjectKeyId }
	// below returns a device's certificate and those above it, the next one first.
	below := func(change func(*x509.Certificate), above ...*authority) *tls.Certificate {
		leaf := sign(above[0], key, "x", func(c *x509.Certificate) {
			c.IsCA, c.ExtKeyUsage = false, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
			if change != nil {
				change(c)
			}
		})
		c := &tls.Certificate{Certificate: [][]byte{leaf.cert.Raw}, PrivateKey: key}
		for _, a := range above {
			c.Certificate = append(c.Certificate, a.cert.Raw)
		}
		return c
	}
	deep := func(n int, key crypto.Signer) []*authority {
		all := []*authority{sign(nil, key, "top", asOurs)}
		for i := range n - 1 {
			all = append([]*authority{sign(all[0], key, fmt.Sprint("step ", i), nil)}, all...)
		}
		return all
	}
	wide := func(n int, key crypto.Signer) (all []*authority) {
		top := sign(nil, key, "top", asOurs)
		for range n {
			all = append(all, sign(top, key, "top", asOurs))
		}
		return all
	}
	hosts := func(n int) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.DNSNames = many(n, "a.test") }
	}
	narrow := func(c *x509.Certificate) {
		c.ExcludedDNSDomains, c.PermittedDNSDomains = many(2000, "b.test"), many(2000, "a.test")
	}
	policies := func(c *x509.Certificate) {
		for i := range 3000 {
			oid, err := x509.OIDFromInts([]uint64{1, 2, 3, uint64(i)})
			must(t, err)
			c.Policies = append(c.Policies, oid)
		}
	}
	extensions := func(critical bool) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			for i := range 2000 {
				c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, i}, Critical: critical, Value: []byte{5, 0}})
			}
		}
	}
	byItself := func(key crypto.Signer) *tls.Certificate {
		return &tls.Certificate{Certificate: [][]byte{sign(nil, key, "x", nil).cert.Raw}, PrivateKey: key}
	}
	one := deep(1, key)
	return map[string]*tls.Certificate{
		"five steps":                            below(nil, deep(5, key)...),
		"five steps of a slow key":              below(nil, deep(5, slow)...),
		"two hundred steps":                     below(nil, deep(200, key)...),
		"a hundred steps of a slow key":         below(nil, deep(100, slow)...),
		"five of one name":                      below(nil, wide(5, key)...),
		"two hundred of one name":               below(nil, wide(200, key)...),
		"a hundred of one name and a slow key":  below(nil, wide(100, slow)...),
		"a hundred names":                       below(hosts(98), one...),
		"eight thousand names":                  below(hosts(8000), one...),
		"four thousand constraints, and names":  below(hosts(2000), sign(one[0], key, "narrow", narrow), one[0]),
		"three thousand policies in each":       below(policies, sign(one[0], key, "p", policies), one[0]),
		"two thousand fields that nobody reads": below(extensions(false), one...),
		"as many that everybody has to read":    below(extensions(true), one...),
		"a subject of 100 KiB":                  below(func(c *x509.Certificate) { c.Subject.Organization = many(5000, "x") }, one...),
		"an issuer of 100 KiB":                  below(nil, sign(one[0], key, "x", func(c *x509.Certificate) { c.Subject.Organization = many(5000, "x") })),
		"a slow key, by itself":                 byItself(slow),
		"a large key, by itself":                byItself(large),
	}
}
