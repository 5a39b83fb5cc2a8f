package chain

import (
	"crypto/x509"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/refusal"
)

func TestExplainChainsThatPosternDidNotMake(t *testing.T) {
	root := authority(t, "World CA", nil)
	mid := authority(t, "World CA R3", root, server)
	site := leaf(t, "www.example.com", mid, server, hosts("www.example.com", "example.com"),
		func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.ParseIP("2001:db8::1")}; c.URIs = nil })
	aia := leaf(t, "www.example.com", mid, server, hosts("www.example.com"),
		func(c *x509.Certificate) { c.IssuingCertificateURL = []string{"http://ca.example/r3.crt"} })
	cn := leaf(t, "www.example.com", mid, server)
	weak := leaf(t, "weak", mid, server, hosts("www.example.com"),
		func(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA1 })
	device := leaf(t, "phone", root, hosts("www.example.com"))
	bare := leaf(t, "bare", root, usages(), hosts("www.example.com"))
	a := Anchors{Roots: certs(root)}
	system := Anchors{System: poolOf(certs(root))}
	year := 366 * 24 * time.Hour
	for name, c := range map[string]struct {
		presented []*x509.Certificate
		anchors   Anchors
		host      string
		at        time.Time
		code      refusal.Code
		want      string // in a detail or remedy of some step
	}{
		"all is well":                          {certs(site, mid), a, "example.com", now, "", "is among its names"},
		"the root is one of the system's":      {certs(site, mid), system, "example.com", now, "", "'World CA' is trusted here"},
		"an IPv6 address among the names":      {certs(site, mid), a, "2001:db8::1", now, "", "is among its names"},
		"the root was sent along":              {certs(site, mid, root), a, "", now, "", "trusted here"},
		"an unrelated certificate too much":    {certs(site, mid, newHouse(t).root), a, "", now, "", "has no place"},
		"the intermediate is missing":          {certs(site), a, "", now, refusal.UnknownIssuer, "If 'World CA R3' is an intermediate"},
		"missing, and its address is known":    {certs(aia), a, "", now, refusal.UnknownIssuer, "http://ca.example/r3.crt"},
		"missing, system roots":                {certs(site), system, "", now, refusal.UnknownIssuer, "'World CA R3'"},
		"the root was sent, not the middle":    {certs(site, root), a, "", now, refusal.UnknownIssuer, "'World CA R3'"},
		"the leaf comes last":                  {certs(root, mid, site), a, "", now, refusal.BadChain, "'www.example.com', 'World CA R3' and 'World CA'"},
		"a wrong host, with the names it has":  {certs(site, mid), a, "shop.example.com", now, WrongHost, "'www.example.com', 'example.com' and 2001:db8::1"},
		"the host only as common name":         {certs(cn, mid), a, "www.example.com", now, WrongHost, "does not count"},
		"signed with SHA-1":                    {certs(weak, mid), a, "www.example.com", now, refusal.BadChain, "ECDSA-SHA1"},
		"a client's certificate as a server's": {certs(device), a, "www.example.com", now, refusal.WrongPurpose, "profile 'server'"},
		"no usage at all":                      {certs(bare), a, "www.example.com", now, "", "Apple"},
		"the clock is behind":                  {certs(site, mid), a, "", now.Add(-3 * year), refusal.NotYetValid, "clock says 2023"},
		"the clock is ahead":                   {certs(site, mid), a, "", now.Add(20 * year), refusal.Expired, "may be"},
		"a year ahead ends only the leaf":      {certs(site, mid), a, "", now.Add(year), refusal.Expired, "'www.example.com' ended"},
		"nine certificates":                    {append(certs(site, mid), slices.Repeat(certs(root), 7)...), a, "", now, refusal.BadCertificate, "9 certificates"},
		"nothing":                              {nil, a, "", now, refusal.NoCertificate, "presented"},
	} {
		t.Run(name, func(t *testing.T) {
			steps := Explain(c.presented, c.anchors, Server, c.host, c.at)
			var code refusal.Code
			if faults := Faults(steps); len(faults) > 0 {
				code = faults[0].Code
				if faults[0].Remedy == "" {
					t.Errorf("no remedy for %+v", faults[0])
				}
			}
			if code != c.code {
				t.Errorf("got code %q, want %q", code, c.code)
			}
			if text := told(steps); !strings.Contains(text, c.want) {
				t.Errorf("want %q in:\n%s", c.want, text)
			}
		})
	}
}

// told returns all the words of steps.
func told(steps []Step) string {
	var b strings.Builder
	for _, s := range steps {
		b.WriteString(s.Title + ": " + s.Detail + " " + s.Remedy + "\n" + told(s.Children))
	}
	return b.String()
}

// A name from a certificate cannot steer the reader's terminal.
func TestExplainEscapesNames(t *testing.T) {
	evil := leaf(t, "\x1b]0;owned\x07\u202egnp.exe", nil)
	for _, s := range []string{told(Explain(certs(evil), Anchors{}, Client, "\x1b[2J", now)), NewVerifier(Anchors{}, Client).Verify(certs(evil), now).Detail} {
		if strings.ContainsAny(s, "\x1b\x07\u202e") || !strings.Contains(s, `\x1b]0;owned\x07\u202egnp.exe`) {
			t.Errorf("got %q", s)
		}
	}
}

func TestExpiredIntermediateHasAValidTwin(t *testing.T) {
	root := authority(t, "Root", nil)
	key := newKey(t)
	template := func(c change) *x509.Certificate {
		x := authority(t, "Cross", root, client, c).Certificate
		return &x509.Certificate{Subject: x.Subject, IsCA: true, BasicConstraintsValid: true,
			NotBefore: x.NotBefore, NotAfter: x.NotAfter, KeyUsage: x509.KeyUsageCertSign}
	}
	old := sign(t, template(past), key, root)
	fresh := sign(t, template(func(*x509.Certificate) {}), key, root)
	phone := leaf(t, "phone", fresh)
	for name, c := range map[string]struct {
		presented []*x509.Certificate
		anchors   Anchors
	}{
		"both presented, the old one first": {certs(phone, old, fresh), Anchors{Roots: certs(root)}},
		"both known, the old one first":     {certs(phone), Anchors{Roots: certs(root), Intermediates: certs(old, fresh)}},
		"the old one known":                 {certs(phone, fresh), Anchors{Roots: certs(root), Intermediates: certs(old)}},
	} {
		t.Run(name, func(t *testing.T) {
			r := NewVerifier(c.anchors, Client).Verify(c.presented, now)
			if !r.OK() {
				t.Errorf("refused: %s, %s", r.Code, r.Detail)
			}
			if f := Faults(Explain(c.presented, c.anchors, Client, "", now)); len(f) > 0 {
				t.Errorf("explained with faults: %+v", f)
			}
		})
	}
}
