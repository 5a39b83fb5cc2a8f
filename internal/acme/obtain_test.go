package acme

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/authority"
)

func TestACertificateByEveryChallenge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.account(t, "services/web")
	for sentence, k := range map[string]struct {
		challenge string
		hosts     []string
	}{
		"http-01 for a name":               {"http-01", []string{"a.test.internal"}},
		"http-01 for an address":           {"http-01", []string{"127.0.0.1"}},
		"http-01 for names and an address": {"http-01", []string{"b.test.internal", "127.0.0.1", "c.test.internal"}},
		"dns-01 for a name":                {"dns-01", []string{"d.test.internal"}},
		"dns-01 for a wildcard":            {"dns-01", []string{"*.e.test.internal"}},
		"dns-01 for both":                  {"dns-01", []string{"f.test.internal", "*.f.test.internal"}},
	} {
		t.Run(sentence, func(t *testing.T) {
			leaf, key := c.obtain(k.challenge, k.hosts...)
			var got []string
			got = append(got, leaf.DNSNames...)
			for _, ip := range leaf.IPAddresses {
				got = append(got, ip.String())
			}
			want := slices.Clone(k.hosts)
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) || !key.PublicKey.Equal(leaf.PublicKey) {
				t.Errorf("the certificate is for %s, want %s", got, want)
			}
			records := must(w.authority.Certificates(t.Context(), authority.CertificateFilter{Name: named(t, "services/web")}))(t)
			if len(records) == 0 || records[0].Via != "acme" || records[0].Name.String() != "services/web" {
				t.Errorf("the ledger says %+v", records)
			}
		})
	}
	w.verify()
}

// alpnCertificate is what a server of tls-alpn-01 shows.
func alpnCertificate(t testing.TB, authorization string, change func(*x509.Certificate), hosts ...string) *tls.Certificate {
	t.Helper()
	sum := sha256.Sum256([]byte(authorization))
	value := must(asn1.Marshal(sum[:]))(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtraExtensions: []pkix.Extension{{Id: oidACMEIdentifier, Critical: true, Value: value}},
	}
	for _, h := range hosts {
		if ip, err := netip.ParseAddr(h); err == nil {
			template.IPAddresses = append(template.IPAddresses, ip.AsSlice())
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	if change != nil {
		change(template)
	}
	key := newKey(t)
	der := must(x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key))(t)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestTLSALPN01(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.account(t, "services/web")
	host := "alpn.test.internal"
	second := "second.test.internal" // too many failures of one are too many
	w.dns.set(func(s *dnsServer) {
		s.addresses[host], s.addresses[second] = []string{"127.0.0.9"}, []string{"127.0.0.9"}
	})
	var mu sync.Mutex
	var show *tls.Certificate
	var asked []string
	var old func(*tls.Config)
	serve := func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, h.ServerName)
		c := &tls.Config{NextProtos: []string{alpnProtocol}, Certificates: []tls.Certificate{*show}}
		if old != nil {
			old(c)
		}
		return c, nil
	}
	speaksTLS(t, "127.0.0.9", w.web.port, serve)
	for sentence, k := range map[string]struct {
		host   string
		change func(*x509.Certificate)
		names  []string
		wrong  string // the problem; "" for none
	}{
		"a right certificate":  {host, nil, []string{host}, ""},
		"over TLS 1.1":         {second, nil, []string{second}, tlsProblem},
		"without the protocol": {second, nil, []string{second}, tlsProblem},
		"the extension of a draft": {second, func(c *x509.Certificate) {
			c.ExtraExtensions[0].Id = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 30, 1}
		}, []string{second}, incorrectResponse},
		"the extension twice, one of a draft": {second, func(c *x509.Certificate) {
			c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 30, 1}, Critical: true, Value: c.ExtraExtensions[0].Value})
			c.ExtraExtensions[0].Value = append([]byte{4, 32}, make([]byte, 32)...)
		}, []string{second}, incorrectResponse},
		"a right one for an address":          {"127.0.0.9", nil, []string{"127.0.0.9"}, ""},
		"another name":                        {host, nil, []string{"other.test.internal"}, incorrectResponse},
		"another name beside it":              {host, nil, []string{host, "other.test.internal"}, incorrectResponse},
		"no extension":                        {host, func(c *x509.Certificate) { c.ExtraExtensions = nil }, []string{host}, incorrectResponse},
		"an extension that is not critical":   {host, func(c *x509.Certificate) { c.ExtraExtensions[0].Critical = false }, []string{host}, incorrectResponse},
		"another digest":                      {host, func(c *x509.Certificate) { c.ExtraExtensions[0].Value[5] ^= 1 }, []string{host}, incorrectResponse},
		"a digest with something behind it":   {host, func(c *x509.Certificate) { e := &c.ExtraExtensions[0]; e.Value = append(e.Value, 0) }, []string{host}, incorrectResponse},
		"a digest of another hash's length":   {host, func(c *x509.Certificate) { c.ExtraExtensions[0].Value = append([]byte{4, 20}, make([]byte, 20)...) }, []string{host}, incorrectResponse},
		"the name of an address, not the SAN": {"127.0.0.9", nil, []string{"9.0.0.127.in-addr.arpa"}, incorrectResponse},
	} {
		t.Run(sentence, func(t *testing.T) {
			o := c.order(k.host)
			ch := c.authorization(o.Authorizations[0]).find(t, "tls-alpn-01")
			mu.Lock()
			show = alpnCertificate(t, c.keyAuthorization(ch.Token), k.change, k.names...)
			old = map[string]func(*tls.Config){
				"over TLS 1.1":         func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 },
				"without the protocol": func(c *tls.Config) { c.NextProtos = nil },
			}[sentence]
			mu.Unlock()
			got := decodeJSON[challengeView](t, c.post(ch.URL, struct{}{}).body)
			switch {
			case k.wrong == "" && got.Status != statusValid:
				t.Errorf("%+v", got)
			case k.wrong != "" && (got.Status != statusInvalid || got.Error == nil || got.Error.Type != problemSpace+k.wrong):
				t.Errorf("%s, %+v", got.Status, got.Error)
			}
		})
	}
	if !slices.Contains(asked, "9.0.0.127.in-addr.arpa") {
		t.Errorf("an address was asked for by %q", asked)
	}
}

// Hundreds of orders at once finish, each with a certificate of its own.
func TestHundredsOfOrdersAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const clients, each = 16, 12
	var wg sync.WaitGroup
	for i := range clients {
		c := w.account(t, "services/web"+string(rune('a'+i)))
		wg.Go(func() {
			for j := range each {
				c.obtain("http-01", "h"+string(rune('a'+i))+string(rune('a'+j))+".test.internal")
			}
		})
	}
	wg.Wait()
	if got := w.issued(); got != clients*each {
		t.Errorf("%d certificates for %d orders", got, clients*each)
	}
	w.verify()
}

// However an order is finalized, at once and again, it gets one certificate.
func TestFinalizingTwiceAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.account(t, "services/web")
	o := first.order("twice.test.internal")
	first.respond(o, "http-01")
	key, other := newKey(t), newKey(t)
	var mu sync.Mutex
	var won, lost []answer
	var wg sync.WaitGroup
	for i := range 12 {
		c := *first
		c.next = ""
		k := key
		if i%3 == 0 {
			k = other
		}
		csr := c.csr(k, "twice.test.internal")
		wg.Go(func() {
			a := c.finalize(o, csr)
			mu.Lock()
			defer mu.Unlock()
			if a.status == http.StatusOK {
				won = append(won, a)
			} else {
				lost = append(lost, a)
			}
		})
	}
	wg.Wait()
	if len(won)+len(lost) != 12 || len(won) != 8 && len(won) != 4 {
		t.Errorf("%d won and %d lost: those of one key win", len(won), len(lost))
	}
	for _, a := range lost {
		if a.kind() != unauthorized {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if n := w.issued(); n != 1 {
		t.Errorf("%d certificates for one order", n)
	}
	w.verify()
}
