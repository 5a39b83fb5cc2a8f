package authority

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/keys"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/profile"
	"github.com/postern-project/postern/internal/refusal"
	"github.com/postern-project/postern/internal/store"
)

func TestIssuedCertificateIsWhatWasDecided(t *testing.T) {
	for _, kind := range []keys.Kind{keys.ECDSAP256, keys.ECDSAP384, keys.RSA3072} {
		t.Run(string(kind), func(t *testing.T) {
			h := newHouse(t, kind)
			for _, r := range []IssueRequest{
				{Name: named(t, "ben/phone")},
				{Name: named(t, "services/checkout"), Profile: "service", Via: "sign"},
				{Name: named(t, "sites/door"), Profile: "server", DNSNames: []string{"PW.example.com."}, IPs: []netip.Addr{netip.MustParseAddr("::1")}, Via: "self"},
				{Name: named(t, "ops/anna"), Profile: "admin", Lifetime: time.Hour},
			} {
				r.PublicKey = newSPKI(t)
				i, err := h.Issue(t.Context(), r)
				if err != nil {
					t.Fatal(err)
				}
				h.examine(r, i)
			}
			h.verify()
		})
	}
}

// examine looks at a certificate as a stranger would.
func (h *house) examine(r IssueRequest, i Issued) {
	t := h.t
	t.Helper()
	c := leafOf(t, i)
	id, err := identity.FromURIs(c.URIs)
	if err != nil || id != domain(t).ID(r.Name) {
		t.Errorf("certifies %v, %v", id, err)
	}
	if !bytes.Equal(c.RawSubjectPublicKeyInfo, r.PublicKey) {
		t.Error("certifies another key")
	}
	if ref := i.Ref; ref.TBS != sha256.Sum256(c.RawTBSCertificate) || ref.Serial.String() != i.Serial.String() {
		t.Error("the reference is not that of the certificate")
	}
	roots, middle := x509.NewCertPool(), x509.NewCertPool()
	root, err := x509.ParseCertificate(i.Root)
	if err != nil {
		t.Fatal(err)
	}
	roots.AddCert(root)
	issuer, err := x509.ParseCertificate(i.Chain[1])
	if err != nil {
		t.Fatal(err)
	}
	middle.AddCert(issuer)
	use := x509.ExtKeyUsageClientAuth
	if r.Profile == "server" {
		use = x509.ExtKeyUsageServerAuth
	}
	if _, err := c.Verify(x509.VerifyOptions{Roots: roots, Intermediates: middle, KeyUsages: []x509.ExtKeyUsage{use}}); err != nil {
		t.Error(err)
	}
	if err := profile.Lint(i.Chain[0]); err != nil {
		t.Error(err)
	}
	if code := h.judge(i); code != "" {
		t.Errorf("the roster says %s", code)
	}
	if entry := h.lastCertificate(); entry.Ref != i.Ref || entry.Name != r.Name || entry.Key != sha256.Sum256(r.PublicKey) || !entry.NotAfter.Equal(c.NotAfter) {
		t.Errorf("the ledger says %+v", entry)
	}
}

// A key in the house's list of blocked ones is refused at every door, since
// all of them end in one draft.
func TestABlockedKeyIsNotCertified(t *testing.T) {
	h := newHouse(t, "")
	spki := newSPKI(t)
	list, err := profile.ReadBlocklist(strings.NewReader(fmt.Sprintf("%x\n", sha256.Sum256(spki))))
	if err != nil {
		t.Fatal(err)
	}
	good := h.issue("ben/phone")
	invited := h.invite("ben/tablet")
	h.Enforce(Policy{BlockedKeys: list})
	before := len(h.entries(0))
	_, err = h.Issue(t.Context(), IssueRequest{Name: named(t, "ben/box"), PublicKey: spki})
	wantCode(t, err, CodeWeakKey)
	_, err = h.Renew(t.Context(), proved(t, good, spki))
	wantCode(t, err, CodeWeakKey)
	_, err = h.Redeem(t.Context(), RedeemRequest{Code: invited.Code, PublicKey: spki})
	wantCode(t, err, CodeWeakKey)
	if after := len(h.entries(0)); after != before {
		t.Errorf("%d entries were written", after-before)
	}
	h.issue("ben/box")
}

// A clock that was set back stops what it would make wrong, with an error that
// names the clock, and loses nothing; one that was corrected a little stops
// nothing.
func TestAClockSetBack(t *testing.T) {
	h := newHouse(t, "")
	h.clock.forward(2 * time.Hour)
	before := h.issue("ben/phone")
	invited := h.invite("ben/tablet")
	h.clock.forward(-time.Hour)
	if code := h.judge(h.issue("ben/laptop")); code != "" {
		t.Errorf("an hour back: %s", code)
	}
	if _, err := h.Redeem(t.Context(), RedeemRequest{Code: invited.Code, PublicKey: newSPKI(t)}); err != nil {
		t.Errorf("an invitation from the future: %v", err)
	}
	h.clock.forward(-365 * 24 * time.Hour)
	_, err := h.Issue(t.Context(), IssueRequest{Name: named(t, "ben/box"), PublicKey: newSPKI(t)})
	wantCode(t, err, CodeBadRequest)
	if err == nil || !strings.Contains(err.Error(), "clock") {
		t.Errorf("the error does not name the clock: %v", err)
	}
	if _, err := h.Revoke(t.Context(), RevokeRequest{Serial: before.Serial, Reason: ledger.ReasonKeyCompromise}); err != nil {
		t.Errorf("revoking has to go on: %v", err)
	}
	h.clock.forward(366 * 24 * time.Hour)
	h.issue("ben/box")
	if h.judge(before) != refusal.Revoked {
		t.Error("the revocation was lost")
	}
	h.verify()
}

func TestIssueRefuses(t *testing.T) {
	h := newHouse(t, "")
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	edwards, _, _ := ed25519.GenerateKey(rand.Reader)
	good := func() IssueRequest { return IssueRequest{Name: named(t, "ben/phone"), PublicKey: newSPKI(t)} }
	cases := map[string]struct {
		spoil func(*IssueRequest)
		code  string
	}{
		"no name":                              {func(r *IssueRequest) { r.Name = identity.Name{} }, CodeBadRequest},
		"an unknown profile":                   {func(r *IssueRequest) { r.Profile = "root" }, CodeUnknownProfile},
		"no key":                               {func(r *IssueRequest) { r.PublicKey = nil }, CodeWeakKey},
		"a key with something behind it":       {func(r *IssueRequest) { r.PublicKey = append(r.PublicKey, 0) }, CodeWeakKey},
		"a short RSA key":                      {func(r *IssueRequest) { r.PublicKey = spkiOf(t, weak.Public()) }, CodeWeakKey},
		"an Ed25519 key":                       {func(r *IssueRequest) { r.PublicKey = spkiOf(t, edwards) }, CodeWeakKey},
		"a host name for a device":             {func(r *IssueRequest) { r.DNSNames = []string{"a.example.com"} }, CodeBadRequest},
		"a server without a host name":         {func(r *IssueRequest) { r.Profile = "server" }, CodeBadRequest},
		"a host outside of the trust domain":   {func(r *IssueRequest) { r.Profile, r.DNSNames = "server", []string{"bank.example.org"} }, CodeBadRequest},
		"an address on the internet":           {func(r *IssueRequest) { r.Profile, r.IPs = "server", []netip.Addr{netip.MustParseAddr("9.9.9.9")} }, CodeBadRequest},
		"a life longer than the profile's":     {func(r *IssueRequest) { r.Lifetime = 400 * 24 * time.Hour }, CodeBadRequest},
		"a life in the past":                   {func(r *IssueRequest) { r.Lifetime = -time.Hour }, CodeBadRequest},
		"a door that is not one":               {func(r *IssueRequest) { r.Via = "invite" }, CodeBadRequest},
		"a host name with a line feed":         {func(r *IssueRequest) { r.Profile, r.DNSNames = "server", []string{"a\n.example.com"} }, CodeBadRequest},
		"more host names than a client parses": {func(r *IssueRequest) { r.Profile, r.DNSNames = "server", slices.Repeat([]string{"a.example.com"}, 101) }, CodeBadRequest},
	}
	before := len(h.entries(0))
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := good()
			c.spoil(&r)
			_, err := h.Issue(t.Context(), r)
			wantCode(t, err, c.code)
		})
	}
	if n := len(h.entries(0)); n != before {
		t.Errorf("refusals left %d entries", n-before)
	}
}

// I7: a request is a key and no more, so there is nothing else to smuggle in.
func TestRequestsCarryNoNames(t *testing.T) {
	h := newHouse(t, "")
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"bank.example.org"}}, rootLike(t))
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.Issue(t.Context(), IssueRequest{Name: named(t, "ben"), PublicKey: csr})
	wantCode(t, err, CodeWeakKey)
	long := strings.Repeat("a-long-part/", 20) + "phone"
	c := leafOf(t, h.issue(long))
	if want := long[len(long)-64:]; c.Subject.CommonName != want || len(c.DNSNames)+len(c.EmailAddresses)+len(c.IPAddresses) != 0 {
		t.Errorf("common name %q, names %q", c.Subject.CommonName, c.DNSNames)
	}
	if id, _ := identity.FromURIs(c.URIs); id.Name().String() != long {
		t.Errorf("identity %s", id)
	}
}

func TestFirstMentionCreatesTheIdentityOnce(t *testing.T) {
	h := newHouse(t, "")
	from := uint64(len(h.entries(0)))
	h.issue("ben/phone")
	h.issue("ben/phone")
	want := []ledger.Kind{ledger.KindIdentityCreated, ledger.KindCertificateIssued, ledger.KindCertificateIssued}
	if got := kinds(h.entries(from)); !slices.Equal(got, want) {
		t.Errorf("entries %v, want %v", got, want)
	}
}

func TestNothingIsHandedOutThatTheRosterDoesNotHold(t *testing.T) {
	h := newHouse(t, "")
	// A store that tells another roster: ours never hears of the certificate.
	deaf, err := Open(t.Context(), Options{Dir: h.dir, Store: h.store, Roster: loaded(t, h)})
	if err != nil {
		t.Fatal(err)
	}
	if i, err := deaf.Issue(t.Context(), IssueRequest{Name: named(t, "ben"), PublicKey: newSPKI(t)}); err == nil {
		t.Errorf("handed out %s", i.Serial)
	}
}

func TestTenParallelIssues(t *testing.T) {
	h := newHouse(t, "")
	var wg sync.WaitGroup
	issued := make([]Issued, 10)
	for n := range issued {
		wg.Go(func() {
			i, err := h.Issue(t.Context(), IssueRequest{Name: named(t, "ben/phone"), PublicKey: newSPKI(t)})
			if err != nil {
				t.Error(err)
			}
			issued[n] = i
		})
	}
	wg.Wait()
	serials := map[ledger.Serial]bool{}
	for _, i := range issued {
		serials[i.Serial] = true
		if code := h.judge(i); code != "" {
			t.Errorf("%s: %s", i.Serial, code)
		}
	}
	if len(serials) != len(issued) {
		t.Errorf("%d serial numbers for %d certificates", len(serials), len(issued))
	}
	h.verify()
}

func TestCertificatesNeverOutliveTheirIssuer(t *testing.T) {
	h := newHouse(t, "")
	end := h.issuers[0].Certificate.NotAfter
	h.clock.forward(time.Until(end) - time.Hour)
	if c := leafOf(t, h.issue("ben")); !c.NotAfter.Equal(end) {
		t.Errorf("valid until %s, the issuer until %s", c.NotAfter, end)
	}
	h.clock.forward(2 * time.Hour)
	_, err := h.Issue(t.Context(), IssueRequest{Name: named(t, "ben"), PublicKey: newSPKI(t)})
	if err == nil || !strings.Contains(err.Error(), "clock") {
		t.Errorf("an expired issuer signed, or the error does not speak of the clock: %v", err)
	}
}

func TestAReadOnlyStoreIssuesNothing(t *testing.T) {
	h := newHouse(t, "")
	readOnly, err := store.Open(t.Context(), h.store.Path(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer readOnly.Close()
	s, err := Open(t.Context(), Options{Dir: h.dir, Store: readOnly, Roster: h.roster})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Issue(t.Context(), IssueRequest{Name: named(t, "ben"), PublicKey: newSPKI(t)})
	wantCode(t, err, CodeReadOnly)
}

// A lint that stops a certificate is named to whoever asked for it, and a key
// that anybody can work out is a weak key.
func TestALintIsNamed(t *testing.T) {
	h := newHouse(t, "")
	one, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), append(make([]byte, 31), 1))
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.Issue(t.Context(), IssueRequest{Name: named(t, "ben/phone"), PublicKey: spkiOf(t, &one.PublicKey)})
	wantCode(t, err, CodeWeakKey)
	if !strings.Contains(err.Error(), "e_ecdsa_small_private_key") {
		t.Error(err)
	}
	if err := linted(&profile.LintError{Lints: []string{"postern-usage"}}); CodeOf(err) != CodeLint {
		t.Error(err)
	}
}
