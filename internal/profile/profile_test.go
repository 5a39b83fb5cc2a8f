package profile

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/identity"
)

func TestBuiltinProfiles(t *testing.T) {
	for name, want := range map[string]struct {
		name     string
		usage    Usage
		lifetime time.Duration
		issuer   string
	}{
		"device": {"device", Client, 365 * 24 * time.Hour, "clients"}, "": {"device", Client, 365 * 24 * time.Hour, "clients"},
		"service": {"service", Client, 24 * time.Hour, "clients"}, "server": {"server", Server, 90 * 24 * time.Hour, "servers"},
		"admin": {"admin", Client, 90 * 24 * time.Hour, "clients"},
	} {
		p, err := Builtin(name)
		if err != nil || p.Name() != want.name || p.Usage() != want.usage || p.Lifetime() != want.lifetime ||
			p.MaxLifetime() != want.lifetime || p.before != time.Minute || p.Issuer() != want.issuer {
			t.Errorf("%q is %+v, %v", name, p, err)
		}
	}
	if _, err := Builtin("servers"); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "device, service, server, admin") {
		t.Errorf("an unknown profile: %v", err)
	}
}

// What is printed is the embedded file but for its comment, and reads back.
func TestBuiltinsArePrintedAsTheyAreWritten(t *testing.T) {
	var printed string
	for _, p := range Builtins().All() {
		printed += p.String()
	}
	if _, written, _ := strings.Cut(string(builtinText), "replaces it.\n"); printed != written {
		t.Errorf("printed:\n%s\nwritten:\n%s", printed, written)
	}
}

func TestTheZeroSetIssuesNothing(t *testing.T) {
	if _, err := (Set{}).Find("device"); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	broken := errors.New("line 3 is wrong")
	if _, err := Refusing(broken).With(Builtins().All()...).Find("device"); !errors.Is(err, broken) {
		t.Error(err)
	}
}

func TestAProfileReplacesTheOneOfItsName(t *testing.T) {
	short := must(t, Spec{Name: "device", Lifetime: time.Hour})
	set := Builtins().With(short, must(t, Spec{Name: "kiosk", Lifetime: time.Hour}))
	if p, err := set.Find(""); err != nil || p.Lifetime() != time.Hour {
		t.Errorf("%v %v", p, err)
	}
	if want := []string{"device", "service", "server", "admin", "kiosk"}; !slices.Equal(set.Names(), want) {
		t.Errorf("%q", set.Names())
	}
	if p, _ := Builtin("device"); p.Lifetime() == time.Hour {
		t.Error("the built-in profile itself changed")
	}
}

func must(t testing.TB, s Spec) Profile {
	t.Helper()
	p, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestNewRefuses(t *testing.T) {
	late := 2 * time.Hour
	for name, s := range map[string]Spec{
		"no name":                          {Lifetime: time.Hour},
		"a name in capitals":               {Name: "Device", Lifetime: time.Hour},
		"no lifetime":                      {Name: "x"},
		"a second":                         {Name: "x", Lifetime: time.Second},
		"a thousand days":                  {Name: "x", Lifetime: 1000 * 24 * time.Hour},
		"a maximum below the usual":        {Name: "x", Lifetime: 2 * time.Hour, MaxLifetime: time.Hour},
		"a maximum of a thousand days":     {Name: "x", Lifetime: time.Hour, MaxLifetime: 1000 * 24 * time.Hour},
		"any usage":                        {Name: "x", Lifetime: time.Hour, Usage: "any"},
		"clients that name themselves":     {Name: "x", Lifetime: time.Hour, Usage: Client, Names: ByRequester},
		"such clients by default":          {Name: "x", Lifetime: time.Hour, Names: ByRequester},
		"names chosen by somebody":         {Name: "x", Lifetime: time.Hour, Names: "me"},
		"an empty list of identities":      {Name: "x", Lifetime: time.Hour, Identities: []Subject{}},
		"an empty list of hosts":           {Name: "x", Lifetime: time.Hour, Usage: Server, Hosts: []HostPattern{}},
		"hosts for a client":               {Name: "x", Lifetime: time.Hour, Hosts: []HostPattern{{}}},
		"a beginning two hours before now": {Name: "x", Lifetime: time.Hour, Backdate: &late},
		"an issuer with a path":            {Name: "x", Lifetime: time.Hour, Issuer: "../root"},
	} {
		if p, err := New(s); err == nil {
			t.Errorf("%s gave %+v", name, p)
		}
	}
}

func TestSetReadsTheLanguage(t *testing.T) {
	for name, c := range map[string]struct {
		key    string
		values []string
		want   string // in the error; "" for none
	}{
		"a usage":                     {"usage", []string{"server"}, ""},
		"two usages":                  {"usage", []string{"server", "client"}, "one value"},
		"a lifetime in days":          {"lifetime", []string{"90d"}, ""},
		"a lifetime in weeks":         {"max_lifetime", []string{"2w"}, ""},
		"a lifetime in minutes":       {"backdate", []string{"5m"}, ""},
		"half a second":               {"backdate", []string{"500ms"}, "whole seconds"},
		"a negative one":              {"lifetime", []string{"-1h"}, "365d"},
		"more days than time has":     {"lifetime", []string{"99999999999d"}, "365d"},
		"no number":                   {"lifetime", []string{"d"}, "365d"},
		"kinds of keys":               {"keys", []string{"ecdsa-p256", "rsa-3072"}, ""},
		"a kind that is not used":     {"keys", []string{"ed25519"}, "use ecdsa-p256"},
		"names and all below them":    {"identities", []string{"ben", "services/checkout"}, ""},
		"a bad name":                  {"identities", []string{"Ben/../root"}, "name"},
		"host patterns":               {"hosts", []string{"*.example.com", "10.0.0.0/8", "::1", "pw.example.com", "any"}, ""},
		"a star in the middle":        {"hosts", []string{"a.*.com"}, "host name"},
		"a key that is not there":     {"subject", []string{"x"}, "use usage"},
		"an empty list of identities": {"identities", nil, ""},
	} {
		var s Spec
		err := s.Set(c.key, c.values)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever is accepted prints in the same language and reads back the same.
func FuzzSet(f *testing.F) {
	f.Add("hosts", "*.example.com")
	f.Add("lifetime", "36h30m")
	f.Add("identities", "ben/phone")
	f.Add("keys", "rsa-4096")
	f.Fuzz(func(t *testing.T, key, value string) {
		s := Spec{Name: "x", Usage: Server, Lifetime: time.Hour, MaxLifetime: MaxLifetime}
		if s.Set(key, []string{value}) != nil {
			return
		}
		p, err := New(s)
		if err != nil {
			return
		}
		again := Spec{Name: "x"}
		for line := range strings.Lines(p.String()) {
			key, value, ok := strings.Cut(strings.TrimSpace(line), ": ")
			if !ok {
				continue
			}
			var values []string
			for v := range strings.SplitSeq(strings.Trim(value, "[]"), ", ") {
				values = append(values, strings.Trim(v, `"`))
			}
			if err := again.Set(key, values); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
		}
		if q, err := New(again); err != nil || q.String() != p.String() {
			t.Errorf("%v became %v, %v", p, q, err)
		}
	})
}

// A profile limits who and what gets its certificates, and with which keys.
func TestProfilesLimitWhatIsCertified(t *testing.T) {
	h := newHouse(t, "example.com")
	web := trustDomain(t, "example.com").ID(name(t, "web"))
	spec := func(set map[string][]string) Profile {
		s := Spec{Name: "x", Usage: Server, Lifetime: time.Hour}
		for key, values := range set {
			if err := s.Set(key, values); err != nil {
				t.Fatal(err)
			}
		}
		return must(t, s)
	}
	for name, c := range map[string]struct {
		p    Profile
		want string // in the error; "" for none
	}{
		"anything goes":               {spec(nil), ""},
		"another identity":            {spec(map[string][]string{"identities": {"ben", "web/x"}}), "is not for web"},
		"an identity by one above it": {spec(map[string][]string{"identities": {"web"}}), ""},
		"another host":                {spec(map[string][]string{"hosts": {"a.example.com"}}), "is not for pw.example.com"},
		"the host itself":             {spec(map[string][]string{"hosts": {"pw.example.com", "10.0.0.0/8"}}), ""},
		"any host below":              {spec(map[string][]string{"hosts": {"*.example.com", "10.0.0.0/8"}}), ""},
		"addresses only":              {spec(map[string][]string{"hosts": {"10.0.0.0/8"}}), "is not for pw.example.com"},
		"an address out of the range": {spec(map[string][]string{"hosts": {"*.example.com", "10.0.0.0/24"}}), "is not for 10.0.1.1"},
		"another kind of key":         {spec(map[string][]string{"keys": {"rsa-3072", "ecdsa-p384"}}), "rsa-3072, ecdsa-p384"},
	} {
		_, r := request(t, h, Server)
		r.ID = web
		r.IPs = []netip.Addr{netip.MustParseAddr("10.0.1.1")}
		_, err := c.p.Template(r)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestIssuersSignByNameOrLine(t *testing.T) {
	for issuer, want := range map[string]bool{
		"clients-1": true, "clients-12": true, "clients": true, "servers-1": false, "clients-": false, "clients-old": false, "clients-1-2": false,
	} {
		if got := must(t, Spec{Name: "x", Lifetime: time.Hour, Issuer: "clients"}).Signs(issuer); got != want {
			t.Errorf("a profile of the line clients is signed by %s: %t", issuer, got)
		}
	}
	exact := must(t, Spec{Name: "x", Lifetime: time.Hour, Issuer: "clients-1"})
	if !exact.Signs("clients-1") || exact.Signs("clients-2") || exact.Signs("clients-12") {
		t.Error("a profile of clients-1 is signed by another")
	}
}

func TestHostsHaveOneForm(t *testing.T) {
	for in, want := range map[string]string{
		"Example.COM": "example.com", "example.com.": "example.com", "*.Example.com": "*.example.com",
		"bücher.example": "xn--bcher-kva.example", "localhost": "localhost", "xn--bcher-kva.example": "xn--bcher-kva.example",
		"a..example": "", "": "", ".": "", "*": "", "*.com": "", "*.*.example.com": "", "a.*.example.com": "",
		"a b.example": "", "a_b.example": "", "-a.example": "", "127.0.0.1": "", "[::1]": "", "::1": "", "1.2.3": "",
		"a.example/": "", "a\x00.example": "", "a\n.example": "", strings.Repeat("a", 64) + ".example": "",
		strings.Repeat("a.", 130) + "example": "", "user@example.com": "", "https://example.com": "", "example.com:443": "", "0x7f.1": "",
	} {
		h, err := ParseHosts([]string{in, in}, nil)
		if want == "" {
			if err == nil {
				t.Errorf("%q became %q", in, h.DNSNames)
			}
			continue
		}
		if err != nil || len(h.DNSNames) != 1 || h.DNSNames[0] != want {
			t.Errorf("%q became %q, %v, want %q", in, h.DNSNames, err, want)
		}
	}
	mapped := netip.MustParseAddr("::ffff:10.0.0.1")
	h, err := ParseHosts(nil, []netip.Addr{mapped, netip.MustParseAddr("10.0.0.1")})
	if err != nil || !slices.Equal(h.IPs, []netip.Addr{netip.MustParseAddr("10.0.0.1")}) {
		t.Errorf("a mapped address became %v, %v", h.IPs, err)
	}
	for _, s := range []string{"fe80::1%eth0", "0.0.0.0", "::", "224.0.0.1", "ff02::1"} {
		if h, err := ParseHosts(nil, []netip.Addr{netip.MustParseAddr(s)}); err == nil {
			t.Errorf("%s became %v", s, h.IPs)
		}
	}
	if _, err := ParseHosts(nil, []netip.Addr{{}}); err == nil {
		t.Error("the zero address")
	}
	if _, err := ParseHosts(slices.Repeat([]string{"a.example"}, 101), nil); err == nil {
		t.Error("101 names")
	}
}

func FuzzParseHost(f *testing.F) {
	for _, s := range []string{"Example.COM.", "*.bücher.example", "a..b", "xn--a", "1.2.3.4", "ℌ.example"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		// The canonical form is its own canonical form, and fits a certificate.
		a, err := parseHost(s)
		if err != nil {
			return
		}
		b, err := parseHost(a)
		if err != nil || a != b {
			t.Errorf("%q became %q, then %q, %v", s, a, b, err)
		}
		if len(a) > 253 || strings.ToLower(a) != a || strings.ContainsAny(a, " \x00/:@") {
			t.Errorf("%q became %q", s, a)
		}
	})
}

func request(t testing.TB, h house, u Usage) (Profile, Request) {
	t.Helper()
	p, err := New(Spec{Name: "test", Usage: u, Lifetime: 90 * 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	issuer, _ := h.issuer(u)
	r := Request{ID: trustDomain(t, "example.com").ID(name(t, "ben/phone")), PublicKey: newKey(t).Public(), Now: noon, Issuer: issuer}
	if u == Server {
		r.DNSNames = []string{"pw.example.com"}
	}
	return p, r
}

func TestTemplateRefuses(t *testing.T) {
	h := newHouse(t, "example.com")
	cases := map[string]struct {
		usage Usage
		spoil func(*Profile, *Request)
	}{
		"the zero profile":                   {Client, func(p *Profile, _ *Request) { *p = Profile{} }},
		"nobody":                             {Client, func(_ *Profile, r *Request) { r.ID = identity.ID{} }},
		"no issuer":                          {Client, func(_ *Profile, r *Request) { r.Issuer = nil }},
		"no key":                             {Client, func(_ *Profile, r *Request) { r.PublicKey = nil }},
		"a host name for a client":           {Client, func(_ *Profile, r *Request) { r.DNSNames = []string{"a.example.com"} }},
		"an address for a client":            {Client, func(_ *Profile, r *Request) { r.IPs = []netip.Addr{netip.MustParseAddr("10.0.0.1")} }},
		"a server without a name":            {Server, func(_ *Profile, r *Request) { r.DNSNames = nil }},
		"a server outside of the domain":     {Server, func(_ *Profile, r *Request) { r.DNSNames = []string{"example.org"} }},
		"a server that only ends like it":    {Server, func(_ *Profile, r *Request) { r.DNSNames = []string{"badexample.com"} }},
		"a wildcard above the domain":        {Server, func(_ *Profile, r *Request) { r.DNSNames = []string{"*.co.uk"} }},
		"a server with a public address":     {Server, func(_ *Profile, r *Request) { r.IPs = []netip.Addr{netip.MustParseAddr("9.9.9.9")} }},
		"a server with a public IPv6":        {Server, func(_ *Profile, r *Request) { r.IPs = []netip.Addr{netip.MustParseAddr("2620:fe::fe")} }},
		"a longer life than the profile has": {Client, func(_ *Profile, r *Request) { r.Lifetime = 91 * 24 * time.Hour }},
		"a life of a second":                 {Client, func(_ *Profile, r *Request) { r.Lifetime = time.Second }},
		"a clock a decade ahead":             {Client, func(_ *Profile, r *Request) { r.Now = noon.AddDate(11, 0, 0) }},
		"a clock a year behind":              {Client, func(_ *Profile, r *Request) { r.Now = noon.AddDate(-1, 0, 0) }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p, r := request(t, h, c.usage)
			c.spoil(&p, &r)
			if _, err := p.Template(r); err == nil {
				t.Error("a template was made")
			}
		})
	}
}

func TestDates(t *testing.T) {
	h := newHouse(t, "example.com")
	p, r := request(t, h, Client)
	for name, c := range map[string]struct {
		now      time.Time
		life     time.Duration
		from, to time.Time
	}{
		"the profile's life":      {noon.Add(time.Hour), 0, noon.Add(59 * time.Minute), noon.Add(time.Hour + p.Lifetime())},
		"a shorter one":           {noon.Add(time.Hour), 2 * time.Hour, noon.Add(59 * time.Minute), noon.Add(3 * time.Hour)},
		"whole seconds":           {noon.Add(time.Hour + 1), time.Hour, noon.Add(59 * time.Minute), noon.Add(2 * time.Hour)},
		"never before the issuer": {noon, time.Hour, h.clients.NotBefore, noon.Add(time.Hour)},
		"never past the issuer":   {h.clients.NotAfter.Add(-time.Hour), 0, h.clients.NotAfter.Add(-61 * time.Minute), h.clients.NotAfter},
	} {
		r.Now, r.Lifetime = c.now, c.life
		got, err := p.Template(r)
		if err != nil || !got.NotBefore.Equal(c.from) || !got.NotAfter.Equal(c.to) {
			t.Errorf("%s: %v to %v, %v", name, got.NotBefore, got.NotAfter, err)
		}
	}
}

// Each of the 127 bits is drawn, so that none is lost to the sign: with one less
// than 64, millions of certificates were replaced in 2019.
func TestSerialNumbersDoNotRepeat(t *testing.T) {
	const drawn = 1000
	seen, ones := map[string]bool{}, [127]int{}
	for range drawn {
		n := newSerial(0)
		if n.Sign() <= 0 || n.BitLen() > len(ones) || seen[n.String()] {
			t.Fatalf("serial number %x", n)
		}
		seen[n.String()] = true
		for i := range ones {
			ones[i] += int(n.Bit(i))
		}
	}
	for i, n := range ones {
		if n < drawn/3 || n > drawn*2/3 { // ten standard deviations away
			t.Errorf("bit %d was 1 in %d of %d", i, n, drawn)
		}
	}
}

// A serial number tells its shard and keeps its 127 random bits.
func TestSerialNumbersTellTheirShard(t *testing.T) {
	for _, shard := range []uint32{0, 1, 127, 128, 255, 256, 70_000, 1<<31 - 1} {
		n := newSerial(shard)
		if got := ShardOf(n.Bytes()); got != shard || n.BitLen() > 159 {
			t.Errorf("shard %d: serial %x tells %d", shard, n, got)
		}
		if random := new(big.Int).Rsh(n, 127); shard != 0 && random.Int64() != int64(shard)<<1 {
			t.Errorf("shard %d: %x stands before the random bits", shard, random)
		}
	}
}

// Whatever differs from the decision is found on the encoded certificate.
func TestCheckFindsEveryDifference(t *testing.T) {
	h := newHouse(t, "example.com")
	cases := map[string]func(*x509.Certificate){
		"another identity":        func(c *x509.Certificate) { c.URIs = []*url.URL{{Scheme: "spiffe", Host: "example.com", Path: "/anna"}} },
		"another trust domain":    func(c *x509.Certificate) { c.URIs[0].Host = "example.org" },
		"two identities":          func(c *x509.Certificate) { c.URIs = append(c.URIs, c.URIs[0]) },
		"no identity":             func(c *x509.Certificate) { c.URIs = nil },
		"another common name":     func(c *x509.Certificate) { c.Subject.CommonName = "anna" },
		"a second subject part":   func(c *x509.Certificate) { c.Subject.Organization = []string{"ops"} },
		"one more host name":      func(c *x509.Certificate) { c.DNSNames = append(c.DNSNames, "a.example.com") },
		"another host name":       func(c *x509.Certificate) { c.DNSNames = []string{"a.example.com"} },
		"no host name":            func(c *x509.Certificate) { c.DNSNames = nil },
		"an address":              func(c *x509.Certificate) { c.IPAddresses = []net.IP{{10, 0, 0, 1}} },
		"a mail address":          func(c *x509.Certificate) { c.EmailAddresses = []string{"ben@example.com"} },
		"any usage":               func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} },
		"both usages":             func(c *x509.Certificate) { c.ExtKeyUsage = append(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth) },
		"the other usage":         func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} },
		"a usage of nobody":       func(c *x509.Certificate) { c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 2, 3}} },
		"no usage":                func(c *x509.Certificate) { c.ExtKeyUsage = nil },
		"a key that may sign":     func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign },
		"an authority":            func(c *x509.Certificate) { c.IsCA = true },
		"no basic constraints":    func(c *x509.Certificate) { c.BasicConstraintsValid = false },
		"a longer life":           func(c *x509.Certificate) { c.NotAfter = c.NotAfter.Add(time.Second) },
		"an earlier beginning":    func(c *x509.Certificate) { c.NotBefore = c.NotBefore.Add(-time.Second) },
		"a small serial number":   func(c *x509.Certificate) { c.SerialNumber = big.NewInt(17) },
		"another key identifier":  func(c *x509.Certificate) { c.SubjectKeyId = []byte{1, 2, 3} },
		"a policy":                func(c *x509.Certificate) { c.Policies = []x509.OID{oid("1.2.3")} },
		"a place for revocations": func(c *x509.Certificate) { c.CRLDistributionPoints = []string{"http://example.com/crl"} },
		"an unknown extension": func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Value: []byte{5, 0}}}
		},
		"a critical name": func(c *x509.Certificate) { c.Subject = pkix.Name{} },
	}
	for name, spoil := range cases {
		t.Run(name, func(t *testing.T) {
			p, r := request(t, h, Server)
			template, err := p.Template(r)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Check(encode(t, template, r.Issuer, r.PublicKey, h.serversKey), r); err != nil {
				t.Fatalf("before the change: %v", err)
			}
			spoil(template)
			if err := p.Check(encode(t, template, r.Issuer, r.PublicKey, h.serversKey), r); err == nil {
				t.Error("the change passed")
			}
		})
	}
	p, r := request(t, h, Server)
	template, err := p.Template(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Check(encode(t, template, r.Issuer, newKey(t).Public(), h.serversKey), r); err == nil {
		t.Error("another public key passed")
	}
	other := newHouse(t, "example.com")
	if err := p.Check(encode(t, template, other.servers, r.PublicKey, other.serversKey), r); err == nil {
		t.Error("another issuer passed")
	}
}

func oid(s string) x509.OID {
	o, err := x509.ParseOID(s)
	if err != nil {
		panic(err)
	}
	return o
}

func TestServersIssuerIsBoundToARealDomain(t *testing.T) {
	for domain, bound := range map[string]bool{
		"example.com": true, "a.b.example.co.uk": true, "postern.internal": false, "localhost": false, "home": false,
		"nas.home.arpa": false, "box.local": false, "my_house.example.com": false, "10.0.0.1": false, "lab.test": false,
	} {
		h := newHouse(t, domain)
		c := h.servers
		if got := len(c.PermittedDNSDomains) > 0; got != bound || c.PermittedDNSDomainsCritical != bound || bound && c.PermittedDNSDomains[0] != domain {
			t.Errorf("%s: bound to %q", domain, c.PermittedDNSDomains)
		}
		if none := h.clients.PermittedDNSDomains; len(none) != 1 || none[0] != "invalid" || len(h.clients.ExcludedIPRanges) != 2 || !h.clients.PermittedDNSDomainsCritical {
			t.Errorf("%s: the issuer for clients can certify hosts: %q, %v", domain, none, h.clients.ExcludedIPRanges)
		}
	}
}

// A common name that looks like a host would be measured by the limits on hosts.
func TestNoCommonNameLooksLikeAHost(t *testing.T) {
	for in, want := range map[string]string{
		"ben/phone": "ben/phone", "ben": "ben", "printer.hall": "name printer.hall", "a/b.c": "a/b.c",
		strings.Repeat("a.", 40) + "b": "name " + strings.Repeat("a.", 29) + "b",
	} {
		if got := CommonName(name(t, in)); got != want || len(got) > 64 {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func TestAuthoritiesAreWhatTheyShouldBe(t *testing.T) {
	h := newHouse(t, "example.com")
	if h.root.MaxPathLen != 2 || !h.root.NotAfter.Equal(noon.AddDate(20, 0, 0)) {
		t.Errorf("root: path length %d, until %s", h.root.MaxPathLen, h.root.NotAfter)
	}
	for want, c := range map[x509.ExtKeyUsage]*x509.Certificate{x509.ExtKeyUsageClientAuth: h.clients, x509.ExtKeyUsageServerAuth: h.servers} {
		if !c.MaxPathLenZero || c.MaxPathLen != 0 || len(c.ExtKeyUsage) != 1 || c.ExtKeyUsage[0] != want || !c.NotAfter.Equal(noon.AddDate(10, 0, 0)) {
			t.Errorf("%s: path length %d, usages %v, until %s", c.Subject, c.MaxPathLen, c.ExtKeyUsage, c.NotAfter)
		}
	}
	late, err := IssuerTemplate(trustDomain(t, "example.com"), "clients-2", Client, newKey(t).Public(), h.root, noon.AddDate(15, 0, 0), "")
	if err != nil || !late.NotAfter.Equal(h.root.NotAfter) {
		t.Errorf("an issuer outlives its root: %v", err)
	}
	if _, err := IssuerTemplate(trustDomain(t, "example.com"), strings.Repeat("x", 40), Client, newKey(t).Public(), h.root, noon, ""); err == nil {
		t.Error("an issuer's name of 40 letters")
	}
	if _, err := RootTemplate(identity.TrustDomain{}, newKey(t).Public(), noon); err == nil {
		t.Error("a root of no trust domain")
	}
}

func TestCheckAuthorityFindsDifferences(t *testing.T) {
	h := newHouse(t, "example.com")
	rootKey := newKey(t)
	template, err := RootTemplate(trustDomain(t, "example.com"), rootKey.Public(), noon)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*x509.Certificate){
		"no authority":        func(c *x509.Certificate) { c.IsCA, c.MaxPathLen = false, 0 },
		"a longer path":       func(c *x509.Certificate) { c.MaxPathLen = 3 },
		"another usage":       func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} },
		"a longer life":       func(c *x509.Certificate) { c.NotAfter = c.NotAfter.AddDate(1, 0, 0) },
		"another name":        func(c *x509.Certificate) { c.Subject.CommonName = "other" },
		"a name constraint":   func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"example.org"} },
		"a key usage besides": func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageDigitalSignature },
	} {
		changed := *template
		spoil(&changed)
		c := encode(t, &changed, &changed, rootKey.Public(), rootKey)
		if err := CheckAuthority(c, template, c); err == nil {
			t.Errorf("%s passed", name)
		}
	}
	if err := CheckAuthority(h.clients, template, h.servers); err == nil {
		t.Error("a stranger's signature passed")
	}
}

func TestEveryLintSourceIsRun(t *testing.T) {
	count := map[string]int{}
	for _, l := range lints() {
		count[string(l.Source)]++
	}
	for _, s := range lintSources {
		if count[string(s)] == 0 {
			t.Errorf("no lint of %s", s)
		}
	}
	if len(count) != len(lintSources) {
		t.Errorf("sources %v", count)
	}
	if err := Lint([]byte("junk")); err == nil {
		t.Error("junk passes the lint")
	}
}
