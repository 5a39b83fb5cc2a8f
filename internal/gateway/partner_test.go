package gateway

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/chain"
	"github.com/postern-project/postern/internal/partner"
	"github.com/postern-project/postern/internal/refusal"
	"github.com/postern-project/postern/internal/rule"
)

// A foreign authority's member is let in as such, and is never an enrolled
// identity, whatever names its certificate carries.
func TestPartners(t *testing.T) {
	w := newWorld(t)
	ben := w.enrol("ben/phone")
	theirs, strange := newIssuer(t, "partner", nil), newIssuer(t, "partner", nil)
	acme, err := rule.ParsePartner("acme")
	must(t, err)
	member := clientTemplate("ben/phone") // it claims to be Ben
	member.DNSNames = []string{"api.partner.example"}
	good := w.mint(theirs, member)
	other := clientTemplate("ben/phone")
	other.DNSNames = []string{"other.partner.example"}
	list := func(serials ...*big.Int) *partner.List {
		l := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour)}
		for _, s := range serials {
			l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: s, RevocationTime: time.Now()})
		}
		der, err := x509.CreateRevocationList(rand.Reader, l, theirs.cert, theirs.key)
		must(t, err)
		parsed, err := partner.ParseList(der, []*x509.Certificate{theirs.cert})
		must(t, err)
		return parsed
	}
	checker := func(lists ...*partner.List) []*partner.Checker {
		return []*partner.Checker{partner.NewChecker(partner.Trust{
			Name: acme, Anchors: chain.Anchors{Roots: []*x509.Certificate{theirs.cert}}, Lists: []string{"/partner.crl"},
			Members: []partner.Member{{DNS: "api.partner.example"}},
		}, lists)}
	}
	seen := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, enrolled := ClientOf(r)
		p, _ := PartnerOf(r)
		io.WriteString(rw, strings.Join([]string{r.Header.Get("X-Postern-Identity"), r.Header.Get("X-Postern-Partner"), p.Name.String()}, "|"))
		if enrolled {
			io.WriteString(rw, "|enrolled")
		}
	})
	site := func(checkers []*partner.Checker) Site {
		closed := route(t, "/enrolled/", "enrolled")
		conditional := route(t, "/when/", "foreign:acme")
		conditional.Policy = when(t, `client.partner == "acme" && identity.name == ""`)
		return Site{Host: "app.example.com", Handler: seen, List: allow(t, "ben", "foreign:acme"), Partners: checkers, Routes: []Route{closed, conditional}}
	}
	var log lines
	h := w.open(Options{Log: log.logger()}, site(checker(list())), Site{Host: "own.example.com", Handler: seen, List: allow(t, "enrolled", "foreign:acme")})
	for sentence, c := range map[string]struct {
		who        *device
		host, path string
		want       string
	}{
		"a member":                               {good, "app.example.com", "/", "|acme|acme"},
		"who is not enrolled":                    {good, "app.example.com", "/enrolled/", "not-on-list"},
		"a condition about partners":             {good, "app.example.com", "/when/", "|acme|acme"},
		"somebody of our own":                    {ben, "app.example.com", "/", "ben/phone|||enrolled"},
		"one who is not meant":                   {w.mint(theirs, other), "app.example.com", "/", "not-on-list"},
		"another authority of that name":         {w.mint(strange, member), "app.example.com", "/", "unknown-issuer"},
		"at a site that does not trust it":       {good, "own.example.com", "/", "unknown-issuer"},
		"nobody":                                 {nil, "app.example.com", "/", "no-certificate"},
		"our own forgery stays an alarm":         {w.mint(w.clients, member), "app.example.com", "/", "not-in-ledger"},
		"a partner's certificate is not renewed": {good, "app.example.com", "/.postern/renew", "no-identity"},
	} {
		t.Run(sentence, func(t *testing.T) {
			r, err := http.NewRequest("GET", "https://"+c.host+c.path, nil)
			must(t, err)
			r.Header.Set("X-Postern-Partner", "forged")
			resp, err := client(t, h.addr, w.clientTLS(c.who, c.host)).Do(r)
			must(t, err)
			body := read(t, resp)
			got := string(refusalIn(body))
			if body != c.want && got != c.want && !(c.want == "unknown-issuer" && got == "bad-chain") {
				t.Errorf("%q, want %s", body, c.want)
			}
		})
	}
	if !strings.Contains(log.String(), "partner=acme partner_serial=") {
		t.Error("the log does not tell of the partner")
	}
	// A connection of a member's lives until the list has its certificate.
	cl := client(t, h.addr, w.clientTLS(good, "app.example.com"))
	if _, body := fetch(t, cl, "https://app.example.com/"); body != "|acme|acme" {
		t.Fatal(body)
	}
	must(t, h.Configure(Config{Sites: []Site{site(checker(list(good.Leaf.SerialNumber)))}}))
	if _, body := fetch(t, cl, "https://app.example.com/"); refusalIn(body) != refusal.Revoked {
		t.Errorf("after the revocation: %q", body)
	}
	must(t, h.Configure(Config{Sites: []Site{site(checker())}}))
	if _, body := h.get(good, "app.example.com", "/"); refusalIn(body) != refusal.RevocationUnknown {
		t.Errorf("without a list: %q", body)
	}
	must(t, h.Configure(Config{Sites: []Site{site(nil)}}))
	if _, body := h.get(good, "app.example.com", "/"); code(body) == "" {
		t.Errorf("without the trust: %q", body)
	}
}

func code(body string) string { return string(refusalIn(body)) }

// A member's session is never resumed: the next handshake shows the
// certificate, and what is trusted then judges it.
func TestAPartnersSessionIsNotResumed(t *testing.T) {
	w := newWorld(t)
	theirs := newIssuer(t, "partner", nil)
	acme, err := rule.ParsePartner("acme")
	must(t, err)
	template := clientTemplate("x")
	template.URIs = []*url.URL{{Scheme: "spiffe", Host: "partner.example", Path: "/api"}}
	d := w.mint(theirs, template)
	checker := partner.NewChecker(partner.Trust{Name: acme, Anchors: chain.Anchors{Roots: []*x509.Certificate{theirs.cert}},
		Members: []partner.Member{{URI: "spiffe://partner.example/api"}}}, nil)
	h := w.open(Options{}, Site{Host: "app.example.com", Handler: whoami, List: allow(t, "foreign:acme"), Partners: []*partner.Checker{checker}})
	c := w.clientTLS(d, "app.example.com")
	c.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	for range 3 {
		conn := h.mustDial(c)
		resp, _ := raw(t, conn, "GET / HTTP/1.1\r\nHost: app.example.com\r\nConnection: close\r\n\r\n")
		if resp.StatusCode != 200 || conn.ConnectionState().DidResume {
			t.Fatalf("%s, resumed %v", resp.Status, conn.ConnectionState().DidResume)
		}
	}
}
