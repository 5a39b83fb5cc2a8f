package authority

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	zocsp "github.com/zmap/zcrypto/x509"
	"github.com/zmap/zlint/v3/lint"
	"golang.org/x/crypto/ocsp"

	"github.com/postern-project/postern/internal/keys"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/revocation"
	"github.com/postern-project/postern/internal/store"
)

const publicURL = "http://pki.example.com"

// newPublisher is a house whose certificates say where to ask, with a
// responder for each issuer.
func newPublisher(t testing.TB) *house {
	t.Helper()
	h := newHouse(t, "")
	h.Enforce(Policy{PublicURL: publicURL})
	h.respond()
	return h
}

func (h *house) respond() {
	h.t.Helper()
	with := map[string]*tls.Certificate{}
	for _, name := range []string{firstClients, firstServers} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			h.t.Fatal(err)
		}
		issued, err := h.IssueResponder(h.t.Context(), name, spkiOf(h.t, key.Public()))
		if err != nil {
			h.t.Fatal(err)
		}
		with[name] = &tls.Certificate{Certificate: issued.Chain, PrivateKey: key, Leaf: leafOf(h.t, issued)}
	}
	h.Respond(func(issuer string) *tls.Certificate { return with[issuer] })
}

func (h *house) list(r ListRequest) *x509.RevocationList {
	h.t.Helper()
	l, err := h.RevocationList(h.t.Context(), r)
	if err != nil {
		h.t.Fatal(err)
	}
	parsed, err := x509.ParseRevocationList(l.DER)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := parsed.CheckSignatureFrom(h.issuers[0].Certificate); err != nil {
		h.t.Fatal(err)
	}
	return parsed
}

func (h *house) revoke(i Issued, why ledger.Reason) {
	h.t.Helper()
	if _, err := h.Revoke(h.t.Context(), RevokeRequest{Serial: i.Serial, Reason: why}); err != nil {
		h.t.Fatal(err)
	}
}

var shard0 = ListRequest{Issuer: firstClients}

func TestCertificatesSayWhereToAsk(t *testing.T) {
	h := newHouse(t, "")
	quiet := leafOf(t, h.issue("ben/phone"))
	if len(quiet.CRLDistributionPoints)+len(quiet.OCSPServer)+len(quiet.IssuingCertificateURL) != 0 {
		t.Error("a certificate names addresses that nobody configured")
	}
	h.Enforce(Policy{PublicURL: publicURL})
	c := leafOf(t, h.issue("ben/phone"))
	for what, got := range map[string][]string{
		publicURL + "/crl/clients-1/0.crl": c.CRLDistributionPoints, publicURL + "/ocsp": c.OCSPServer,
		publicURL + "/issuers/clients-1.crt": c.IssuingCertificateURL,
	} {
		if len(got) != 1 || got[0] != what {
			t.Errorf("%q, want %s", got, what)
		}
	}
}

// A list follows a revocation at once, and is made anew at half its life.
func TestRevocationListsAreNew(t *testing.T) {
	h := newPublisher(t)
	first := h.issue("ben/phone")
	empty := h.list(shard0)
	if len(empty.RevokedCertificateEntries) != 0 {
		t.Fatalf("%+v", empty.RevokedCertificateEntries)
	}
	h.revoke(first, ledger.ReasonKeyCompromise)
	h.revoke(h.issue("ben/laptop"), ledger.ReasonUnspecified)
	l := h.list(shard0)
	if n := len(l.RevokedCertificateEntries); n != 2 || l.Number.Cmp(empty.Number) <= 0 {
		t.Fatalf("%d entries, number %d after %d", n, l.Number, empty.Number)
	}
	e := l.RevokedCertificateEntries[0]
	if e.SerialNumber.Cmp(leafOf(t, first).SerialNumber) != 0 || e.ReasonCode != 1 || time.Since(e.RevocationTime).Abs() > time.Minute {
		t.Errorf("%+v", e)
	}
	if again := h.list(shard0); !bytes.Equal(again.Raw, l.Raw) {
		t.Error("a list was signed again for nothing")
	}
	h.clock.forward(listLife/2 + time.Second)
	later := h.list(shard0)
	if later.Number.Cmp(l.Number) <= 0 || !later.NextUpdate.After(l.NextUpdate) || len(later.RevokedCertificateEntries) != 2 {
		t.Errorf("at half its life: number %d after %d, until %s", later.Number, l.Number, later.NextUpdate)
	}
}

// A revocation is on the list also when the server was started since.
func TestRevocationListsSurviveARestart(t *testing.T) {
	h := newPublisher(t)
	i := h.issue("ben/phone")
	h.revoke(i, ledger.ReasonSuperseded)
	before := h.list(shard0)
	h.store.Close()
	h.open()
	h.Enforce(Policy{PublicURL: publicURL})
	after := h.list(shard0)
	if len(after.RevokedCertificateEntries) != 1 || after.RevokedCertificateEntries[0].ReasonCode != 4 ||
		!after.RevokedCertificateEntries[0].RevocationTime.Equal(before.RevokedCertificateEntries[0].RevocationTime) {
		t.Errorf("%+v", after.RevokedCertificateEntries)
	}
	if after.Number.Cmp(before.Number) <= 0 {
		t.Errorf("number %d after %d", after.Number, before.Number)
	}
}

// Each shard has its own list, named by a critical issuing distribution point.
func TestShards(t *testing.T) {
	h := newPublisher(t)
	first := h.issue("ben/phone")
	h.issuers[0].shards.issued.Store(perShard)
	second := h.issue("ben/laptop")
	c := leafOf(t, second)
	if want := publicURL + "/crl/clients-1/1.crl"; c.CRLDistributionPoints[0] != want {
		t.Fatalf("certificate %d points to %q", perShard+1, c.CRLDistributionPoints)
	}
	h.revoke(first, ledger.ReasonSuperseded)
	h.revoke(second, ledger.ReasonSuperseded)
	for shard, of := range []Issued{first, second} {
		l := h.list(ListRequest{Issuer: firstClients, Shard: uint32(shard)})
		if n := len(l.RevokedCertificateEntries); n != 1 || l.RevokedCertificateEntries[0].SerialNumber.Cmp(leafOf(t, of).SerialNumber) != 0 {
			t.Errorf("shard %d lists %+v", shard, l.RevokedCertificateEntries)
		}
		checkScope(t, l, leafOf(t, of).CRLDistributionPoints[0])
	}
	if l := h.list(ListRequest{Issuer: firstClients, All: true}); len(l.RevokedCertificateEntries) != 2 {
		t.Errorf("the whole list has %d entries", len(l.RevokedCertificateEntries))
	} else if len(l.Extensions) != 2 {
		t.Errorf("a list of everything limits itself: %v", l.Extensions)
	}
	_, err := h.RevocationList(t.Context(), ListRequest{Issuer: firstClients, Shard: 2})
	wantCode(t, err, CodeNotFound)
	_, err = h.RevocationList(t.Context(), ListRequest{Issuer: "nobody"})
	wantCode(t, err, CodeNotFound)
	h.Enforce(Policy{})
	_, err = h.RevocationList(t.Context(), shard0)
	wantCode(t, err, CodeBadRequest) // a part of all that says so to nobody
	h.store.Close()
	h.open()
	h.Enforce(Policy{PublicURL: publicURL})
	if got := leafOf(t, h.issue("ben/tablet")).CRLDistributionPoints[0]; !strings.HasSuffix(got, "/1.crl") {
		t.Errorf("after a restart certificates point to %s again", got)
	}
}

// checkScope compares a list's IssuingDistributionPoint with what it should
// say: where it is found, and that it names no authorities.
func checkScope(t *testing.T, l *x509.RevocationList, url string) {
	t.Helper()
	type name struct {
		FullName []asn1.RawValue `asn1:"optional,tag:0"`
	}
	var point struct {
		Name     name `asn1:"optional,tag:0"`
		UserOnly bool `asn1:"optional,tag:1"`
	}
	for _, e := range l.Extensions {
		if !e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 28}) {
			continue
		}
		if rest, err := asn1.Unmarshal(e.Value, &point); err != nil || len(rest) > 0 || !e.Critical || !point.UserOnly {
			t.Errorf("critical %t, %+v, %v", e.Critical, point, err)
		}
		var got string
		for _, n := range point.Name.FullName {
			got += string(n.Bytes)
		}
		if got != url {
			t.Errorf("the list is found at %q, its certificates point to %q", got, url)
		}
		return
	}
	t.Error("a list without an issuing distribution point")
}

// A distrusted issuer's key signs nothing more.
func TestADistrustedIssuerSaysNothing(t *testing.T) {
	h := newPublisher(t)
	i := h.issue("ben/phone")
	request := askFor(t, h, i, crypto.SHA256)
	if h.answer1(request).Status != ocsp.Good {
		t.Fatal("not good before")
	}
	h.append(ledger.IssuerDistrusted{Issuer: h.issuers[0].KeyID, Reason: ledger.ReasonKeyCompromise})
	_, err := h.RevocationList(t.Context(), shard0)
	wantCode(t, err, CodeNotFound)
	if got := h.AnswerOCSP(request); !bytes.Equal(got.DER, revocation.Unauthorized.DER()) {
		t.Errorf("%x", got.DER)
	}
}

// Whatever becomes of the clock and of the process, the next list has a higher
// number, and one of a restored ledger in a new epoch a higher one still.
func TestTheNumbersOfListsGrow(t *testing.T) {
	h := newPublisher(t)
	last := h.list(shard0).Number
	grows := func(what string) {
		t.Helper()
		h.revoke(h.issue("ben/phone"), ledger.ReasonUnspecified)
		next := h.list(shard0).Number
		if next.Cmp(last) <= 0 {
			t.Errorf("%s: number %d after %d", what, next, last)
		}
		last = next
	}
	restart := func() {
		t.Helper()
		if err := h.store.Close(); err != nil {
			t.Fatal(err)
		}
		h.open()
		h.Enforce(Policy{PublicURL: publicURL})
	}
	h.clock.forward(365 * 24 * time.Hour)
	grows("a clock a year ahead")
	h.clock.forward(-365 * 24 * time.Hour)
	grows("a clock set back")
	restart()
	grows("a restart")
	h.remove(filepath.Join(h.dir, ListNumberFile))
	h.clock.forward(400 * 24 * time.Hour) // the clock counts alone
	restart()
	grows("without the file")
	if err := os.WriteFile(filepath.Join(h.dir, ListNumberFile), []byte("\x1b[2J"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.clock.forward(time.Hour)
	restart()
	grows("a file that says nothing")
	h.clock.forward(-800 * 24 * time.Hour)
	h.append(ledger.EpochOpened{Epoch: h.roster.Epoch() + 1})
	if next := h.numbers.next(h.roster.Epoch(), h.clock.now()); next <= last.Uint64() {
		t.Errorf("a new epoch: number %d after %d", next, last)
	}
}

func askFor(t testing.TB, h *house, i Issued, hash crypto.Hash) []byte {
	t.Helper()
	der, err := ocsp.CreateRequest(leafOf(t, i), h.issuers[0].Certificate, &ocsp.RequestOptions{Hash: hash})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// answer1 asks and verifies the answer as a client does.
func (h *house) answer1(request []byte) *ocsp.Response {
	h.t.Helper()
	r, err := ocsp.ParseResponse(h.AnswerOCSP(request).DER, h.issuers[0].Certificate)
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

func TestOCSPSaysWhatTheLedgerSays(t *testing.T) {
	h := newPublisher(t)
	good, bad := h.issue("ben/phone"), h.issue("ben/laptop")
	requests := map[string][]byte{}
	for _, hash := range []crypto.Hash{crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		r := h.answer1(askFor(t, h, good, hash))
		if r.Status != ocsp.Good || !r.NextUpdate.After(time.Now()) {
			t.Errorf("%s: status %d until %s", hash, r.Status, r.NextUpdate)
		}
		requests[hash.String()] = askFor(t, h, bad, hash)
	}
	kept := h.AnswerOCSP(requests["SHA-256"])
	if again := h.AnswerOCSP(requests["SHA-256"]); !bytes.Equal(kept.DER, again.DER) {
		t.Error("an answer was signed again for nothing")
	}
	h.revoke(bad, ledger.ReasonKeyCompromise)
	for hash, request := range requests { // at once, whatever was remembered
		if r := h.answer1(request); r.Status != ocsp.Revoked || r.RevocationReason != ocsp.KeyCompromise || time.Since(r.RevokedAt).Abs() > time.Minute {
			t.Errorf("%s: status %d, reason %d, %s", hash, r.Status, r.RevocationReason, r.RevokedAt)
		}
	}
	// A thief's certificate has a number that the ledger never gave out.
	forged := *leafOf(t, good)
	forged.SerialNumber = leafOf(t, bad).SerialNumber.Add(leafOf(t, bad).SerialNumber, leafOf(t, good).SerialNumber)
	der, err := ocsp.CreateRequest(&forged, h.issuers[0].Certificate, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r := h.answer1(der); r.Status != ocsp.Unknown {
		t.Errorf("a number that the ledger does not hold has status %d", r.Status)
	}
	der, err = ocsp.CreateRequest(leafOf(t, good), h.issuers[1].Certificate, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := ocsp.ParseResponse(h.AnswerOCSP(der).DER, h.issuers[1].Certificate); err != nil || r.Status != ocsp.Unknown {
		t.Errorf("another issuer's number: %v %v", r, err)
	}
	der, err = ocsp.CreateRequest(leafOf(t, good), h.roster.Root(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := h.AnswerOCSP(der).DER; !bytes.Equal(got, revocation.Unauthorized.DER()) {
		t.Errorf("an issuer that is not ours: %x", got)
	}
	if got := h.AnswerOCSP([]byte("junk")).DER; !bytes.Equal(got, revocation.Malformed.DER()) {
		t.Errorf("junk: %x", got)
	}
}

// Without a responder nothing is answered, and one that expired signs nothing.
func TestOCSPNeedsAResponder(t *testing.T) {
	h := newHouse(t, "")
	i := h.issue("ben/phone")
	if got := h.AnswerOCSP(askFor(t, h, i, crypto.SHA1)).DER; !bytes.Equal(got, revocation.Unauthorized.DER()) {
		t.Errorf("%x", got)
	}
	h.respond()
	h.clock.forward(8 * 24 * time.Hour)
	if got := h.AnswerOCSP(askFor(t, h, i, crypto.SHA1)).DER; !bytes.Equal(got, revocation.TryLater.DER()) {
		t.Errorf("%x", got)
	}
}

// zlint finds no fault in any list, answer or responder's certificate.
func TestWhatIsPublishedPassesTheLints(t *testing.T) {
	h := newPublisher(t)
	i := h.issue("ben/phone")
	lint1 := func(r any, der []byte) {
		parsed, err := zocsp.ParseRevocationList(der)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range lint.GlobalRegistry().RevocationListLints().Lints() {
			if one.Source == lint.CABFBaselineRequirements {
				continue
			}
			if res := one.Execute(parsed, lint.NewEmptyConfig()); res.Status >= lint.Warn {
				t.Errorf("%+v: %s %s: %s", r, one.Name, res.Status, res.Details)
			}
		}
	}
	lintList := func(r ListRequest) {
		l, err := h.RevocationList(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		lint1(r, l.DER)
	}
	for _, root := range h.roster.Anchors().Roots {
		lint1("the root's", root.List.Raw)
	}
	lintList(shard0)
	h.revoke(i, ledger.ReasonKeyCompromise)
	h.revoke(h.issue("ben/laptop"), ledger.ReasonUnspecified)
	lintList(shard0)
	lintList(ListRequest{Issuer: firstClients, All: true})
	lintList(ListRequest{Issuer: firstServers})
	for _, who := range []Issued{i, h.issue("ben/tablet")} {
		parsed, err := ocsp.ParseResponse(h.AnswerOCSP(askFor(t, h, who, crypto.SHA1)).DER, h.issuers[0].Certificate)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range lint.GlobalRegistry().OcspResponseLints().Lints() {
			if res := one.Execute(parsed, lint.NewEmptyConfig()); res.Status >= lint.Warn && one.Source != lint.CABFBaselineRequirements {
				t.Errorf("%s %s: %s", one.Name, res.Status, res.Details)
			}
		}
	}
}

func (h *house) append(bodies ...ledger.Body) {
	h.t.Helper()
	if err := h.store.Update(h.t.Context(), func(tx *store.Tx) error {
		for _, b := range bodies {
			if err := tx.Append(b); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		h.t.Fatal(err)
	}
}

// emptyRootList is a list of the root, which revoked no issuer.
func emptyRootList(t *testing.T, h *house) []byte {
	t.Helper()
	key, err := keys.Unseal(filepath.Join(h.dir, RootKeyFile), fresh.words[""])
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour),
	}, h.roster.Root(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// write puts certificates or a list into a PEM file.
func writePEM(t *testing.T, path, kind string, ders ...[]byte) string {
	t.Helper()
	var b bytes.Buffer
	for _, der := range ders {
		if err := pem.Encode(&b, &pem.Block{Type: kind, Bytes: der}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func run(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatal(err)
	}
	return string(out), err
}

// What others make of it: they take the good certificate and refuse the
// revoked one.
func TestOtherProgramsHeedRevocation(t *testing.T) {
	h := newPublisher(t)
	dir := t.TempDir()
	good, bad := h.issue("ben/phone"), h.issue("ben/laptop")
	h.revoke(bad, ledger.ReasonKeyCompromise)
	l, err := h.RevocationList(t.Context(), shard0)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := h.RevocationList(t.Context(), ListRequest{Issuer: firstClients, All: true})
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	root := writePEM(t, file("root.pem"), "CERTIFICATE", h.Root())
	issuer := writePEM(t, file("issuer.pem"), "CERTIFICATE", good.Chain[1])
	chain := writePEM(t, file("chain.pem"), "CERTIFICATE", good.Chain[1], h.Root())
	crl := writePEM(t, file("clients.crl.pem"), "X509 CRL", l.DER)
	rootCRL := writePEM(t, file("root.crl.pem"), "X509 CRL", emptyRootList(t, h))
	both := file("both.crl.pem")
	a, _ := os.ReadFile(crl)
	b, _ := os.ReadFile(rootCRL)
	if err := os.WriteFile(both, append(a, b...), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, who := range map[string]Issued{"good": good, "bad": bad} {
		leaf := writePEM(t, file(name+".pem"), "CERTIFICATE", who.Chain[0])
		want := name == "good"
		t.Run("openssl verify, "+name, func(t *testing.T) {
			out, err := run(t, "openssl", "verify", "-purpose", "sslclient", "-x509_strict", "-crl_check_all", "-extended_crl", "-CAfile", root, "-untrusted", issuer, "-CRLfile", both, leaf)
			if (err == nil) != want || !want && !strings.Contains(out, "certificate revoked") {
				t.Errorf("%v: %s", err, out)
			}
		})
		t.Run("certtool, "+name, func(t *testing.T) {
			full := writePEM(t, file(name+"-full.pem"), "CERTIFICATE", who.Chain[0], who.Chain[1])
			out, err := run(t, "certtool", "--verify", "--load-ca-certificate", root, "--load-crl", both, "--infile", full)
			if ok := err == nil && strings.Contains(out, "Chain verification output: Verified"); ok != want {
				t.Errorf("%v: %s", err, out)
			}
		})
		t.Run("NSS, "+name, func(t *testing.T) {
			db := "sql:" + t.TempDir()
			for _, args := range [][]string{
				{"certutil", "-N", "-d", db, "--empty-password"},
				{"certutil", "-A", "-d", db, "-n", "root", "-t", "TC,,", "-a", "-i", root},
				{"certutil", "-A", "-d", db, "-n", "issuer", "-t", ",,", "-a", "-i", issuer},
				{"certutil", "-A", "-d", db, "-n", "leaf", "-t", ",,", "-a", "-i", leaf},
				// NSS knows no list that names its scope, so it gets the one of all
				{"crlutil", "-I", "-d", db, "-i", derFile(t, file(name+".crl"), whole.DER)},
			} {
				if out, err := run(t, args[0], args[1:]...); err != nil {
					t.Fatalf("%q: %s", args, out)
				}
			}
			out, err := run(t, "vfychain", "-d", db, "-pp", "-u", "0", "-g", "leaf", "-m", "crl", "-a", leaf)
			if ok := err == nil && strings.Contains(out, "Chain is good"); ok != want {
				t.Errorf("%v: %s", err, out)
			}
		})
		t.Run("openssl ocsp, "+name, func(t *testing.T) {
			request, answer := file(name+".req"), file(name+".resp")
			if out, err := run(t, "openssl", "ocsp", "-issuer", issuer, "-cert", leaf, "-reqout", request); err != nil {
				t.Fatal(out)
			}
			der, err := os.ReadFile(request)
			if err != nil {
				t.Fatal(err)
			}
			derFile(t, answer, h.AnswerOCSP(der).DER)
			out, err := run(t, "openssl", "ocsp", "-no_nonce", "-respin", answer, "-issuer", issuer, "-cert", leaf, "-CAfile", chain)
			status := map[bool]string{true: ": good", false: ": revoked"}[want]
			if err != nil || !strings.Contains(out, "Response verify OK") || !strings.Contains(out, status) || strings.Contains(out, "Nonce") {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	t.Run("Java reads the list and its signature", func(t *testing.T) {
		store := file("trust.p12")
		if out, err := run(t, "keytool", "-importcert", "-noprompt", "-keystore", store, "-storepass", "changeit", "-alias", "issuer", "-file", issuer); err != nil {
			t.Fatal(out)
		}
		out, err := run(t, "keytool", "-printcrl", "-file", crl, "-keystore", store, "-storepass", "changeit")
		if err != nil || !strings.Contains(out, "Verified by issuer in keystore") || !strings.Contains(out, "KEY_COMPROMISE") {
			t.Errorf("%v: %s", err, out)
		}
	})
}

func derFile(t *testing.T, path string, der []byte) string {
	t.Helper()
	if err := os.WriteFile(path, der, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
