package ledger

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/identity"
)

var domain = must(identity.ParseTrustDomain("example.com"))

// A ca is a certificate with its key.
type ca struct {
	*x509.Certificate
	key crypto.Signer
}

func p256() crypto.Signer { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }

// sign returns the certificate that parent's key makes of template for key;
// without a parent it is signed by itself.
func sign(template *x509.Certificate, key crypto.Signer, parent *ca) ca {
	if parent == nil {
		parent = &ca{template, key}
	}
	der := must(x509.CreateCertificate(rand.Reader, template, parent.Certificate, key.Public(), parent.key))
	return ca{must(x509.ParseCertificate(der)), key}
}

func rootTemplate() *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true, IsCA: true, MaxPathLen: 1,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
}

func issuerTemplate() *x509.Certificate {
	c := rootTemplate()
	c.SerialNumber, c.Subject.CommonName = big.NewInt(2), "clients-1"
	c.MaxPathLen, c.MaxPathLenZero = 0, true
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return c
}

func TestGenesisIsSignedByEveryKindOfRoot(t *testing.T) {
	for kind, key := range map[string]crypto.Signer{
		"P-256":    p256(),
		"P-384":    must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)),
		"P-521":    must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)),
		"RSA 2048": must(rsa.GenerateKey(rand.Reader, 2048)),
	} {
		t.Run(kind, func(t *testing.T) {
			root := sign(rootTemplate(), key, nil)
			g, err := NewGenesis(domain, root.Raw, public(key1()), key)
			if err != nil {
				t.Fatal(err)
			}
			got, err := must(Unmarshal(Entry{Body: g}.Marshal())).Body.(Genesis).RootCertificate()
			if err != nil || !got.Equal(root.Certificate) {
				t.Errorf("after storage: %v", err)
			}
		})
	}
}

func key1() ed25519.PrivateKey { return key(1) }

func TestGenesisSaysExactlyWhatIsSigned(t *testing.T) {
	g := Genesis{TrustDomain: domain, Root: []byte("abc"), LedgerKey: public(key1())}
	want := "postern genesis v1\ntrust domain: example.com\n" +
		"root: sha256 ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n" +
		"ledger key: ed25519 8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c\n"
	if got := string(g.Message()); got != want {
		t.Errorf("message:\n%s\nwant:\n%s", got, want)
	}
}

func TestGenesisVerifyRefuses(t *testing.T) {
	root := sign(rootTemplate(), p256(), nil)
	good := must(NewGenesis(domain, root.Raw, public(key1()), root.key))
	other := sign(rootTemplate(), p256(), nil)
	leaf := rootTemplate()
	leaf.IsCA, leaf.MaxPathLen, leaf.KeyUsage = false, 0, x509.KeyUsageDigitalSignature
	issuer := sign(issuerTemplate(), p256(), &root)
	change := func(f func(*Genesis)) Genesis { g := good; f(&g); return g }
	for sentence, g := range map[string]Genesis{
		"nothing":              {},
		"another trust domain": change(func(g *Genesis) { g.TrustDomain = must(identity.ParseTrustDomain("example.org")) }),
		"another ledger key":   change(func(g *Genesis) { g.LedgerKey = public(key(2)) }),
		"another root":         change(func(g *Genesis) { g.Root = other.Raw }),
		"no signature":         change(func(g *Genesis) { g.RootSignature = nil }),
		"another root's signature": change(func(g *Genesis) {
			g.RootSignature = must(NewGenesis(domain, other.Raw, g.LedgerKey, other.key)).RootSignature
		}),
		"no trust domain":                change(func(g *Genesis) { g.TrustDomain = identity.TrustDomain{} }),
		"half a ledger key":              change(func(g *Genesis) { g.LedgerKey = g.LedgerKey[:16] }),
		"a root that is no certificate":  change(func(g *Genesis) { g.Root = []byte("root") }),
		"a root that others have signed": signedGenesis(issuer),
		"a root that may not sign":       signedGenesis(sign(leaf, p256(), nil)),
		"a byte behind the root":         change(func(g *Genesis) { g.Root = append(g.Root[:len(g.Root):len(g.Root)], 0) }),
	} {
		t.Run(sentence, func(t *testing.T) {
			if g.Verify() == nil {
				t.Error("accepted")
			}
		})
	}
	if err := good.Verify(); err != nil {
		t.Errorf("the good one: %v", err)
	}
	if _, err := NewGenesis(domain, root.Raw, public(key1()), other.key); err == nil {
		t.Error("NewGenesis returns a genesis signed by another key than the root's")
	}
	if _, err := NewGenesis(domain, root.Raw, public(key1()), key1()); err == nil {
		t.Error("NewGenesis signs with a kind of key that no root has")
	}
}

// signedGenesis is what NewGenesis would return if it did not verify.
func signedGenesis(c ca) Genesis {
	g := Genesis{TrustDomain: domain, Root: c.Raw, LedgerKey: public(key1())}
	_, digest, opts, err := scheme(c.key.Public(), g.Message())
	g.RootSignature = must(c.key.Sign(rand.Reader, digest, opts))
	return must(g, err)
}

func TestAFlippedBitInAGenesisIsNoticed(t *testing.T) {
	root := sign(rootTemplate(), p256(), nil)
	b := Entry{Body: must(NewGenesis(domain, root.Raw, public(key1()), root.key))}.Marshal()
	for i := 12 * 8; i < 8*len(b); i += 5 { // past kind, version and time
		bad := append([]byte(nil), b...)
		bad[i/8] ^= 1 << (i % 8)
		e, err := Unmarshal(bad)
		if err != nil {
			continue
		}
		if e.Body.(Genesis).Verify() == nil {
			t.Errorf("bit %d of byte %d: accepted", i%8, i/8)
		}
	}
}

func TestIssuerVerify(t *testing.T) {
	root := sign(rootTemplate(), p256(), nil)
	other := sign(rootTemplate(), p256(), nil)
	alias := rootTemplate()
	alias.Subject.CommonName = "another root"
	renamed := sign(alias, root.key, nil)
	middle := issuerTemplate()
	middle.MaxPathLen, middle.MaxPathLenZero = 1, false
	above := sign(middle, p256(), &root)
	change := func(f func(*x509.Certificate)) []byte {
		c := issuerTemplate()
		f(c)
		return sign(c, p256(), &root).Raw
	}
	for sentence, c := range map[string]struct {
		use  Use
		der  []byte
		good bool
	}{
		"an issuer for clients":                 {UseClients, change(func(*x509.Certificate) {}), true},
		"an issuer for servers":                 {UseServers, change(func(c *x509.Certificate) { c.ExtKeyUsage[0] = x509.ExtKeyUsageServerAuth }), true},
		"signed by another root of that name":   {UseClients, sign(issuerTemplate(), p256(), &other).Raw, false},
		"signed by an issuer":                   {UseClients, sign(issuerTemplate(), p256(), &above).Raw, false},
		"signed by itself":                      {UseClients, sign(issuerTemplate(), p256(), nil).Raw, false},
		"the root itself":                       {UseClients, root.Raw, false},
		"another certificate for the root key":  {UseClients, sign(issuerTemplate(), root.key, &root).Raw, false},
		"for clients where servers are said":    {UseServers, change(func(*x509.Certificate) {}), false},
		"for both uses":                         {UseClients, change(func(c *x509.Certificate) { c.ExtKeyUsage = append(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth) }), false},
		"for any use":                           {UseClients, change(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }), false},
		"for no use":                            {UseClients, change(func(c *x509.Certificate) { c.ExtKeyUsage = nil }), false},
		"for clients and an unknown use":        {UseClients, change(func(c *x509.Certificate) { c.UnknownExtKeyUsage = append(c.UnknownExtKeyUsage, []int{1, 2, 3}) }), false},
		"of a use that does not exist":          {0, change(func(*x509.Certificate) {}), false},
		"signed by the root under another name": {UseClients, sign(issuerTemplate(), p256(), &renamed).Raw, false},
		"with CAs below it":                     {UseClients, above.Raw, false},
		"not a CA":                              {UseClients, change(func(c *x509.Certificate) { c.IsCA, c.MaxPathLenZero = false, false }), false},
		"not for signing certificates":          {UseClients, change(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }), false},
		"with an unknown critical extension": {UseClients, change(func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		}), false},
		"no certificate": {UseClients, []byte("issuer"), false},
	} {
		t.Run(sentence, func(t *testing.T) {
			err := IssuerAdded{Name: "i", Use: c.use, Certificate: c.der}.Verify(root.Certificate)
			if (err == nil) != c.good {
				t.Errorf("Verify: %v", err)
			}
		})
	}
}
