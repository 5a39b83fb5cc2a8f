package chain

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/refusal"
)

type verifyCase struct {
	presented []*x509.Certificate
	anchors   Anchors
	purpose   Purpose
	want      refusal.Code
	detail    string // that the detail holds
}

func verifyCases(t *testing.T) map[string]verifyCase {
	h, other := newHouse(t), newHouse(t)
	phone := leaf(t, "ben/phone", h.clients)
	site := leaf(t, "site", h.servers, server, hosts("pw.example.com"))
	onlyRoot := Anchors{Roots: certs(h.root)}
	a := h.anchors()
	damaged := *phone.Certificate
	damaged.Signature = slices.Clone(phone.Signature)
	damaged.Signature[len(damaged.Signature)-1] ^= 1
	stranger := authority(t, "Stranger", nil)
	strangerSub := authority(t, "Stranger sub", stranger)
	impostor := authority(t, "clients-1", nil)
	constrained := authority(t, "narrow", h.root, func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"example.com"} })
	deep := authority(t, "deep", h.root, func(c *x509.Certificate) { c.MaxPathLenZero = true })
	deeper := authority(t, "deeper", deep)
	oldIssuer := authority(t, "clients-0", h.root, client, past)
	oldRoot := authority(t, "Old root", nil, past)
	noSign := authority(t, "no sign", h.root, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign })
	critical := func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
	}
	// an issuer that has two certificates: one by an authority that may not vouch
	// for what it issues, one by the root
	wide := authority(t, "Wide root", nil)
	some := authority(t, "some", wide, func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"example.com"} })
	twice := authority(t, "twice", wide)
	astray := sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "twice"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: twice.NotBefore, NotAfter: twice.NotAfter}, twice.key, some)
	atTwice := leaf(t, "x", twice, hosts("evil.test"))
	// and an issuer among forgeries of it
	lone := authority(t, "lone", wide)
	atLone := leaf(t, "x", lone)
	impostorRoot := authority(t, "Wide root", nil)
	forgeries := func(n int) (all []*x509.Certificate) {
		for range n {
			all = append(all, sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "lone"}, IsCA: true, BasicConstraintsValid: true,
				SubjectKeyId: lone.SubjectKeyId, NotBefore: lone.NotBefore, NotAfter: lone.NotAfter}, newKey(t), impostorRoot).Certificate)
		}
		return all
	}
	return map[string]verifyCase{
		"good by the second way up":                                {certs(atTwice, astray, some, twice), Anchors{Roots: certs(wide)}, Client, "", ""},
		"good by the second way up, the first way's issuers known": {certs(atTwice, twice), Anchors{Roots: certs(wide), Intermediates: certs(astray, some)}, Client, "", ""},
		"bad by the only way up":                                   {certs(atTwice, astray, some), Anchors{Roots: certs(wide)}, Client, refusal.BadChain, "evil.test"},
		"an issuer after three forgeries of it":                    {slices.Concat(certs(atLone), forgeries(3), certs(lone)), Anchors{Roots: certs(wide)}, Client, "", ""},
		"an issuer after four forgeries of it":                     {slices.Concat(certs(atLone), forgeries(4), certs(lone)), Anchors{Roots: certs(wide)}, Client, refusal.BadChain, "4 of the signatures"},
		"a device's certificate alone":                             {certs(phone), a, Client, "", ""},
		"a device's certificate with its issuer":                   {certs(phone, h.clients), a, Client, "", ""},
		"with issuer and root":                                     {certs(phone, h.clients, h.root), a, Client, "", ""},
		"an issuer known only from what is presented":              {certs(phone, h.clients), onlyRoot, Client, "", ""},
		"presented issuers out of order":                           {certs(leaf(t, "x", deep), h.servers, deep), onlyRoot, Client, "", ""},
		"a server's certificate for a server":                      {certs(site), a, Server, "", ""},
		"no certificate":                                           {nil, a, Client, refusal.NoCertificate, "no certificate"},
		"an empty certificate":                                     {[]*x509.Certificate{{}}, a, Client, refusal.BadCertificate, "empty"},
		"nil instead of a certificate":                             {[]*x509.Certificate{nil}, a, Client, refusal.BadCertificate, "empty"},
		"seven certificates":                                       {slices.Repeat(certs(phone), 7), a, Client, refusal.BadCertificate, "7 certificates"},
		"self-made":                                                {certs(leaf(t, "me", nil)), a, Client, refusal.SelfSigned, "signed by itself"},
		"self-made under the name of our root":                     {certs(leaf(t, "Example root", nil)), a, Client, refusal.SelfSigned, "signed by itself"},
		"self-made with SHA-1":                                     {certs(leaf(t, "me", nil, func(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA1 })), a, Client, refusal.SelfSigned, "signed by itself"},
		"self-made and expired":                                    {certs(leaf(t, "me", nil, past)), a, Client, refusal.SelfSigned, "signed by itself"},
		"another authority, alone":                                 {certs(leaf(t, "eve", stranger)), a, Client, refusal.UnknownIssuer, "'Stranger'"},
		"another authority with its root":                          {certs(leaf(t, "eve", stranger), stranger), a, Client, refusal.UnknownIssuer, "'Stranger'"},
		"another authority with intermediate and root":             {certs(leaf(t, "eve", strangerSub), strangerSub, stranger), a, Client, refusal.UnknownIssuer, "not trusted"},
		"another authority, expired and for servers":               {certs(leaf(t, "eve", stranger, past, server)), a, Client, refusal.UnknownIssuer, "'Stranger'"},
		"another authority with all our names":                     {certs(leaf(t, "ben/phone", other.clients), other.clients, other.root), a, Client, refusal.UnknownIssuer, "another key"},
		"a leaf of an authority that calls itself like our own":    {certs(leaf(t, "ben/phone", impostor)), a, Client, refusal.UnknownIssuer, "another key"},
		"the genuine chain sent after a leaf of an impostor":       {certs(leaf(t, "ben/phone", impostor), h.clients, h.root), a, Client, refusal.UnknownIssuer, "another key"},
		"a damaged signature":                                      {[]*x509.Certificate{&damaged}, a, Client, refusal.BadChain, "did not"},
		"forged under our issuer's key id":                         {certs(forge(t, "ben/phone", h.clients)), a, Client, refusal.BadChain, "did not"},
		"forged and expired":                                       {certs(forge(t, "ben/phone", h.clients, past)), a, Client, refusal.BadChain, "did not"},
		"a device's certificate used as an issuer":                 {certs(leaf(t, "child", phone), phone), a, Client, refusal.BadChain, "may not issue"},
		"an issuer without keyCertSign":                            {certs(leaf(t, "x", noSign), noSign), a, Client, refusal.BadChain, "sign certificates"},
		"path length exceeded":                                     {certs(leaf(t, "x", deeper), deeper, deep), a, Client, refusal.BadChain, "path length"},
		"path length exceeded and expired":                         {certs(leaf(t, "x", deeper, past), deeper, deep), a, Client, refusal.BadChain, "path length"},
		"outside its name constraints":                             {certs(leaf(t, "x", constrained, hosts("evil.test")), constrained), a, Client, refusal.BadChain, "evil.test"},
		"outside its name constraints and expired":                 {certs(leaf(t, "x", constrained, hosts("evil.test"), past), constrained), a, Client, refusal.BadChain, "evil.test"},
		"inside its name constraints":                              {certs(leaf(t, "x", constrained, hosts("a.example.com")), constrained), a, Client, "", ""},
		"a critical extension that nobody knows":                   {certs(leaf(t, "x", h.clients, critical)), a, Client, refusal.BadCertificate, "1.2.3"},
		"a server's certificate shown by a client":                 {certs(site), a, Client, refusal.WrongPurpose, "serverAuth"},
		"a server's certificate shown by a client, expired":        {certs(leaf(t, "site", h.servers, server, past)), a, Client, refusal.WrongPurpose, "serverAuth"},
		"a client's certificate shown by a server":                 {certs(phone), a, Server, refusal.WrongPurpose, "clientAuth"},
		"for e-mail only":                                          {certs(leaf(t, "x", h.clients, usages(x509.ExtKeyUsageEmailProtection))), a, Client, refusal.WrongPurpose, "emailProtection"},
		"for anything":                                             {certs(leaf(t, "x", h.clients, usages(x509.ExtKeyUsageAny))), a, Client, refusal.WrongPurpose, "anyExtendedKeyUsage"},
		"for anything and clientAuth":                              {certs(leaf(t, "x", h.clients, usages(x509.ExtKeyUsageAny, x509.ExtKeyUsageClientAuth))), a, Client, "", ""},
		"without a usage":                                          {certs(leaf(t, "x", h.clients, usages())), a, Client, refusal.WrongPurpose, "no extended key usage"},
		"clientAuth from the issuer of servers":                    {certs(leaf(t, "x", h.servers)), a, Client, refusal.WrongPurpose, "may issue for serverAuth only"},
		"the issuer's own certificate":                             {certs(h.clients), a, Client, refusal.WrongPurpose, "authority"},
		"the root's own certificate":                               {certs(h.root), a, Client, refusal.WrongPurpose, "authority"},
		"a key usage without signatures":                           {certs(leaf(t, "x", h.clients, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment })), a, Client, refusal.WrongPurpose, "signatures"},
		"not yet valid":                                            {certs(leaf(t, "x", h.clients, future)), a, Client, refusal.NotYetValid, "begins in"},
		"expired":                                                  {certs(leaf(t, "x", h.clients, past)), a, Client, refusal.Expired, "ended 3 days ago"},
		"ended before it begins":                                   {certs(leaf(t, "x", h.clients, dates(now.AddDate(1, 0, 0), now.AddDate(0, 0, -3)))), a, Client, refusal.Expired, "good at no time"},
		"an expired issuer":                                        {certs(leaf(t, "x", oldIssuer), oldIssuer), a, Client, refusal.Expired, "'clients-0' ended"},
		"an expired root":                                          {certs(leaf(t, "x", oldRoot)), Anchors{Roots: certs(oldRoot)}, Client, refusal.Expired, "'Old root' ended"},
		"no anchors":                                               {certs(phone, h.clients, h.root), Anchors{}, Client, refusal.UnknownIssuer, "not trusted"},
		"an issuer without a root":                                 {certs(phone), Anchors{Intermediates: certs(h.clients)}, Client, refusal.UnknownIssuer, "Example root"},
		"a client's certificate among the roots opens nothing":     {certs(phone), Anchors{Roots: certs(phone)}, Client, refusal.UnknownIssuer, ""},
		"no purpose":                                               {certs(phone), a, 0, refusal.WrongPurpose, "no purpose"},
	}
}

func TestVerifyGivesOneCodeToOneCause(t *testing.T) {
	for name, c := range verifyCases(t) {
		t.Run(name, func(t *testing.T) {
			r := NewVerifier(c.anchors, c.purpose).Verify(c.presented, now)
			if r.Code != c.want || !strings.Contains(r.Detail, c.detail) {
				t.Fatalf("got %q (%s), want %q with %q in it", r.Code, r.Detail, c.want, c.detail)
			}
			if r.OK() != (c.want == "") {
				t.Fatalf("OK is %v with code %q", r.OK(), r.Code)
			}
			if r.OK() && (len(r.Chain) < 2 || !r.Chain[0].Equal(c.presented[0])) {
				t.Fatalf("the chain has %d certificates", len(r.Chain))
			}
		})
	}
}

// The log and 'postern explain' tell the same story.
func TestExplainAgreesWithVerify(t *testing.T) {
	for name, c := range verifyCases(t) {
		t.Run(name, func(t *testing.T) {
			r := NewVerifier(c.anchors, c.purpose).Verify(c.presented, now)
			var got refusal.Code
			if faults := Faults(Explain(c.presented, c.anchors, c.purpose, "", now)); len(faults) > 0 {
				got = faults[0].Code
			}
			if got != r.Code {
				t.Errorf("explained as %q, verified as %q", got, r.Code)
			}
		})
	}
}

func TestVerifierIsSafeForConcurrentUse(t *testing.T) {
	h := newHouse(t)
	v := NewVerifier(h.anchors(), Client)
	good, bad := certs(leaf(t, "a", h.clients)), certs(leaf(t, "b", h.servers, server))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if !v.Verify(good, now).OK() || v.Verify(bad, now).Code != refusal.WrongPurpose {
					t.Error("the verdict changed")
				}
			}
		})
	}
	wg.Wait()
}

// hostile returns chains made to be expensive, and the verifier they meet.
func hostile(t testing.TB) (map[string][]*x509.Certificate, *Verifier) {
	h := newHouse(t)
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	slow := &entity{key: p521}
	slow = sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "slow"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(1, 0, 0)}, p521, nil)
	var twins []*x509.Certificate
	for i := range 5 {
		twin := sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "slow"}, IsCA: true, BasicConstraintsValid: true,
			SerialNumber: big.NewInt(int64(i + 1)), DNSNames: []string{fmt.Sprint(i, ".example")},
			NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(1, 0, 0)}, p521, slow)
		twins = append(twins, twin.Certificate)
	}
	ours := authority(t, "clients-1", nil)
	var sameName []*x509.Certificate
	for range 5 {
		sameName = append(sameName, authority(t, "clients-1", ours).Certificate)
	}
	many := func(n int) change {
		return func(c *x509.Certificate) {
			for i := range n {
				c.DNSNames = append(c.DNSNames, fmt.Sprint("host-", i, ".example.com"))
			}
		}
	}
	policies := func(c *x509.Certificate) {
		for i := range 32 {
			oid, _ := x509.OIDFromInts([]uint64{1, 2, 3, uint64(i)})
			c.Policies = append(c.Policies, oid)
		}
	}
	return map[string][]*x509.Certificate{
		"five twins of one slow key":             append(certs(leaf(t, "x", slow)), twins...),
		"five issuers with our issuer's name":    append(certs(leaf(t, "x", ours)), sameName...),
		"a hundred names":                        certs(leaf(t, "x", h.clients, many(99))),
		"thirty-two policies":                    certs(leaf(t, "x", h.clients, policies)),
		"self-made with a slow key":              certs(slow),
		"genuine, for the wrong purpose":         certs(leaf(t, "x", h.servers, server)),
		"genuine, expired":                       certs(leaf(t, "x", h.clients, past)),
		"forged":                                 certs(forge(t, "x", h.clients)),
		"name constraints against a hundred SAN": hostileConstraints(t, h, many(99)),
	}, NewVerifier(h.anchors(), Client)
}

func hostileConstraints(t testing.TB, h house, names change) []*x509.Certificate {
	issuer := authority(t, "narrow", h.root, func(c *x509.Certificate) {
		for i := range 100 {
			c.ExcludedDNSDomains = append(c.ExcludedDNSDomains, fmt.Sprint("no-", i, ".example.com"))
		}
	})
	return certs(leaf(t, "x", issuer, names), issuer)
}

// Five milliseconds are the bound. The fastest of many runs is compared, so
// that a busy machine does not fail the test.
func TestHostileChainsStayCheap(t *testing.T) {
	const bound = 5 * time.Millisecond * raceFactor
	chains, v := hostile(t)
	for name, presented := range chains {
		t.Run(name, func(t *testing.T) {
			best := time.Hour
			for range 100 {
				start := time.Now()
				v.Verify(presented, now)
				if best = min(best, time.Since(start)); best < bound {
					return
				}
			}
			t.Errorf("took %v", best)
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	h := newHouse(b)
	v, good := NewVerifier(h.anchors(), Client), certs(leaf(b, "x", h.clients), h.clients)
	b.Run("good", func(b *testing.B) {
		for b.Loop() {
			if !v.Verify(good, now).OK() {
				b.Fatal("refused")
			}
		}
	})
	chains, v := hostile(b)
	for name, presented := range chains {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				v.Verify(presented, now)
			}
		})
	}
}

func TestBounds(t *testing.T) {
	h := newHouse(t)
	base := leaf(t, "x", h.clients)
	with := func(f change) []*x509.Certificate {
		c := *base.Certificate
		f(&c)
		return []*x509.Certificate{&c}
	}
	for name, c := range map[string]struct {
		presented []*x509.Certificate
		want      string // "" is in bounds
	}{
		"an ordinary certificate": {certs(base), ""},
		"nothing":                 {nil, ""},
		"six certificates":        {slices.Repeat(certs(base), 6), ""},
		"seven certificates":      {slices.Repeat(certs(base), 7), "7 certificates"},
		"a hundred names":         {with(hosts(slices.Repeat([]string{"a.example"}, 99)...)), ""},
		"a hundred and one names": {with(hosts(slices.Repeat([]string{"a.example"}, 100)...)), "101 names"},
		"more than 16 KiB":        {with(func(c *x509.Certificate) { c.Raw = bytes.Repeat([]byte{1}, MaxDER+1) }), "16385 bytes"},
		"a NUL in a DNS name":     {with(hosts("good.example\x00.evil.test")), `\x00`},
		"a newline in a DNS name": {with(hosts("good\n.example")), `\x0a`},
		"an escape in an e-mail":  {with(func(c *x509.Certificate) { c.EmailAddresses = []string{"a\x1b[2J@b"} }), `\x1b`},
		"an overlong name":        {with(hosts(strings.Repeat("a", 2049))), "too long"},
		"a policy too many":       {with(func(c *x509.Certificate) { c.Policies = make([]x509.OID, 33) }), "33 policies"},
	} {
		t.Run(name, func(t *testing.T) {
			err := Bounds(c.presented)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
