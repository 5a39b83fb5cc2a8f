package authority

import (
	"bytes"
	"crypto"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/postern-project/postern/internal/keys"
)

// One door to the signing key: the field that holds it is read in sign, and in
// attest for revocation lists alone, which cannot be given a certificate; ready
// asks only whether hardware is there. Beside
// them, newUnderstudy signs with a key that is thrown away, and attestAnswer with the
// key of an OCSP responder.
func TestOneFunctionSigns(t *testing.T) {
	calls := map[string]int{} // of what signs, by function
	reads := map[string]int{} // of a field named key
	for name, body := range functions(t) {
		ast.Inspect(body, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			switch s.Sel.Name {
			case "CreateCertificate", "CreateRevocationList", "CreateCertificateRequest", "SignMessage", "Sign":
				calls[name]++
			case "key":
				reads[name]++
			}
			return true
		})
	}
	if want := map[string]int{"sign": 1, "attest": 1, "attestAnswer": 1, "newUnderstudy": 1}; !maps.Equal(calls, want) {
		t.Errorf("something is signed by %v, want %v", calls, want)
	}
	if want := map[string]int{"sign": 2, "attest": 1, "ready": 1}; !maps.Equal(reads, want) {
		t.Errorf("an issuer's key is read by %v, want %v", reads, want)
	}
}

// functions returns the bodies of the functions of this package, by name.
func functions(t *testing.T) map[string]*ast.BlockStmt {
	t.Helper()
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	bodies := map[string]*ast.BlockStmt{}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Body != nil {
				bodies[f.Name.Name] = f.Body
			}
		}
	}
	if bodies["sign"] == nil {
		t.Fatal("there is no function sign any more")
	}
	return bodies
}

// A counter is a key that counts what it signs.
type counter struct {
	crypto.Signer
	n atomic.Int64
	// while, if set, is called before each signature.
	while func()
}

func (c *counter) Sign(r io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	c.n.Add(1)
	if c.while != nil {
		c.while()
	}
	return c.Signer.Sign(r, digest, o)
}

// watch puts a counter before the key of every issuer.
func (h *house) watch(while func()) []*counter {
	var all []*counter
	for _, i := range h.issuers {
		c := &counter{Signer: i.key, while: while}
		i.key = c
		all = append(all, c)
	}
	return all
}

func TestOneSignatureForEachCertificate(t *testing.T) {
	h := newHouse(t, "")
	counters := h.watch(nil)
	first := h.issue("ben/phone")
	h.renew(first)
	if n := counters[0].n.Load(); n != 2 {
		t.Errorf("%d signatures for two certificates", n)
	}
	if n := counters[1].n.Load(); n != 0 {
		t.Errorf("the issuer for servers signed %d certificates of clients", n)
	}
	_, err := h.Issue(t.Context(), IssueRequest{Name: named(t, "ben"), PublicKey: []byte("junk")})
	wantCode(t, err, CodeWeakKey)
	if n := counters[0].n.Load(); n != 2 {
		t.Error("a refused request was signed")
	}
}

func TestTheLedgerHoldsACertificateBeforeItIsSigned(t *testing.T) {
	h := newHouse(t, "")
	seen, free := false, false
	h.watch(func() {
		// Another transaction can run meanwhile: no lock is held.
		free = h.Suspend(t.Context(), named(t, "ben")) == nil && h.Reinstate(t.Context(), named(t, "ben")) == nil
		for c, err := range h.certificates(t.Context(), everything) {
			seen = seen || err == nil && c.Name.String() == "ben/phone"
		}
	})
	h.issue("ben/phone")
	if !seen || !free {
		t.Errorf("while signing: in the ledger %t, store free %t", seen, free)
	}
}

// A key that signs something else is noticed before anything is handed out.
func TestAWrongSignatureIsWithheld(t *testing.T) {
	h := newHouse(t, "")
	other, err := keys.Generate(keys.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	h.issuers[0].key = liar{h.issuers[0].key, other}
	if i, err := h.Issue(t.Context(), IssueRequest{Name: named(t, "ben"), PublicKey: newSPKI(t)}); err == nil {
		t.Errorf("handed out %s", i.Serial)
	}
}

// A liar shows one public key and signs with another.
type liar struct{ shown, used crypto.Signer }

func (l liar) Public() crypto.PublicKey { return l.shown.Public() }
func (l liar) Sign(r io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	return l.used.Sign(r, digest, o)
}

func TestRehearsalHasTheBytesOfThePerformance(t *testing.T) {
	for _, kind := range []keys.Kind{keys.ECDSAP256, keys.ECDSAP384} {
		h := newHouse(t, kind)
		d, err := h.draft(decision{name: named(t, "ben/phone"), spki: newSPKI(t), via: viaIssue})
		if err != nil {
			t.Fatal(err)
		}
		if d.cert.CheckSignatureFrom(d.issuer.Certificate) == nil {
			t.Errorf("%s: the rehearsal carries the issuer's signature", kind)
		}
		c, err := sign(d.cert, d.issuer)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(c.RawTBSCertificate, d.cert.RawTBSCertificate) || c.CheckSignatureFrom(d.issuer.Certificate) != nil {
			t.Errorf("%s: the signed certificate is another", kind)
		}
		again, err := parseTBS(c.RawTBSCertificate)
		if err != nil || !bytes.Equal(again.RawTBSCertificate, c.RawTBSCertificate) {
			t.Errorf("%s: to-be-signed part alone: %v", kind, err)
		}
	}
}

func FuzzParseTBS(f *testing.F) {
	h := newHouse(f, "")
	f.Add(leafOf(f, h.issue("ben/phone")).RawTBSCertificate)
	f.Add([]byte{0x30, 0})
	f.Fuzz(func(t *testing.T, tbs []byte) {
		// What is accepted is taken over byte for byte.
		if c, err := parseTBS(tbs); err == nil && !slices.Equal(c.RawTBSCertificate, tbs) {
			t.Errorf("%x became %x", tbs, c.RawTBSCertificate)
		}
	})
}

func TestKeysThatDoNotBelongAreRefusedAtTheStart(t *testing.T) {
	cases := map[string]struct {
		change func(h *house, path string)
		want   string
	}{
		"a missing key":              {func(h *house, path string) { h.remove(path) }, "backup"},
		"the key of somebody else":   {func(h *house, path string) { h.remove(path); h.writeKey(path) }, "does not belong"},
		"a key that others can read": {func(h *house, path string) { h.chmod(path, 0o644) }, "chmod 600"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, "")
			c.change(h, issuerFile(h.dir, firstClients, ".key"))
			_, err := Open(t.Context(), Options{Dir: h.dir, Store: h.store, Roster: h.roster})
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), firstClients) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
