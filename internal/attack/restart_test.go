package attack

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// list is an authority's revocation list in PEM.
func (a *authority) list(t testing.TB, number int64, revoked ...*tls.Certificate) []byte {
	t.Helper()
	l := &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour)}
	for _, c := range revoked {
		leaf, err := x509.ParseCertificate(c.Certificate[0])
		must(t, err)
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: leaf.SerialNumber, RevocationTime: time.Now().Add(-time.Minute)})
	}
	der, err := x509.CreateRevocationList(rand.Reader, l, a.cert, a.key)
	must(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}

// What was revoked stays so when the server is killed and starts anew, with what
// it kept and with a ticket from before; and a partner's list that is not as it
// should be when it starts lets nobody in whom it speaks of.
//
// Vault CVE-2022-41316 (a list that counted once it was loaded), nebula-mesh
// CVE-2026-61699 (one that was never asked), nginx CVE-2026-28755.
func TestRevocationOutlivesARestart(t *testing.T) {
	t.Parallel()
	h := ownHouse(t, "")
	h.app, h.partner = theHouse(t).app, theHouse(t).partner
	must(t, os.WriteFile(filepath.Join(h.home, "acme.pem"), h.partner.pem(), 0o600))
	list := filepath.Join(h.home, "acme.crl")
	must(t, os.WriteFile(list, h.partner.list(t, 1), 0o600))
	h.write(t, h.fill(strings.ReplaceAll(`%LISTEN%
sites:
  ben.attack.test: {proxy: "%APP%", allow: [ben]}
  hidden.attack.test: {proxy: "%APP%", allow: [ben], stealth: true}
  tcp.attack.test: {tcp: "%TCP%", allow: [ben]}
  partner.attack.test:
    proxy: "%APP%"
    allow: [foreign:acme]
    trust: {acme: {ca: "%HOME%/acme.pem", members: [{dns: api.acme.test}], crl: "%CRL%", overdue: refuse}}
`, "%CRL%", list)))
	h.mustOpen(t)
	lost, kept := h.identity(t, "ben/lost"), h.identity(t, "ben/kept")
	member, other := h.partner.sign(t, dnsDevice("api.acme.test")), h.partner.sign(t, dnsDevice("api.acme.test"))
	expect := func(when string, of map[*tls.Certificate]string) {
		t.Helper()
		for who, want := range of {
			hosts := []string{"ben", "hidden", "tcp"}
			if who == member || who == other {
				hosts = []string{"partner"}
			}
			for _, host := range hosts {
				want := want
				switch {
				case host == "tcp" && want == "200":
					want = "not-http"
				case host != "ben" && want == "revoked" && who == lost:
					want = "closed"
				}
				if got := h.get(t, who, host+".attack.test", "/"); got.String() != want {
					t.Errorf("%s, at %s: %s, want %s", when, host, got, want)
				}
			}
		}
	}
	expect("before", map[*tls.Certificate]string{lost: "200", kept: "200", member: "200", other: "200"})
	ticket, hidden := h.holder(t, lost, "ben", tls.VersionTLS13), h.holder(t, lost, "hidden", tls.VersionTLS13)
	h.run(t, "revoke", "ben/lost")
	must(t, os.WriteFile(list, h.partner.list(t, 2, member), 0o600))
	h.kill()
	h.mustOpen(t)
	expect("after a restart", map[*tls.Certificate]string{lost: "revoked", kept: "200", member: "revoked", other: "200"})
	if got, _ := ticket.visit(t, "ben"); got != "revoked" {
		t.Errorf("with a ticket from before: %s", got)
	}
	if got, _ := hidden.visit(t, "hidden"); got != "closed" {
		t.Errorf("with a ticket from before, at a stealthy site: %s", got)
	}
	stranger, err := newAuthority("acme root", nil)
	must(t, err)
	whole := h.partner.list(t, 3, member)
	spoilt := faults(t, whole)
	spoilt["another authority's"] = func(path string) {
		must(t, os.RemoveAll(path))
		must(t, os.WriteFile(path, stranger.list(t, 3), 0o600))
	}
	for sentence, spoil := range spoilt {
		if !long && sentence != "missing" && sentence != "empty" && sentence != "another authority's" {
			continue
		}
		h.kill()
		spoil(list)
		if err := h.open(); err != nil {
			continue // it does not start, which lets nobody in either
		}
		expect("with a list that is "+sentence, map[*tls.Certificate]string{lost: "revoked", kept: "200", member: "revocation-unknown", other: "revocation-unknown"})
	}
}
