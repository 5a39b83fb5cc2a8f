package partner

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/chain"
	"github.com/postern-project/postern/internal/refusal"
	"github.com/postern-project/postern/internal/rule"
)

var now = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newAuthority(name string, by *authority, change ...func(*x509.Certificate)) *authority {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	c := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	for _, f := range change {
		f(c)
	}
	if by == nil {
		by = &authority{c, key}
	}
	return &authority{must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, c, by.cert, key.Public(), by.key)))), key}
}

func (a *authority) issue(serial int64, change ...func(*x509.Certificate)) *x509.Certificate {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	c := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "client", Organization: []string{"Partner"}},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), DNSNames: []string{"api.partner.example"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, f := range change {
		f(c)
	}
	return must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, c, a.cert, key.Public(), a.key))))
}

func (a *authority) list(serials []int64, change ...func(*x509.RevocationList)) []byte {
	l := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now.Add(-time.Minute), NextUpdate: now.Add(time.Hour)}
	for _, s := range serials {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(s), RevocationTime: now.Add(-time.Minute)})
	}
	for _, f := range change {
		f(l)
	}
	return must(x509.CreateRevocationList(rand.Reader, l, a.cert, a.key))
}

func trust(a *authority, members ...Member) Trust {
	return Trust{Name: must(rule.ParsePartner("acme")), Anchors: chain.Anchors{Roots: []*x509.Certificate{a.cert}}, Members: members}
}

// Only the typed entry matches: the same text in another type of name, with a
// NUL in it, in another case where case counts, or twice in a subject does not.
func TestMembers(t *testing.T) {
	a := newAuthority("partner", nil)
	uri := must(url.Parse("spiffe://partner.example/api"))
	dns := func(names ...string) func(*x509.Certificate) { return func(c *x509.Certificate) { c.DNSNames = names } }
	plain := a.issue(1)
	pin := sha256.Sum256(plain.RawSubjectPublicKeyInfo)
	for sentence, c := range map[string]struct {
		member Member
		cert   *x509.Certificate
		met    bool
	}{
		"a DNS name":                         {Member{DNS: "api.partner.example"}, plain, true},
		"in another case":                    {Member{DNS: "API.partner.example"}, plain, true},
		"another DNS name":                   {Member{DNS: "api.partner.example.evil.example"}, plain, false},
		"a name below it":                    {Member{DNS: "partner.example"}, plain, false},
		"a wildcard is no name":              {Member{DNS: "api.partner.example"}, a.issue(1, dns("*.partner.example")), false},
		"a NUL in it":                        {Member{DNS: "api.partner.example"}, a.issue(1, dns("api.partner.example\x00.evil.example")), false},
		"a URI is no DNS name":               {Member{DNS: "spiffe://partner.example/api"}, a.issue(1, dns(), func(c *x509.Certificate) { c.URIs = []*url.URL{uri} }), false},
		"a URI":                              {Member{URI: "spiffe://partner.example/api"}, a.issue(1, func(c *x509.Certificate) { c.URIs = []*url.URL{uri} }), true},
		"a DNS name is no e-mail address":    {Member{Email: "api.partner.example"}, plain, false},
		"a common name is no DNS name":       {Member{DNS: "client"}, plain, false},
		"an e-mail address":                  {Member{Email: "Ben@partner.example"}, a.issue(1, func(c *x509.Certificate) { c.EmailAddresses = []string{"Ben@PARTNER.example"} }), true},
		"whose first part has a case":        {Member{Email: "ben@partner.example"}, a.issue(1, func(c *x509.Certificate) { c.EmailAddresses = []string{"Ben@partner.example"} }), false},
		"an address":                         {Member{IP: netip.MustParseAddr("192.0.2.7")}, a.issue(1, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(192, 0, 2, 7)} }), true},
		"an address as a DNS name":           {Member{IP: netip.MustParseAddr("192.0.2.7")}, a.issue(1, dns("192.0.2.7")), false},
		"a subject's field":                  {Member{Subject: map[string]string{"o": "Partner"}}, plain, true},
		"two fields, both":                   {Member{Subject: map[string]string{"o": "Partner", "cn": "client"}}, plain, true},
		"two fields, one":                    {Member{Subject: map[string]string{"o": "Partner", "ou": "client"}}, plain, false},
		"a field that stands there twice":    {Member{Subject: map[string]string{"o": "Partner"}}, a.issue(1, func(c *x509.Certificate) { c.Subject.Organization = []string{"Evil", "Partner"} }), false},
		"a field in another case":            {Member{Subject: map[string]string{"o": "partner"}}, plain, false},
		"a comma within a field":             {Member{Subject: map[string]string{"ou": "Ops"}}, a.issue(1, func(c *x509.Certificate) { c.Subject.Organization = []string{"Evil,OU=Ops"} }), false},
		"a key":                              {Member{Key: pin}, plain, true},
		"another key":                        {Member{Key: pin}, a.issue(1), false},
		"a key and a name":                   {Member{Key: pin, DNS: "api.partner.example"}, plain, true},
		"a key and another name":             {Member{Key: pin, DNS: "other.partner.example"}, plain, false},
		"the zero member is met by nobody":   {Member{}, plain, false},
		"a field that nobody knows is unmet": {Member{Subject: map[string]string{"x": "client"}}, plain, false},
	} {
		t.Run(sentence, func(t *testing.T) {
			if got := c.member.met(c.cert); got != c.met {
				t.Errorf("met: %v", got)
			}
			want := refusal.Code("")
			if !c.met {
				want = refusal.NotOnList
			}
			if j := NewChecker(trust(a, c.member), nil).Judge([]*x509.Certificate{c.cert}, now); j.Code != want && (c.met || j.Code != refusal.BadCertificate) {
				t.Errorf("%s: %s", j.Code, j.Detail)
			}
		})
	}
	if j := NewChecker(trust(a), nil).Judge([]*x509.Certificate{plain}, now); j.Code != refusal.NotOnList {
		t.Errorf("without members: %s", j.Code)
	}
}

func TestChains(t *testing.T) {
	a, other := newAuthority("partner", nil), newAuthority("partner", nil)
	c := NewChecker(trust(a, Member{DNS: "api.partner.example"}), nil)
	for sentence, k := range map[string]struct {
		cert  *x509.Certificate
		want  refusal.Code
		known bool
	}{
		"another authority of that name": {other.issue(1), refusal.BadChain, false},
		"a server's certificate":         {a.issue(1, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), refusal.WrongPurpose, true},
		"one without a usage":            {a.issue(1, func(c *x509.Certificate) { c.ExtKeyUsage = nil }), refusal.WrongPurpose, true},
		"one that has ended":             {a.issue(1, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) }), refusal.Expired, true},
		"the authority itself":           {a.cert, "", false},
	} {
		j := c.Judge([]*x509.Certificate{k.cert}, now)
		if k.want == "" && j.Code == "" || k.want != "" && k.want != refusal.BadChain && j.Code != k.want || j.Code == "" || j.Known != k.known && k.want != "" {
			t.Errorf("%s: %s (%s), known %v", sentence, j.Code, j.Detail, j.Known)
		}
	}
	if _, err := Anchored([]*x509.Certificate{a.issue(1)}); err == nil {
		t.Error("a client's certificate is an anchor")
	}
	if _, err := Anchored(nil); err == nil {
		t.Error("nothing is an anchor")
	}
	inter := newAuthority("inter", a)
	anchors, err := Anchored([]*x509.Certificate{inter.cert, a.cert})
	if err != nil || len(anchors.Roots) != 1 || anchors.Roots[0] != a.cert || len(anchors.Intermediates) != 1 {
		t.Errorf("%v %v", anchors, err)
	}
}

func extension(oid asn1.ObjectIdentifier, critical bool, value []byte) func(*x509.RevocationList) {
	return func(l *x509.RevocationList) {
		l.ExtraExtensions = append(l.ExtraExtensions, pkix.Extension{Id: oid, Critical: critical, Value: value})
	}
}

// point is an issuing distribution point with an address and flags.
func point(address string, flags ...byte) []byte {
	var inner []byte
	if address != "" {
		name := append([]byte{0x86, byte(len(address))}, address...)
		full := append([]byte{0xa0, byte(len(name))}, name...)
		inner = append([]byte{0xa0, byte(len(full))}, full...)
	}
	for _, f := range flags {
		if f == 3 {
			inner = append(inner, 0x83, 2, 1, 2)
			continue
		}
		inner = append(inner, 0x80|f, 1, 0xff)
	}
	return append([]byte{0x30, byte(len(inner))}, inner...)
}

// RFC 5280 section 6.3: what a list has to be to say anything.
func TestLists(t *testing.T) {
	a, other := newAuthority("partner", nil), newAuthority("partner", nil)
	mute := newAuthority("mute", nil, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign })
	// One that may sign lists signs in the name of one that may not.
	forMute := (&authority{must(x509.ParseCertificate(newAuthority("mute", nil).cert.Raw)), mute.key})
	const where = "http://crl.partner.example/ca.crl"
	pointed := a.issue(5, func(c *x509.Certificate) { c.CRLDistributionPoints = []string{where} })
	plain := a.issue(5)
	unknown := asn1.ObjectIdentifier{1, 2, 3, 4}
	for sentence, c := range map[string]struct {
		list []byte
		cert *x509.Certificate
		err  string
		want refusal.Code
	}{
		"a good one":                           {a.list([]int64{6}), plain, "", ""},
		"one that has it":                      {a.list([]int64{6, 5}), plain, "", refusal.Revoked},
		"in PEM":                               {pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: a.list([]int64{5})}), plain, "", refusal.Revoked},
		"another authority's of that name":     {other.list(nil), plain, "signed by no authority", ""},
		"one who may not sign lists":           {forMute.list(nil), plain, "signed by no authority", ""},
		"overdue":                              {a.list(nil, func(l *x509.RevocationList) { l.NextUpdate = now.Add(-time.Second) }), plain, "", refusal.RevocationUnknown},
		"overdue, and it has it":               {a.list([]int64{5}, func(l *x509.RevocationList) { l.NextUpdate = now.Add(-time.Second) }), plain, "", refusal.Revoked},
		"from the future":                      {a.list(nil, func(l *x509.RevocationList) { l.ThisUpdate = now.Add(time.Minute) }), plain, "", refusal.RevocationUnknown},
		"a critical extension nobody knows":    {a.list(nil, extension(unknown, true, []byte{5, 0})), plain, "critical extension 1.2.3.4", ""},
		"one that is not critical":             {a.list(nil, extension(unknown, false, []byte{5, 0})), plain, "", ""},
		"a delta list":                         {a.list(nil, extension(oidDelta, true, []byte{2, 1, 1})), plain, "delta list", ""},
		"an indirect list":                     {a.list(nil, extension(oidIssuingPoint, true, point("", 4))), plain, "indirect", ""},
		"for some reasons only":                {a.list(nil, extension(oidIssuingPoint, true, point("", 3))), plain, "some reasons only", ""},
		"for attribute certificates only":      {a.list(nil, extension(oidIssuingPoint, true, point("", 5))), plain, "attribute certificates", ""},
		"for authorities only":                 {a.list([]int64{5}, extension(oidIssuingPoint, true, point("", 2))), plain, "", refusal.RevocationUnknown},
		"for users only":                       {a.list([]int64{5}, extension(oidIssuingPoint, true, point("", 1))), plain, "", refusal.Revoked},
		"for the certificate's point":          {a.list([]int64{5}, extension(oidIssuingPoint, true, point(where))), pointed, "", refusal.Revoked},
		"for another point":                    {a.list(nil, extension(oidIssuingPoint, true, point(where+"2"))), pointed, "", refusal.RevocationUnknown},
		"for a point, and there is none":       {a.list(nil, extension(oidIssuingPoint, true, point(where))), plain, "", refusal.RevocationUnknown},
		"a point that cannot be read":          {a.list(nil, extension(oidIssuingPoint, true, []byte{0x30, 2, 0x99})), plain, "cannot be read", ""},
		"an entry for another issuer":          {a.list(nil, entry(oidCertificateOf)), plain, "indirect", ""},
		"an entry's extension nobody knows":    {a.list(nil, entry(unknown)), plain, "an entry of the list", ""},
		"nothing":                              {nil, plain, "no revocation list", ""},
		"a certificate":                        {plain.Raw, plain, "no revocation list", ""},
		"a PEM file with something behind":     {append(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: a.list(nil)}), "x"...), plain, "something else", ""},
		"more than a list may have":            {make([]byte, MaxList+1), plain, "more than", ""},
		"one with a changed byte in signature": {flip(a.list(nil)), plain, "signed by no authority", ""},
	} {
		t.Run(sentence, func(t *testing.T) {
			l, err := ParseList(c.list, []*x509.Certificate{a.cert, mute.cert})
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("%v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			tr := trust(a, Member{DNS: "api.partner.example"})
			tr.Lists = []string{where}
			if j := NewChecker(tr, []*List{l}).Judge([]*x509.Certificate{c.cert}, now); j.Code != c.want {
				t.Errorf("%s (%s), want %s", j.Code, j.Detail, c.want)
			}
		})
	}
	tr := trust(a, Member{DNS: "api.partner.example"})
	tr.Lists = []string{where}
	if j := NewChecker(tr, nil).Judge([]*x509.Certificate{plain}, now); j.Code != refusal.RevocationUnknown {
		t.Errorf("without the list that is wanted: %s", j.Code)
	}
	late := must(ParseList(a.list([]int64{6}, func(l *x509.RevocationList) { l.NextUpdate = now.Add(-time.Second) }), []*x509.Certificate{a.cert}))
	tr.AcceptOverdue = true
	if j := NewChecker(tr, []*List{late}).Judge([]*x509.Certificate{plain}, now); j.Code != "" {
		t.Errorf("overdue and accepted: %s", j.Code)
	}
	if j := NewChecker(tr, nil).Judge([]*x509.Certificate{plain}, now); j.Code != refusal.RevocationUnknown {
		t.Errorf("overdue accepted, and there is none: %s", j.Code)
	}
	// A chain is as good as each certificate of it.
	inter := newAuthority("inter", a, func(c *x509.Certificate) { c.SerialNumber = big.NewInt(9) })
	leaf := inter.issue(1)
	tr.Anchors.Intermediates = []*x509.Certificate{inter.cert}
	issuers := []*x509.Certificate{a.cert, inter.cert}
	both := []*List{must(ParseList(a.list([]int64{9}), issuers)), must(ParseList(inter.list(nil), issuers))}
	if j := NewChecker(tr, both).Judge([]*x509.Certificate{leaf}, now); j.Code != refusal.Revoked {
		t.Errorf("by a revoked intermediate: %s", j.Code)
	}
	if j := NewChecker(tr, both[1:]).Judge([]*x509.Certificate{leaf}, now); j.Code != refusal.RevocationUnknown {
		t.Errorf("by an intermediate of which nothing is known: %s", j.Code)
	}
}

func entry(oid asn1.ObjectIdentifier) func(*x509.RevocationList) {
	return func(l *x509.RevocationList) {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{
			SerialNumber: big.NewInt(77), RevocationTime: now, ExtraExtensions: []pkix.Extension{{Id: oid, Critical: true, Value: []byte{5, 0}}},
		})
	}
}

func flip(der []byte) []byte {
	der[len(der)-1] ^= 1
	return der
}

func TestAKeeperKeepsWhatItHas(t *testing.T) {
	a := newAuthority("partner", nil)
	var served atomic.Pointer[[]byte]
	var clock atomic.Int64
	clock.Store(now.UnixNano())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if b := served.Load(); b != nil {
			w.Write(*b)
			return
		}
		http.Error(w, "gone", http.StatusNotFound)
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "partner.crl")
	tr := trust(a, Member{DNS: "api.partner.example"})
	tr.Lists = []string{server.URL, file}
	k := NewKeeper(tr, slog.New(slog.DiscardHandler), func() time.Time { return time.Unix(0, clock.Load()) })
	cert := []*x509.Certificate{a.issue(5, func(c *x509.Certificate) { c.NotAfter = now.Add(24 * time.Hour) })}
	judge := func() refusal.Code { return k.Checker().Judge(cert, time.Unix(0, clock.Load())).Code }
	if k.Look(t.Context()) || judge() != refusal.RevocationUnknown {
		t.Errorf("before there is a list: %s", judge())
	}
	first := a.list(nil)
	served.Store(&first)
	if !k.Look(t.Context()) || judge() != "" {
		t.Errorf("the first list: %s", judge())
	}
	// It is asked again after an hour at the latest, and until then it stands.
	second := a.list([]int64{5}, func(l *x509.RevocationList) {
		l.Number, l.ThisUpdate, l.NextUpdate = big.NewInt(2), now.Add(59*time.Minute), now.Add(3*time.Hour)
	})
	served.Store(&second)
	if k.Look(t.Context()) {
		t.Error("asked too soon")
	}
	clock.Store(now.Add(time.Hour).UnixNano())
	if !k.Look(t.Context()) || judge() != refusal.Revoked {
		t.Errorf("the second list: %s", judge())
	}
	// An older one, or none, does not take a revocation back.
	for _, b := range []*[]byte{&first, nil} {
		served.Store(b)
		clock.Add(int64(time.Hour))
		if k.Look(t.Context()) || judge() != refusal.Revoked {
			t.Errorf("after trouble: %s", judge())
		}
	}
	if err := os.WriteFile(file, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if k.Look(t.Context()) || judge() != refusal.Revoked {
		t.Errorf("with a broken file: %s", judge())
	}
}

func TestParseKey(t *testing.T) {
	sum := sha256.Sum256([]byte("x"))
	for _, s := range []string{hex.EncodeToString(sum[:]), "sha256/" + base64.StdEncoding.EncodeToString(sum[:])} {
		if got, err := ParseKey(s); err != nil || got != sum {
			t.Errorf("%s: %v", s, err)
		}
	}
	for _, s := range []string{"", "sha256/", "sha1/AAAA", "abcd", strings.Repeat("z", 64)} {
		if _, err := ParseKey(s); err == nil {
			t.Errorf("%q is accepted", s)
		}
	}
}

// Whatever is accepted as a list was signed, so nothing a fuzzer makes is.
func FuzzParseList(f *testing.F) {
	a := newAuthority("partner", nil)
	f.Add(a.list([]int64{1, 2}))
	f.Add(a.list(nil, extension(oidIssuingPoint, true, point("http://x", 1))))
	good := string(a.list(nil))
	f.Fuzz(func(t *testing.T, der []byte) {
		other := newAuthority("other", nil)
		if _, err := ParseList(der, []*x509.Certificate{other.cert}); err == nil && string(der) != good {
			t.Error("accepted what nobody signed")
		}
		l := &List{}
		l.readIssuingPoint(der)
	})
}
